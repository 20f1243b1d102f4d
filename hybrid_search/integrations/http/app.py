"""The application: what stands at each address."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import hybrid_search
from hybrid_search.errors import HybridSearchError
from hybrid_search.integrations.gateway.gate import Gate
from hybrid_search.integrations.gateway.refusals import JSON, Refused, dumped
from hybrid_search.integrations.http.batch import lines, read_batch
from hybrid_search.integrations.http.errors import NDJSON, reply_to
from hybrid_search.integrations.http.limits import Limits
from hybrid_search.integrations.http.metrics import CONTENT_TYPE
from hybrid_search.integrations.http.middleware import LOOPBACK, Guard
from hybrid_search.integrations.http.openapi import document
from hybrid_search.integrations.http.pages import docs_page, search_page
from hybrid_search.integrations.http.requests import ExplainForm, SearchForm, forms_of
from hybrid_search.integrations.http.service import WORK_PATHS, Service, media_type
from hybrid_search.integrations.searcher_pool import SearcherPool, expansion
from hybrid_search.results import Results
from hybrid_search.search.request import available_modes
from hybrid_search.settings import Settings, load_settings

if TYPE_CHECKING:
    from hybrid_search.protocols import Store

log = logging.getLogger(__name__)


def create_app(
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    collections: Sequence[str] | None = None,
    rerank: bool | str | None = None,
    limits: Limits | None = None,
    allowed_hosts: Sequence[str] | None = LOOPBACK,
    api_key: str | None = None,
) -> Starlette:
    """An ASGI application that searches the collections of a store. It writes nothing.

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
    described = document(service)
    page, docs, spec = search_page(), docs_page(described), dumped(described)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    async def answer_openapi(request: Request) -> Response:
        return Response(spec, media_type=JSON)

    async def answer_page(request: Request) -> Response:
        return page

    async def answer_docs(request: Request) -> Response:
        return docs

    app = Starlette(
        routes=[
            Route("/", answer_page),
            Route("/docs", answer_docs),
            Route("/openapi.json", answer_openapi),
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/collections", listing),
            Route("/search", search, methods=["GET", "POST"]),
            Route("/search/batch", batch, methods=["POST"]),
            Route("/explain", explain, methods=["GET", "POST"]),
        ],
        middleware=[
            Middleware(Guard, service=service),
            Middleware(Gate, bounds=limits.bounds(), places=service.places, paths=WORK_PATHS),
        ],
        exception_handlers=dict.fromkeys((HybridSearchError, Refused, HTTPException, Exception), _told),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


async def search(request: Request) -> Response:
    service = _service(request)
    form = await service.asked(request, service.forms.search)
    return await _searched(service, form)


async def _searched(service: Service, form: SearchForm) -> Response:
    body, mode = await service.run(partial(searched, service, form))
    service.metrics.search(form.collection, mode)
    return Response(body, media_type=JSON)


def searched(service: Service, form: SearchForm) -> tuple[bytes, str]:
    """The answer to one search, and the mode that it was searched in."""
    options = form.options(service.reranker)
    with service.searchers.use(form.collection) as searcher:
        results: Results = searcher.search(form.query, **options)
        return dumped(results.to_dict()), results.mode


async def batch(request: Request) -> Response:
    """Many searches; the status is sent before the first is answered, so an error stands in its line."""
    service = _service(request)
    kind = media_type(request, JSON, NDJSON)
    body = await request.body()
    forms = await service.run(partial(read_batch, body, kind, service))
    return StreamingResponse(lines(forms, service, partial(searched, service)), media_type=NDJSON)


async def explain(request: Request) -> Response:
    service = _service(request)
    form = await service.asked(request, service.forms.explain)
    return Response(await service.run(partial(explained, service, form)), media_type=JSON)


def explained(service: Service, form: ExplainForm) -> bytes:
    """What becomes of a document, or what the sparse model makes of the query."""
    options = form.options(service.reranker)
    with service.searchers.use(form.collection) as searcher:
        if form.doc:
            return dumped(searcher.explain(form.query, form.doc, **options).to_dict())
        return dumped(expansion(searcher, form.query, form.leg).to_dict())


async def listing(request: Request) -> Response:
    service = _service(request)

    def listed() -> bytes:
        infos, problems = service.searchers.infos()
        for problem in problems:
            log.warning("%s", problem)
        named = service.reranker if isinstance(service.reranker, str) else service.searchers.settings.reranker
        found: dict[str, Any] = {
            "collections": [{**info.to_dict(), "modes": list(available_modes(info.manifest))} for info in infos],
            "reranker": (named or "the usual one") if service.reranker else None,
        }
        return dumped(found)

    return Response(await service.run(listed), media_type=JSON)


async def healthz(request: Request) -> Response:
    return Response(dumped({"status": "ok", "version": hybrid_search.__version__}), media_type=JSON)


async def metrics(request: Request) -> Response:
    service = _service(request)
    text = service.metrics.text(hybrid_search.__version__, len(service.places))
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


async def _told(request: Request, error: Exception) -> Response:
    return reply_to(error)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
