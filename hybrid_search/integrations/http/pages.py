"""The two pages for people: one to search, one that tells the API. Each is one file that fetches nothing more."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

from starlette.responses import HTMLResponse

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def search_page() -> HTMLResponse:
    """Return the search page, as it stands in `search.html`."""
    return _page(_source())


def docs_page(document: dict[str, Any]) -> HTMLResponse:
    """Return the OpenAPI document, to be read by people."""
    sections = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    style = _STYLE.findall(_source())[0]
    return _page(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>API – hybrid-search</title>'
        f'<link rel="icon" href="data:,"><style>{style}</style></head><body><div class="page"><header>'
        '<a class="name" href="/">hybrid<b>-</b>search</a><nav aria-label="About this server">'
        '<a href="/openapi.json">openapi.json</a></nav></header><main class="docs"><h1>API</h1>'
        f"<p>{escape(document['info']['description'])} An error is always <code>{{&quot;error&quot;: …, "
        "&quot;kind&quot;: …}</code>.</p>"
        f"{''.join(sections)}<h1>Shapes</h1>{''.join(schemas)}</main></div></body></html>"
    )


@lru_cache(maxsize=1)
def _source() -> str:
    return (files(__package__) / "search.html").read_text(encoding="utf-8")


def _page(html: str) -> HTMLResponse:
    """Return a page that runs its own script and style and no other, and talks to nobody else."""
    scripts, styles = (" ".join(map(_hash, found.findall(html))) or "'none'" for found in (_SCRIPT, _STYLE))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><em>{method.upper()}</em> {escape(path)}</h2><p>{escape(operation['summary'])}.</p>"]
    if operation.get("parameters"):
        given = {
            each["name"]: {"description": each["description"], **each["schema"]} for each in operation["parameters"]
        }
        parts.append(_table(given, [each["name"] for each in operation["parameters"] if each["required"]]))
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{media}</code>, {escape(_kind(body['schema']))}.</p>")
    rows = []
    for status, answer in operation["responses"].items():
        shown = ", ".join(f"{media}: {_kind(body['schema'])}" for media, body in answer["content"].items())
        said = answer["description"] if status != "200" or shown.startswith(("text", "application/x")) else shown
        rows.append(f"<tr><td><code>{status}</code></td><td>{escape(said)}</td></tr>")
    parts.append(f"<table>{''.join(rows)}</table>")
    return f"<section>{''.join(parts)}</section>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    said = escape(schema.get("description", ""))
    table = _table(schema["properties"], schema.get("required", []))
    return f"<section><h2>{escape(name)}</h2><p>{said}</p>{table}</section>"


def _table(properties: dict[str, Any], required: list[str]) -> str:
    rows = []
    for name, schema in properties.items():
        said = [_kind(schema)]
        bounds = {**schema, **next((one for one in schema.get("anyOf", []) if "maximum" in one), {})}
        if "maximum" in bounds:
            said.append(f"{int(bounds.get('minimum', 0)):,}..{int(bounds['maximum']):,}")
        if name in required:
            said.append("required")
        elif schema.get("default") not in (None, "", [], {}):
            said.append(f"default {json.dumps(schema['default']).strip(chr(34))}")
        rows.append(
            f"<tr><td><code>{escape(name)}</code></td><td>{_prose(schema.get('description', ''))}</td>"
            f"<td>{escape(', '.join(said))}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _prose(text: str) -> str:
    """Return a text with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _kind(schema: dict[str, Any]) -> str:
    """Tell the type of a schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))
