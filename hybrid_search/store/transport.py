"""What can go wrong between this process and a Qdrant server, as errors of ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hybrid_search.errors import ConfigError, HybridSearchError, StoreError, StoreUnavailable


def is_open(host: str, port: int) -> bool:
    """Whether something listens there; at most 0.3 seconds for each address of the host."""
    with suppress(OSError), socket.create_connection((host, port), timeout=0.3):
        return True
    return False


@contextmanager
def server_errors(location: str) -> Iterator[None]:
    """Turn what qdrant-client and its transports raise into errors of ours.

    Raises:
        ConfigError: the server refused the API key.
        StoreUnavailable: no answer, or one that says "later".
        StoreError: any other refusal.
    """
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        status = error.status_code or 0
        detail = error.content.decode("utf-8", "replace")[:300] if error.content else error.reason_phrase
        if status in (401, 403):
            raise ConfigError(
                f"{location} refused the API key ({status}). Set HYBRID_SEARCH_API_KEY to one that may do this."
            ) from error
        if status == 429 or status >= 500:
            raise StoreUnavailable(f"{location} answered {status}: {detail}. Try again later.") from error
        hint = " It may have been replaced or deleted meanwhile: open it again." if status == 404 else ""
        raise StoreError(f"{location} refused the request ({status}): {detail}{hint}") from error
    except ResponseHandlingException as error:
        raise StoreUnavailable(
            f"No answer from {location}: {error}. Is the server running (docker compose up -d), is the URL right?"
        ) from error
    except (ApiException, QdrantException) as error:
        raise StoreUnavailable(f"{location} cannot answer now: {error}. Try again later.") from error
    except Exception as error:
        if type(error).__module__.startswith("grpc"):
            raise _grpc_error(location, error) from error
        raise


def _grpc_error(location: str, error: Any) -> HybridSearchError:
    code = getattr(error, "code", lambda: None)()
    name = getattr(code, "name", "UNKNOWN")
    detail = (getattr(error, "details", lambda: "")() or "")[:300]
    if name in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return ConfigError(
            f"{location} refused the API key ({name}). Set HYBRID_SEARCH_API_KEY to one that may do this."
        )
    if name in (
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
    ):
        hint = " It may have been replaced or deleted meanwhile: open it again." if name == "NOT_FOUND" else ""
        return StoreError(f"{location} refused the request over gRPC ({name}): {detail}{hint}")
    return StoreUnavailable(f"{location} failed over gRPC ({name}): {detail}. Try again later.")
