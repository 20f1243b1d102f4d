"""What stands at each address, and what the OpenAPI document says of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

import hybrid_search
from hybrid_search._util.json_objects import DocumentExplanationDict, ExpansionDict, ResultsDict
from hybrid_search.integrations.gateway.refusals import JSON, dumped
from hybrid_search.integrations.http.batch import lines, read_batch
from hybrid_search.integrations.http.errors import NDJSON
from hybrid_search.integrations.http.metrics import CONTENT_TYPE
from hybrid_search.integrations.http.pages import docs_page, search_page
from hybrid_search.integrations.http.requests import ExplainForm, SearchForm
from hybrid_search.integrations.http.responses import CollectionsDict, HealthDict, Responses, answers, errors, text
from hybrid_search.integrations.http.service import OPEN_PATHS, Service
from hybrid_search.integrations.http.strict_route import StrictRoute, media_type
from hybrid_search.integrations.searcher_pool import expansion
from hybrid_search.results import Results
from hybrid_search.search.request import available_modes

log = logging.getLogger(__name__)

Endpoint = Callable[..., Awaitable[Response]]
BODY = (408, 413, 415)
"""Errors of what has a body."""


def add_routes(app: FastAPI, service: Service) -> None:
    """Add every address to an application."""
    add, forms = partial(_add, app, bool(service.key)), service.forms
    found = answers(ResultsDict, "What was found.", 404, 422, 503)
    why = answers(ExpansionDict | DocumentExplanationDict, "The query, or the document's way.", 404, 422, 503)
    explains = "What a model makes of a query, or with doc what becomes of a document"
    ask = partial(_taking, search), partial(_taking, explain)
    add("GET", "/search", ask[0](forms.search_address), "search_get", "Search a collection", found)
    sent = {**found, **errors(*BODY)}
    add("POST", "/search", ask[0](forms.search), "search_post", "Search a collection; all options", sent)
    batched = "Many searches, answered a line each as they are ready"
    add("POST", "/search/batch", batch, "search_batch", batched, _batch_responses(), _batch_body(service.limits.batch))
    add("GET", "/explain", ask[1](forms.explain_address), "explain_get", explains, why)
    add("POST", "/explain", ask[1](forms.explain), "explain_post", "The same; all options", {**why, **errors(*BODY)})
    served = answers(CollectionsDict, "The collections, and the re-ranker.", 503)
    add("GET", "/collections", listing, "collections", "What can be searched", served)
    add("GET", "/healthz", healthz, "healthz", "Whether the server answers", answers(HealthDict, "It does."))
    counts = text("text/plain", "Text.")
    add("GET", "/metrics", metrics, "metrics", "Counts, in the text format of Prometheus", counts)
    _add_pages(app, add)


def _add(
    app: FastAPI,
    has_key: bool,
    method: str,
    path: str,
    endpoint: Endpoint,
    name: str,
    summary: str,
    responses: Responses,
    extra: dict[str, Any] | None = None,
) -> None:
    """Add an operation; who may GET it may ask for its HEAD. A key is asked for where this server has one."""
    closed = has_key and path not in OPEN_PATHS
    route: type[APIRoute] = StrictRoute if "form" in endpoint.__annotations__ else APIRoute
    add = partial(app.router.add_api_route, path, endpoint, response_class=Response, route_class_override=route)
    add(
        methods=[method],
        operation_id=name,
        summary=summary,
        responses=dict(sorted({**responses, **(errors(401) if closed else {})}.items())),
        dependencies=[Security(HTTPBearer(scheme_name="key", auto_error=False))] if closed else None,
        openapi_extra=extra,
    )
    if method == "GET":
        add(methods=["HEAD"], include_in_schema=False)


def _taking(work: Callable[[Service, Any], Awaitable[Response]], form: Any) -> Endpoint:
    """Return an endpoint that takes a form of this model: in the address for one that is made for addresses."""

    async def endpoint(request: Request, form: Any) -> Response:
        return await work(request.app.state.service, form)

    endpoint.__annotations__["form"] = Annotated[form, Query()] if form.__name__.endswith("InAddress") else form
    return endpoint


def _add_pages(app: FastAPI, add: Callable[..., None]) -> None:
    """Add the two pages for people, and the OpenAPI document, which is written once all else is there."""

    async def openapi(request: Request) -> Response:
        return Response(spec, media_type=JSON)

    async def page(request: Request) -> Response:
        return pages[request.url.path]

    add("GET", "/openapi.json", openapi, "openapi", "This document", answers(dict[str, Any], "OpenAPI."))
    spec = dumped(app.openapi())
    pages = {"/": search_page(), "/docs": docs_page(app.openapi())}
    for path in pages:
        app.add_route(path, page, methods=["GET"], include_in_schema=False)


def _batch_body(most: int) -> dict[str, Any]:
    """Describe the body of a batch, which is read here: FastAPI knows no JSON by lines."""
    many = {"type": "array", "items": {"$ref": "#/components/schemas/Search"}, "minItems": 1, "maxItems": most}
    a_line = {"type": "string", "description": "A Search a line."}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": many}, NDJSON: {"schema": a_line}}}}


def _batch_responses() -> Responses:
    said = "A line for each search, in order, as soon as it is ready: what /search answers, or an error in its place."
    return text(NDJSON, said, *BODY, 422, 503)


async def search(service: Service, form: SearchForm) -> Response:
    """Answer one search."""
    body, mode = await service.run(partial(searched, service, form))
    service.metrics.search(form.collection, mode)
    return Response(body, media_type=JSON)


def searched(service: Service, form: SearchForm) -> tuple[bytes, str]:
    """Return the answer to one search, and the mode that it was searched in."""
    options = form.options(service.reranker)
    with service.searchers.use(form.collection) as searcher:
        results: Results = searcher.search(form.query, **options)
        return dumped(results.to_dict()), results.mode


async def batch(request: Request) -> Response:
    """Answer many searches. The status is sent before the first is answered, so an error stands in its line."""
    service: Service = request.app.state.service
    kind = media_type(request, JSON, NDJSON)
    body = await request.body()
    forms = await service.run(partial(read_batch, body, kind, service))
    return StreamingResponse(lines(forms, service, partial(searched, service)), media_type=NDJSON)


async def explain(service: Service, form: ExplainForm) -> Response:
    """Answer what becomes of a document, or what the sparse model makes of the query."""
    return Response(await service.run(partial(explained, service, form)), media_type=JSON)


def explained(service: Service, form: ExplainForm) -> bytes:
    """Return what becomes of a document, or what the sparse model makes of the query."""
    options = form.options(service.reranker)
    with service.searchers.use(form.collection) as searcher:
        if form.doc:
            return dumped(searcher.explain(form.query, form.doc, **options).to_dict())
        return dumped(expansion(searcher, form.query, form.leg).to_dict())


async def listing(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(await service.run(partial(listed, service)), media_type=JSON)


def listed(service: Service) -> bytes:
    """Return what is served; a collection that cannot be read is told in the log."""
    infos, problems = service.searchers.infos()
    for problem in problems:
        log.warning("%s", problem)
    named = service.reranker if isinstance(service.reranker, str) else service.searchers.settings.reranker
    found: CollectionsDict = {
        "collections": [{**info.to_dict(), "modes": list(available_modes(info.manifest))} for info in infos],
        "reranker": (named or "the usual one") if service.reranker else None,
    }
    return dumped(found)


async def healthz(request: Request) -> Response:
    return Response(dumped({"status": "ok", "version": hybrid_search.__version__}), media_type=JSON)


async def metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    counted = service.metrics.text(hybrid_search.__version__, len(service.places))
    return Response(counted, headers={"Content-Type": CONTENT_TYPE})
