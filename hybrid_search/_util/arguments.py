"""Checks of what callers give, each once: the error names the option, its value, what was expected, and the right call.

Whoever takes options checks them with these before anything is read or written, so that a library, an adapter and a
server refuse the same things in the same words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeGuard

from hybrid_search.errors import InvalidArgument

MAX_SHOWN = 60
"""Characters of a value that a message shows."""


def shown(value: object, longest: int = MAX_SHOWN) -> str:
    """A value for a message, on one line and not long."""
    try:
        text = repr(value)
    except Exception:  # whatever its own method raises
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; True and False are none.

    >>> [is_number(value) for value in (1, 2.5, True, "3", float("nan"), None)]
    [True, True, False, False, False, False]
    """
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def plain(value: float) -> float:
    """A number as JSON knows it, whoever's type it has: numpy's, say."""
    return value if isinstance(value, (int, float)) else float(value)


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number, if it lies in a range.

    Raises:
        InvalidArgument: it is another thing, or outside.
    """
    limits = "" if least is None else f"be {least:,} or more" if most is None else f"lie in {least:,}..{most:,}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        more = f" and {limits}" if limits else ""
        raise InvalidArgument(f"{name} is {shown(value)}; it must be a whole number{more}.")
    found = int(value)
    if (least is not None and found < least) or (most is not None and found > most):
        raise InvalidArgument(f"{name} is {shown(found)}; it must {limits}.")
    return found


def number(name: str, value: Any, expected: str, *, least: float = 0.0, above: bool = False) -> float:
    """A finite number of at least `least`, or with `above` a greater one.

    Args:
        name: of the option.
        value: that was given.
        expected: what it must be, for the message.
        least: see there.
        above: see there.

    Raises:
        InvalidArgument: it is another thing, or too small.
    """
    if not is_number(value) or value < least or (above and value == least):
        raise InvalidArgument(f"{name} is {shown(value)}; it must be {expected}.")
    return value


def flags(**given: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        InvalidArgument: the first that is not.
    """
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InvalidArgument(f"{name} is {shown(value)}; it must be True or False.")


def text(name: str, value: Any) -> str:
    """A text.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is {shown(value)}; it must be a text.")
    return value


def listed(name: str, values: Any, what: str = "texts", call: str = "") -> list[Any]:
    """Several things, of which one text or one dict is not meant.

    Args:
        name: of the argument.
        values: that were given.
        what: they are, for the message.
        call: how it is written rightly, with `{}` for the value; a list of one when not given.

    Raises:
        InvalidArgument: it is one thing, or nothing that can be gone through.
    """
    if isinstance(values, (str, bytes, bytearray)):
        right = (call or f"{name}=[{{}}]").format(shown(values))
        raise InvalidArgument(
            f"{name} is {shown(values)}, one value where a list of {what} is expected: write {right}."
        )
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        raise InvalidArgument(f"{name} is {shown(values)}; it must be a list of {what}.")
    return list(values)


def texts(name: str, values: Any, call: str = "") -> list[str]:
    """Several texts; one alone is not meant.

    Raises:
        InvalidArgument: it is one text, no list, or one of them is no text; the message has its place, from 0.
    """
    found = listed(name, values, "texts", call)
    for place, value in enumerate(found):
        text(f"{name}[{place}]", value)
    return found


@contextmanager
def placed(name: str, place: int) -> Iterator[None]:
    """Say of what is refused inside where it stands, from 0."""
    try:
        yield
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}[{place}]: {error}") from None


def distinct(name: str, values: Iterable[str]) -> None:
    """Refuse a value that stands twice.

    Raises:
        InvalidArgument: the first that does, with both places, from 0.
    """
    seen: dict[str, int] = {}
    for place, value in enumerate(values):
        first = seen.setdefault(value, place)
        if first != place:
            raise InvalidArgument(f"{name}[{place}] is {shown(value)}, as {name}[{first}] is; give each once.")


def same_length(given: list[Any], what: str, **beside: list[Any] | None) -> None:
    """Refuse lists that do not go with the first, item by item.

    Raises:
        InvalidArgument: the first that is longer or shorter.
    """
    for name, values in beside.items():
        if values is not None and len(values) != len(given):
            raise InvalidArgument(f"There are {len(given)} {what}, but {len(values)} {name}; give one for each.")
