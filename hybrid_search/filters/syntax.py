"""The notation of a filter's fields and values: names, escapes and dates."""

from __future__ import annotations

import math
import re
from datetime import date

import regex

from hybrid_search.errors import FilterError

Value = str | int | float | bool

_PLAIN = regex.compile(r"[^\W\d\p{M}][\w\p{M}-]*")  # of another script too, whose letters have marks
_PART = regex.compile(rf'\s*(?:({_PLAIN.pattern})|"((?:[^"\\]|\\.|"")*)")\s*(\.|$)', regex.DOTALL)
_KEYWORDS = frozenset(["and", "or", "not", "in", "between", "exists", "within", "of", "true", "false"])
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_ESCAPE = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|(.))|''|\"\"""", re.DOTALL)
_MOMENT = re.compile(
    # As lenient as the engine is, with spaces before any number, and one digit where two are usual; but of a year there
    # are four at least: 12-3-4 is the number of a part.
    r"\s*([+-]\d{4,6}|\d{4})-\s*(\d{1,2})-\s*(\d{1,2})"
    r"(?:(?:T|t(?=\S+[Zz]|\S+[+-]\d)|)\s*(\d{1,2}):\s*(\d{1,2})"
    r"(?::\s*(\d{1,2})(?:\.(\d+))?(?:\s*([Zz]|UTC|[+−-]\d\d:?(?:\d\d)?))?)?)?",
    re.ASCII,
)


def path_of(name: str) -> tuple[str, ...]:
    """Split a field's name into its keys.

    >>> path_of("author.name"), path_of('"odd.key"')
    (('author', 'name'), ('odd.key',))
    """
    keys: list[str] = []
    at, more = 0, True
    while more:
        found = _PART.match(name, at) if isinstance(name, str) else None
        if found is None:
            raise FilterError(f"{name!r} is no field's name; write letters and digits, or put it in double quotes")
        keys.append(found[1] if found[1] is not None else unescape(found[2]))
        at, more = found.end(), found[3] == "."
    return tuple(keys)


def field_name(path: tuple[str, ...]) -> str:
    """Write a path as a field's name; the inverse of `path_of`."""
    plain = (_PLAIN.fullmatch(key) and key.lower() not in _KEYWORDS for key in path)
    return ".".join(key if bare else _quote(key, '"') for key, bare in zip(path, plain, strict=True))


def format_value(value: Value) -> str:
    """Write a value as in the language.

    >>> format_value("it's"), format_value(True), format_value(2.5)
    ("'it\\\\'s'", 'true', '2.5')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quote(value, "'") if isinstance(value, str) else repr(value)


def unescape(text: str) -> str:
    """Return the content of a quoted text with its escapes replaced.

    Raises:
        FilterError: a backslash before a letter that means nothing there.
    """

    def meant(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2] is None:
            return found[0][0]  # a doubled quote
        if found[2] not in _ESCAPES:
            raise FilterError(rf"\{found[2]} means nothing in a text; write \\ for a backslash")
        return _ESCAPES[found[2]]

    return _ESCAPE.sub(meant, text)


def parse_timestamp(text: str) -> int | None:
    """Parse a date, or a date and time, to microseconds since 1970 in UTC. Returns None for any other text.

    The forms are those that Qdrant accepts: `2026-11-21`, `2026-11-21 10:00`, `2026-11-21T10:00:00.5+02:00`. Without a
    time it is midnight, without a zone UTC. Unlike in Qdrant a year has at least four digits, so `12-3-4` is no date.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    hour, minute, second = (int(found[at] or 0) for at in (4, 5, 6))
    days = _days(year, month, day)
    if days is None or hour > 23 or minute > 59 or second > 60:
        return None
    zone, shift = found[8] or "Z", 0
    if zone[0] in "+-−":
        hours, minutes = int(zone[1:3]), int(zone[3:].strip(":") or 0)
        if hours > 23 or minutes > 59:
            return None
        shift = (hours * 60 + minutes) * (1 if zone[0] == "+" else -1)
    fraction = int((found[7] or "0").ljust(6, "0")[:6])
    if second == 60:  # a leap second comes before the next minute
        second, fraction = 59, 999_999
    return ((days * 1440 + hour * 60 + minute - shift) * 60 + second) * 1_000_000 + fraction


def ordered_as(value: Value) -> float:
    """Return what `<` and `between` compare: a number, or the microseconds of a date."""
    if isinstance(value, str):
        found = parse_timestamp(value)
        assert found is not None, "checked when the condition was made"
        return found
    return value


def check_value(value: object) -> None:
    """Refuse a value that no field can hold.

    Raises:
        FilterError: another type, a number that is not finite, or half of a surrogate pair.
    """
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise FilterError(f"{value!a} holds half a character (a lone surrogate), which no text has")
    elif not isinstance(value, (bool, int, float)):
        raise FilterError(f"{value!r} cannot be compared; take a text, a number, true or false")
    else:
        try:
            finite = math.isfinite(value)
        except OverflowError:
            finite = False
        if not finite:
            raise FilterError(
                f"{value} is not a number that can be compared"
                if isinstance(value, float)
                else "the number is too large"
            )


def _quote(text: str, quote: str) -> str:
    for letter, escape in (("\\", "\\\\"), (quote, f"\\{quote}"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(letter, escape)
    return f"{quote}{text}{quote}"


def _days(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970-01-01 in the Gregorian calendar.

    The calendar repeats every 400 years; this also holds before the year 1.
    """
    try:
        day_of_era = date(2000 + year % 400, month, day).toordinal()
    except ValueError:
        return None
    return day_of_era + (year // 400 - 5) * 146_097 - date(1970, 1, 1).toordinal()
