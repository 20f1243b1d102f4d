"""Every error as a status and a JSON body `{"error": ..., "kind": ...}`."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hybrid_search.errors import CollectionNotFound, HybridSearchError, InvalidArgument
from hybrid_search.integrations.gateway.refusals import Refused, busy, response_to
from hybrid_search.integrations.gateway.strict_json import Unreadable
from hybrid_search.integrations.http.requests import problems_text

NDJSON = "application/x-ndjson"


def refusal_of(error: Exception) -> Refused:
    """Return how an error is told to the caller."""
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
    if isinstance(error, RequestValidationError):
        # Every place begins with the part of the request that all of it stands in.
        text = problems_text((problem["loc"][1:], problem["msg"]) for problem in error.errors())
        return Refused(422, InvalidArgument.__name__, text)
    if isinstance(error, HybridSearchError):
        return busy(str(error), kind)
    if isinstance(error, HTTPException):
        names = {404: ("NotFound", "There is nothing at this address. /docs says what there is.")}
        kind, message = names.get(error.status_code, ("HTTPException", f"{error.detail}."))
        return Refused(error.status_code, kind, message, **{k.lower(): v for k, v in (error.headers or {}).items()})
    return Refused(500, "InternalError", f"{kind}. This is a fault of ours; the server's log has more.")


def reply_to(error: Exception) -> Response:
    """Return the answer that an error is."""
    return response_to(refusal_of(error))
