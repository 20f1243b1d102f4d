"""JSON as the standard has it, from bytes that anybody may have sent."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from hybrid_search.errors import InvalidArgument


class Unreadable(InvalidArgument):
    """What was sent is no JSON, or no text."""


def read_json(body: bytes | str, where: str = "The body") -> Any:
    """Read JSON, strictly: UTF-8, no NaN, no half of a surrogate pair. `where` names it in the message.

    Raises:
        Unreadable: it is none, or is nested too deep.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable(f"{where} is no JSON: {error}.") from None
