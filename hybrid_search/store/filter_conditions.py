"""Translating one test of a filter into an engine's condition.

Both engines have the same conditions under nearly the same names, so one translation serves them. For which tests the
engine would give a wrong answer, `filter_translation` knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any, NamedTuple

from hybrid_search._util.unicode_text import spellings
from hybrid_search.filters import Between, Compare, Exists, Geo, Match, OneOf, Test
from hybrid_search.filters.matcher import payload_path, same_paths
from hybrid_search.filters.syntax import Value, parse_timestamp
from hybrid_search.store.schema import field_path

PRECISE = 2**53
"""Whole numbers up to which the engine's ranges are exact: their bounds are floats."""

Kinds = Mapping[str, str]
"""The kind of each indexed field of a collection, by its path in the payload."""


class Engine(NamedTuple):
    """Names and types that differ between qdrant_edge and qdrant_client.

    Args:
        classes: the module with the conditions that both have.
        numbers: makes a range of numbers.
        times: makes a range of dates.
        truth: converts a bool to what the engine expects.
        ids: makes the condition that a point has one of these ids.
        key: turns a path of ours into the engine's, for payloads in another layout.
        hidden: whether the engine cannot decide about a path of ours, for payloads in another layout.
    """

    classes: Any
    numbers: Callable[..., Any]
    times: Callable[..., Any]
    truth: Callable[[bool], Any]
    ids: Callable[[set[Any]], Any]
    key: Callable[[str], str] = str
    hidden: Callable[[tuple[str, ...]], bool] = lambda path: False


def engine_path(path: tuple[str, ...]) -> str | None:
    """Return a payload path in the engine's notation; None for a path that it cannot name."""
    written: str | None = path[0]
    for key in path[1:]:
        written = field_path(key, written) if written is not None and key else None
    return written


def forms(path: tuple[str, ...]) -> Iterator[str]:
    """Yield every way to write a path: each key on the way may hold one value or a list of them."""
    inner = len(path) - 2
    for named in same_paths(path):
        for marks in product(("", "[]"), repeat=max(0, inner)):
            written = named[0]
            for place, key in enumerate(named[1:]):
                step = field_path(key, written) or ""
                written = step + (marks[place] if place < inner else "")
            yield written


def condition_for(test: Test, engine: Engine, kinds: Kinds) -> Any:
    """Translate a test into a condition that the engine evaluates alone."""
    written = list(forms(payload_path(test.path)))
    if isinstance(test, Exists):
        keys = (engine.key(form) for form in written)
        empty = (engine.classes.FieldCondition(key=key, is_empty=True) for key in keys)
        return any_of(engine, [none_of(engine, [one]) for one in empty])
    named = [(engine.key(form), kinds.get(form, "")) for form in written]
    return any_of(engine, [made for key, kind in named for made in _tests(test, key, kind, engine)])


def _tests(test: Test, key: str, kind: str, engine: Engine) -> Iterator[Any]:
    """Yield the conditions on one path. The test holds where any of them does."""
    q = engine.classes
    if isinstance(test, Match):
        for text in spellings(test.text):
            yield q.FieldCondition(key=key, match=q.MatchPrefix(prefix=text))
    elif isinstance(test, Geo):
        center = q.GeoPoint(lat=test.lat, lon=test.lon)
        yield q.FieldCondition(key=key, geo_radius=q.GeoRadius(center=center, radius=test.metres))
    elif isinstance(test, Between):
        yield _range(key, kind, engine, gte=test.low, lte=test.high)
    elif isinstance(test, OneOf):
        texts = [text for value in test.values if isinstance(value, str) for text in spellings(value)]
        if texts:
            yield q.FieldCondition(key=key, match=q.MatchAny(any=texts))
        for value in test.values:
            yield from _equals(value, key, kind, engine, texts=False)
    elif isinstance(test, Compare) and test.op == "=":
        yield from _equals(test.value, key, kind, engine, texts=True)
    elif isinstance(test, Compare):
        yield _range(key, kind, engine, **{{"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[test.op]: test.value})


def _equals(value: Value, key: str, kind: str, engine: Engine, *, texts: bool) -> Iterator[Any]:
    q = engine.classes
    if isinstance(value, bool):
        yield q.FieldCondition(key=key, match=q.MatchValue(value=engine.truth(value)))
    elif isinstance(value, str):
        if texts:
            yield q.FieldCondition(key=key, match=q.MatchAny(any=list(spellings(value))))
        if parse_timestamp(value) is not None:
            yield _range(key, kind, engine, gte=value, lte=value)
    elif abs(value) >= PRECISE:
        yield q.FieldCondition(key=key, match=q.MatchValue(value=value))
    else:
        yield _range(key, kind, engine, gte=value, lte=value)


def _range(key: str, kind: str, engine: Engine, **bounds: Value) -> Any:
    """Return a range of dates or of numbers. On an integer index the bounds are rounded inwards to integers."""
    made: dict[str, Any] = {}
    times = False
    for side, value in bounds.items():
        if isinstance(value, str):
            made[side], times = as_time(value), True
        elif kind != "integer" or value == int(value):
            made[side] = float(value)
        else:
            made["gte" if side[0] == "g" else "lte"] = float(math.ceil(value) if side[0] == "g" else math.floor(value))
    return engine.classes.FieldCondition(key=key, range=(engine.times if times else engine.numbers)(**made))


def as_time(text: str) -> str:
    """Format a date for both engines. Dates outside the years 1 to 9999 become the nearest date inside."""
    found = parse_timestamp(text) or 0
    first, last = (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
    micros = [(when - datetime(1970, 1, 1)) // timedelta(microseconds=1) for when in (first, last)]
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=min(max(found, micros[0]), micros[1]))
    return when.isoformat()


def all_of(engine: Engine, conditions: list[Any]) -> Any:
    """Return a filter that holds where all conditions hold. A single condition is wrapped: it is no filter yet."""
    one = len(conditions) == 1 and isinstance(conditions[0], engine.classes.Filter)
    return conditions[0] if one else engine.classes.Filter(must=conditions)


def any_of(engine: Engine, conditions: list[Any]) -> Any:
    """Return a condition that holds where any of these holds."""
    return conditions[0] if len(conditions) == 1 else engine.classes.Filter(should=conditions)


def none_of(engine: Engine, conditions: list[Any]) -> Any:
    """Return a condition that holds where none of these holds."""
    return engine.classes.Filter(must_not=conditions)
