"""The OpenAPI document, put together from the forms, the shapes and the limits that are in force."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import hybrid_search
from hybrid_search.integrations.gateway.refusals import JSON
from hybrid_search.integrations.http.errors import NDJSON
from hybrid_search.integrations.http.responses import SHAPES
from hybrid_search.integrations.http.service import OPEN_PATHS, Service

REFER = "#/components/schemas/{model}"

SAID = {
    400: "What was sent is no JSON, or names a Host that is not served.",
    401: "The API key is missing, or another.",
    404: "There is no such collection.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    415: "The body is of another type.",
    422: "A value cannot be meant: out of range, a filter that cannot be read, a leg that is not there.",
    503: "Too many requests, too slow, or the store or a model is not there. Try again after Retry-After seconds.",
}


def document(service: Service) -> dict[str, Any]:
    """OpenAPI 3.1. A key is asked for in it only where this server asks for one."""
    forms: list[type[BaseModel]] = [service.forms.search, service.forms.explain]
    models: list[type[BaseModel]] = [*forms, *SHAPES]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=REFER)
    schemas = definitions["$defs"]
    key = bool(service.key)
    operations = {
        ("/search", "get"): _asks("Search", "Search a collection", schemas["Search"], "Answer"),
        ("/search", "post"): _posts("search", "Search a collection; all options", "Search", "Answer"),
        ("/search/batch", "post"): _batch(service),
        ("/explain", "get"): _asks(
            "Explain", "What a model makes of a query, or with doc what becomes of a document", schemas["Explain"], _WHY
        ),
        ("/explain", "post"): _posts("explain", "The same; all options", "Explain", _WHY),
        ("/collections", "get"): _plain("collections", "What can be searched", "Collections", 503),
        ("/healthz", "get"): _plain("healthz", "Whether the server answers", "Health"),
        ("/metrics", "get"): _text("metrics", "Counts, in the text format of Prometheus", "text/plain"),
        ("/openapi.json", "get"): _plain("openapi", "This document", None),
    }
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), operation in operations.items():
        closed = key and path not in OPEN_PATHS
        codes = operation.pop("codes")
        operation["responses"].update(_errors(*codes, *((401,) if closed else ())))
        if closed:
            operation["security"] = [{"key": []}]
        paths.setdefault(path, {})[method] = operation
    components: dict[str, Any] = {"schemas": schemas}
    if key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hybrid-search",
            "version": hybrid_search.__version__,
            "description": "Hybrid search that shows its evidence. Offsets count characters (Unicode code points).",
        },
        "paths": paths,
        "components": components,
    }


_WHY = ("Expansion", "Why")


def _asks(name: str, summary: str, schema: dict[str, Any], answer: str | tuple[str, ...]) -> dict[str, Any]:
    return {
        "operationId": f"{name.lower()}_get",
        "summary": summary,
        "parameters": [_parameter(name, given, schema["required"]) for name, given in schema["properties"].items()],
        "responses": {"200": _answer(answer)},
        "codes": (404, 422, 503),
    }


def _parameter(name: str, schema: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """A field as a part of an address: it has no null, and of the weights only `auto`."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    one = {"type": "string", "enum": ["auto"]} if name == "weights" else dict(options[0])
    said = schema.get("description", "")
    one = {key: value for key, value in one.items() if key not in ("title", "description", "default")}
    if schema.get("default") is not None:
        one["default"] = schema["default"]
    return {"name": name, "in": "query", "required": name in required, "description": said, "schema": one}


def _posts(name: str, summary: str, form: str, answer: str | tuple[str, ...]) -> dict[str, Any]:
    return {
        "operationId": f"{name}_post",
        "summary": summary,
        "requestBody": {"required": True, "content": {JSON: {"schema": _refer(form)}}},
        "responses": {"200": _answer(answer)},
        "codes": (404, 408, 413, 415, 422, 503),
    }


def _batch(service: Service) -> dict[str, Any]:
    many = {"type": "array", "items": _refer("Search"), "minItems": 1, "maxItems": service.limits.batch}
    a_line = {"type": "string", "description": "A Search a line."}
    said = "A line for each search, in order, as soon as it is ready: an Answer, or an Error in its place."
    return {
        "operationId": "search_batch",
        "summary": "Many searches, answered a line each as they are ready",
        "requestBody": {"required": True, "content": {JSON: {"schema": many}, NDJSON: {"schema": a_line}}},
        "responses": {"200": {"description": said, "content": {NDJSON: {"schema": {"type": "string"}}}}},
        "codes": (408, 413, 415, 422, 503),
    }


def _plain(name: str, summary: str, shape: str | None, *codes: int) -> dict[str, Any]:
    answer = _answer(shape) if shape else {"description": "OpenAPI.", "content": {JSON: {"schema": {"type": "object"}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer}, "codes": codes}


def _text(name: str, summary: str, media: str) -> dict[str, Any]:
    answer = {"description": "Text.", "content": {media: {"schema": {"type": "string"}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer}, "codes": ()}


def _answer(shapes: str | tuple[str, ...]) -> dict[str, Any]:
    names = (shapes,) if isinstance(shapes, str) else shapes
    schema = _refer(names[0]) if len(names) == 1 else {"anyOf": [_refer(name) for name in names]}
    return {"description": " or ".join(names), "content": {JSON: {"schema": schema}}}


def _errors(*codes: int) -> dict[str, Any]:
    """The errors that an operation may answer with; a wrong Host is possible everywhere."""
    found: dict[str, Any] = {}
    for code in sorted({400, *codes}):
        found[str(code)] = {"description": SAID[code], "content": {JSON: {"schema": _refer("Error")}}}
        if code == 503:
            found["503"]["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
        if code == 401:
            found["401"]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return found


def _refer(name: str) -> dict[str, str]:
    return {"$ref": REFER.format(model=name)}
