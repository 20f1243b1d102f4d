"""Answers as bytes, and requests that are not worked on as a status and `{"error": ..., "kind": ...}`."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.responses import Response

from hybrid_search._util.printable import UNSEEN

JSON = "application/json"
RETRY_AFTER_S = 1
MAX_MESSAGE = 4_000
"""Characters of a message; what callers sent may stand in it, and they may send much."""


class Refused(Exception):
    """A request that is not worked on."""

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        self.status, self.kind, self.message = status, kind, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)


def busy(message: str, kind: str = "Busy") -> Refused:
    """Return a refusal of what may be answered a little later."""
    return Refused(503, kind, message, retry_after=str(RETRY_AFTER_S))


def dumped(value: Any) -> bytes:
    """Return JSON in UTF-8; signs that a terminal would obey, or hide letters by, are written as their numbers.

    What is no text in a document's metadata becomes a question mark.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return UNSEEN.sub(_numbered, text).encode("utf-8")


def _numbered(match: re.Match[str]) -> str:
    sign = match[0]
    return "?" if "\ud800" <= sign <= "\udfff" else json.dumps(sign)[1:-1]


def body_of(refused: Refused) -> dict[str, str]:
    message = refused.message
    cut = f"{message[:MAX_MESSAGE]}… ({len(message):,} characters)" if len(message) > MAX_MESSAGE else message
    return {"error": cut, "kind": refused.kind}


def response_to(refused: Refused) -> Response:
    return Response(dumped(body_of(refused)), refused.status, refused.headers, JSON)
