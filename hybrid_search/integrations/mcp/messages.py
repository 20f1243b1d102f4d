"""Lines and bodies that are no MCP messages, and the protocol's errors for them."""

from __future__ import annotations

import json
from typing import Any

from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from hybrid_search.integrations.gateway.strict_json import Unreadable, read_json


def error_of(sent: bytes) -> JSONRPCError | None:
    """Return the answer to something that is no JSON-RPC message; None for a message, which the library answers.

    The standard requires `id: null` if no id can be read. A malformed notification gets an answer too: otherwise nobody
    would know that it was not accepted.
    """
    try:
        value = read_json(sent, "The message")
    except Unreadable as error:
        return error_with(PARSE_ERROR, str(error), _id_in(sent))
    try:
        message = jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValidationError:
        return error_with(INVALID_REQUEST, "This is JSON, but no message of JSON-RPC 2.0.", _id_of(value))
    if isinstance(message, JSONRPCNotification) and "id" in value:
        return error_with(INVALID_REQUEST, "The id of a request is a text or an integer.", None)
    return None


def error_with(code: int, message: str, number: int | str | None) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=number, error=ErrorData(code=code, message=message))


def _id_in(sent: bytes) -> int | str | None:
    """Return the id of a message that only a lenient parser can read: with half of a surrogate pair, or with NaN."""
    try:
        return _id_of(json.loads(sent))
    except (ValueError, RecursionError):
        return None


def _id_of(value: Any) -> int | str | None:
    found = value.get("id") if isinstance(value, dict) else None
    if isinstance(found, str):
        return found if found.isprintable() and len(found) <= 200 else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
