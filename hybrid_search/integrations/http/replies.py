"""Answers as bytes, and every error as a status and a JSON body `{"error": ..., "kind": ...}`."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from hybrid_search.errors import CollectionNotFound, HybridSearchError, InvalidArgument
from hybrid_search.integrations.http.forms import Unreadable

JSON = "application/json"
NDJSON = "application/x-ndjson"

RETRY_AFTER_S = 1


class Refused(Exception):
    """A request that is not worked on."""

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        self.status, self.kind, self.message = status, kind, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)


def busy(message: str, kind: str = "Busy") -> Refused:
    """The same request may be answered a little later."""
    return Refused(503, kind, message, retry_after=str(RETRY_AFTER_S))


def dumped(value: Any) -> bytes:
    """JSON in UTF-8; what is no text in a document's metadata becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def refusal_of(error: Exception) -> Refused:
    """How an error is told to the caller."""
    if isinstance(error, Refused):
        return error
    kind = type(error).__name__
    if isinstance(error, CollectionNotFound):
        near = f" Did you mean {' or '.join(map(repr, error.near))}?" if error.near else ""
        return Refused(404, kind, f"No collection {error.name!r}.{near} GET /collections lists those there are.")
    if isinstance(error, Unreadable):
        return Refused(400, kind, str(error))
    if isinstance(error, InvalidArgument):
        return Refused(422, kind, str(error))
    if isinstance(error, HybridSearchError):
        return busy(str(error), kind)
    if isinstance(error, HTTPException):
        names = {404: ("NotFound", "There is nothing at this address. /docs says what there is.")}
        kind, message = names.get(error.status_code, ("HTTPException", f"{error.detail}."))
        return Refused(error.status_code, kind, message, **{k.lower(): v for k, v in (error.headers or {}).items()})
    return Refused(500, "InternalError", f"{kind}. This is a fault of ours; the server's log has more.")


def body_of(refused: Refused) -> dict[str, str]:
    return {"error": refused.message, "kind": refused.kind}


def reply_to(error: Exception) -> Response:
    """The answer that an error is."""
    refused = refusal_of(error)
    return Response(dumped(body_of(refused)), refused.status, refused.headers, JSON)
