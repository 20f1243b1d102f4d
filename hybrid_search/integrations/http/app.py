"""The application: what stands before its routes, and how it begins and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

import hybrid_search
from hybrid_search.errors import HybridSearchError
from hybrid_search.integrations.gateway.gate import Gate
from hybrid_search.integrations.gateway.refusals import Refused
from hybrid_search.integrations.http.errors import reply_to
from hybrid_search.integrations.http.limits import Limits
from hybrid_search.integrations.http.middleware import LOOPBACK, Guard
from hybrid_search.integrations.http.requests import forms_of
from hybrid_search.integrations.http.routes import add_routes
from hybrid_search.integrations.http.service import WORK_PATHS, Service
from hybrid_search.integrations.searcher_pool import SearcherPool
from hybrid_search.settings import Settings, load_settings

if TYPE_CHECKING:
    from hybrid_search.protocols import Store


def create_app(
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    collections: Sequence[str] | None = None,
    rerank: bool | str | None = None,
    limits: Limits | None = None,
    allowed_hosts: Sequence[str] | None = LOOPBACK,
    api_key: str | None = None,
) -> FastAPI:
    """Return an ASGI application that searches the collections of a store. It writes nothing.

    Args:
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        collections: the only ones that are served; all of the store when not given.
        rerank: the cross-encoder that callers may ask for, as in `Searcher.search`; none when not given.
        limits: of what a caller may ask.
        allowed_hosts: what the Host header may name, without a port; None for anything, which leaves a server without
            a key open to pages of other sites (DNS rebinding).
        api_key: that callers must bring as `Authorization: Bearer KEY`; the setting `serve_api_key` when not given.

    Raises:
        ConfigError: a setting is wrong.
    """
    settings = settings or load_settings()
    limits = limits or Limits()
    own = settings.serve_api_key
    service = Service(
        searchers=SearcherPool(store, settings, collections),
        limits=limits,
        forms=forms_of(limits),
        hosts=None if allowed_hosts is None else frozenset(host.lower() for host in allowed_hosts),
        key=api_key if api_key is not None else own.get_secret_value() if own else "",
        reranker=rerank,
    )
    app = _app_of(service)
    app.state.service = service
    add_routes(app, service)
    return app


def _app_of(service: Service) -> FastAPI:
    """Return the application without its routes. What FastAPI would serve of its own accord is left out."""
    told = (HybridSearchError, Refused, HTTPException, RequestValidationError, Exception)
    return FastAPI(
        title="hybrid-search",
        version=hybrid_search.__version__,
        description="Hybrid search that shows its evidence. Offsets count characters (Unicode code points).",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(Guard, service=service),
            Middleware(Gate, bounds=service.limits.bounds(), places=service.places, paths=WORK_PATHS),
        ],
        exception_handlers=dict.fromkeys(told, _told),
        lifespan=partial(_lifespan, service),
    )


@asynccontextmanager
async def _lifespan(service: Service, app: FastAPI) -> AsyncIterator[None]:
    yield
    service.close()


async def _told(request: Request, error: Exception) -> Response:
    """Answer with an error; where the method is another, with all that the address has."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        here = [route for route in request.app.routes if getattr(route, "path", None) == request.url.path]
        error.headers = {"Allow": ", ".join(sorted({method for route in here for method in route.methods}))}
    return reply_to(error)
