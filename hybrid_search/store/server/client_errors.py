"""What qdrant-client and its transports raise, as errors of ours: what happened, and what mends it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hybrid_search.errors import CollectionChanged, ConfigError, HybridSearchError, StoreError, StoreUnavailable

_MEANWHILE = " It may have been replaced or deleted meanwhile: open it again."
_WRONG_KEY = "Set HYBRID_SEARCH_API_KEY to one that may do this."
_PEER = re.compile(r"ConnectError\(\"[^\"]*\", ([^,\s]+)|(?:dns error|connect error)[^0-9]*(\d+\.\d+\.\d+\.\d+:\d+)")
_DEAD_PEER = ("Tonic status error", "transport error", "tcp connect error")
_PROTOCOLS = {
    "WRONG_VERSION_NUMBER": "It speaks no TLS: write http:// in its URL.",
    "record layer failure": "It speaks no TLS: write http:// in its URL.",
    "CERTIFICATE_VERIFY_FAILED": (
        "Its certificate is not trusted here. Name the certificate of its authority: HYBRID_SEARCH_TLS_CA=FILE."
    ),
    "CERTIFICATE_REQUIRED": (
        "It asks for a certificate of yours: HYBRID_SEARCH_TLS_CERT=FILE, HYBRID_SEARCH_TLS_KEY=FILE."
    ),
    "BAD_CERTIFICATE": "It refused the certificate HYBRID_SEARCH_TLS_CERT.",
    "UNKNOWN_CA": "It does not know who signed the certificate HYBRID_SEARCH_TLS_CERT.",
    "illegal status line": "It does not speak plain HTTP: write https:// in its URL, if it speaks TLS.",
    "illegal request line": "It does not speak plain HTTP: write https:// in its URL, if it speaks TLS.",
}
"""Part of a transport's message -> what mends it. Time does not."""


_EXCEEDED = re.compile(r"Limit exceeded (\d+) > (\d+) for \"([^\"]+)\"")
_TOO_LARGE = ("split your request", "Payload Too Large", "message larger than max")


class LimitExceeded(StoreError):
    """The server refused a request for its size, or for what it asks for: a smaller one may pass, the same never does.

    Args:
        message: the sentence.
        what: the limit, in the server's words; empty where it gives none.
        most: what it allows; 0 where it does not say.
    """

    def __init__(self, message: str, what: str = "", most: int = 0) -> None:
        super().__init__(message)
        self.what, self.most = what, most


EXACT = "exact"
"""The limit of a server that allows no exact search."""


class CollectionGone(CollectionChanged):
    """The server has no collection of this name, or no longer."""


@contextmanager
def server_errors(location: str, request_id: str = "") -> Iterator[None]:
    """Turn what qdrant-client and its transports raise into errors of ours.

    Args:
        location: of the server.
        request_id: the one that the request carried; it stands in the message, and in the server's log.

    Raises:
        ConfigError: the server refused the API key, or speaks another protocol or another certificate.
        StoreUnavailable: no answer, or one that says "later".
        CollectionGone: no such collection.
        StoreError: any other refusal.
    """
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    asked = f" (request {request_id})" if request_id else ""
    try:
        yield
    except UnexpectedResponse as error:
        raise _rest_error(location, error, asked) from error
    except ResponseHandlingException as error:
        raise _no_answer(location, error) from error
    except (ApiException, QdrantException) as error:
        raise StoreUnavailable(f"{location} cannot answer now: {error}{asked}. Try again later.") from error
    except Exception as error:
        if type(error).__module__.startswith("grpc"):
            raise _grpc_error(location, error, asked) from error
        raise


def _no_answer(location: str, error: Exception) -> HybridSearchError:
    said = " ".join(str(error).split())
    for part, advice in _PROTOCOLS.items():
        if part.lower() in said.lower():
            return ConfigError(f"{location} cannot be understood: {said}. {advice}")
    return StoreUnavailable(
        f"No answer from {location}: {said}. Is the server running (docker compose up -d), is the URL right?"
    )


def _rest_error(location: str, error: Any, asked: str) -> HybridSearchError:
    status = error.status_code or 0
    detail = _one_line(_told(error.content) if error.content else error.reason_phrase)
    if status in (401, 403):
        return ConfigError(f"{location} refused the API key ({status}). {_WRONG_KEY}")
    refused = f"{location} refused the request ({status}): {detail}{asked}"
    if limit := _limit(detail, refused):
        return limit
    if status == 413:
        return LimitExceeded(refused)
    if status == 429 or status >= 500:
        return StoreUnavailable(f"{location} answered {status}: {detail}{asked}. Try again later.")
    return CollectionGone(refused + _MEANWHILE) if status == 404 else StoreError(refused)


def _grpc_error(location: str, error: Any, asked: str) -> HybridSearchError:
    code = getattr(error, "code", lambda: None)()
    name = getattr(code, "name", "UNKNOWN")
    detail = _one_line(getattr(error, "details", lambda: "")() or "")
    if name in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return ConfigError(f"{location} refused the API key ({name}). {_WRONG_KEY}")
    refused = f"{location} refused the request over gRPC ({name}): {detail}{asked}"
    if limit := _limit(detail, refused):
        return limit
    if name == "NOT_FOUND":
        return CollectionGone(refused + _MEANWHILE)
    if name in ("INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"):
        return StoreError(refused)
    return StoreUnavailable(f"{location} failed over gRPC ({name}): {detail}{asked}. Try again later.")


def _limit(detail: str, message: str) -> LimitExceeded | None:
    """Return the error of a limit, if a server's message is about one."""
    if exceeded := _EXCEEDED.search(detail):
        return LimitExceeded(message, exceeded[3], int(exceeded[2]))
    if "Exact search disabled" in detail:
        return LimitExceeded(message, EXACT)
    return LimitExceeded(message) if any(part in detail for part in _TOO_LARGE) else None


def _told(content: bytes) -> str:
    """Return the sentence of Qdrant's answer, or what another program answered as it is."""
    body = content.decode("utf-8", "replace")
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["status"]["error"])
    return body


def _one_line(detail: str) -> str:
    """Return a server's message in one line; of a peer that is away, which one, instead of its transport's words."""
    said = " ".join(detail.split())
    if any(mark in said for mark in _DEAD_PEER):
        peer = _PEER.search(said)
        which = f"the peer at {peer[1] or peer[2]} does" if peer else "a peer of the cluster does"
        return f"{which} not answer, and no other one has its part of the collection"
    return said[:300]
