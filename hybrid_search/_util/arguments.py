"""Checks of arguments. An error names the option, its value, what was expected, and the right call.

Whatever takes options checks them with these before it reads or writes, so that the library, the adapters and the
server refuse the same things in the same words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeGuard

from hybrid_search.errors import InvalidArgument

MAX_SHOWN = 60
"""Longest value, in characters, that a message shows."""


def shown(value: object, longest: int = MAX_SHOWN) -> str:
    """Return a value for a message, on one line and shortened."""
    try:
        text = repr(value)
    except Exception:  # whatever its own method raises
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is a finite number; True and False are none.

    >>> [is_number(value) for value in (1, 2.5, True, "3", float("nan"), None)]
    [True, True, False, False, False, False]
    """
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def plain(value: float) -> float:
    """Return a number as JSON knows it, for example from numpy's types."""
    return value if isinstance(value, (int, float)) else float(value)


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number that lies in a range.

    Raises:
        InvalidArgument: it is something else, or outside the range.
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
    """Return a finite number of at least `least`, or greater than `above` if that is given.

    Args:
        name: of the option.
        value: that was given.
        expected: what it must be, for the message.
        least: smallest valid number.
        above: largest invalid number.

    Raises:
        InvalidArgument: it is something else, or too small.
    """
    if not is_number(value) or value < least or (above and value == least):
        raise InvalidArgument(f"{name} is {shown(value)}; it must be {expected}.")
    return value


def flags(**given: Any) -> None:
    """Refuse a value that is neither True nor False.

    Raises:
        InvalidArgument: for the first such value.
    """
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InvalidArgument(f"{name} is {shown(value)}; it must be True or False.")


def text(name: str, value: Any) -> str:
    """Return a text.

    Raises:
        InvalidArgument: it is something else.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is {shown(value)}; it must be a text.")
    return value


def listed(name: str, values: Any, what: str = "texts", call: str = "") -> list[Any]:
    """Return several things as a list; one text or one dict is refused.

    Args:
        name: of the argument.
        values: that were given.
        what: they are, for the message.
        call: the right call, with `{}` for the value; a list of one when not given.

    Raises:
        InvalidArgument: it is one thing, or cannot be iterated over.
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
    """Return several texts as a list; one text alone is refused.

    Raises:
        InvalidArgument: it is one text or no list, or an item is no text; the message has its position, from 0.
    """
    found = listed(name, values, "texts", call)
    for place, value in enumerate(found):
        text(f"{name}[{place}]", value)
    return found


@contextmanager
def placed(name: str, place: int) -> Iterator[None]:
    """Add the position, from 0, to an error about an item."""
    try:
        yield
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}[{place}]: {error}") from None


COMMA = re.compile(r",(?![^()]*\))")
"""A comma that stands in no brackets."""


def numbers(text: str, option: str, example: str = "sparse=1,dense=0.5") -> dict[str, float]:
    """Read `name=number,...`.

    Raises:
        InvalidArgument: anything else.

    >>> numbers("sparse=1,dense=0.5", "--weights")
    {'sparse': 1.0, 'dense': 0.5}
    """
    pairs = {}
    for part in COMMA.split(text):
        name, equals, value = part.rpartition("=")
        try:
            pairs[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise InvalidArgument(f"{option} is {text!r}; write name=number, such as {option} {example}.")
    return pairs


def distinct(name: str, values: Iterable[str]) -> None:
    """Refuse a value that occurs twice.

    Raises:
        InvalidArgument: for the first such value, with both positions, from 0.
    """
    seen: dict[str, int] = {}
    for place, value in enumerate(values):
        first = seen.setdefault(value, place)
        if first != place:
            raise InvalidArgument(f"{name}[{place}] is {shown(value)}, as {name}[{first}] is; give each once.")


def same_length(given: list[Any], what: str, **beside: list[Any] | None) -> None:
    """Refuse lists whose lengths differ from the first one's.

    Raises:
        InvalidArgument: for the first such list.
    """
    for name, values in beside.items():
        if values is not None and len(values) != len(given):
            raise InvalidArgument(f"There are {len(given)} {what}, but {len(values)} {name}; give one for each.")
