"""From one test of a filter to the engine's condition for it; `filters` knows where the answer would be a wrong one.

Both engines have the same conditions under nearly the same names, so one translation serves them.
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
"""Whole numbers up to which the engine's ranges, which are of floats, are exact."""

Kinds = Mapping[str, str]
"""The indexed fields of a collection, by path in the payload."""


class Engine(NamedTuple):
    """What is not called the same in both engines.

    Args:
        classes: the module that has the other conditions.
        numbers: makes a range of numbers.
        times: makes a range of dates.
        truth: a bool as the engine takes it.
        ids: makes the condition to be one of these points.
        key: what the engine calls a path of ours, where others laid out the payloads.
        hidden: whether the engine cannot tell what lies at a path of ours, because they did.
    """

    classes: Any
    numbers: Callable[..., Any]
    times: Callable[..., Any]
    truth: Callable[[bool], Any]
    ids: Callable[[set[Any]], Any]
    key: Callable[[str], str] = str
    hidden: Callable[[tuple[str, ...]], bool] = lambda path: False


def engine_path(path: tuple[str, ...]) -> str | None:
    """A payload path as the engine writes it; None for one that it cannot name."""
    written: str | None = path[0]
    for key in path[1:]:
        written = field_path(key, written) if written is not None and key else None
    return written


def forms(path: tuple[str, ...]) -> Iterator[str]:
    """The ways a path may be written: each key on the way may hold one thing or a list of them."""
    inner = len(path) - 2
    for named in same_paths(path):
        for marks in product(("", "[]"), repeat=max(0, inner)):
            written = named[0]
            for place, key in enumerate(named[1:]):
                step = field_path(key, written) or ""
                written = step + (marks[place] if place < inner else "")
            yield written


def decided(test: Test, engine: Engine, kinds: Kinds) -> Any:
    """A test as the engine decides it."""
    written = list(forms(payload_path(test.path)))
    if isinstance(test, Exists):
        keys = (engine.key(form) for form in written)
        empty = (engine.classes.FieldCondition(key=key, is_empty=True) for key in keys)
        return any_of(engine, [none_of(engine, [one]) for one in empty])
    named = [(engine.key(form), kinds.get(form, "")) for form in written]
    return any_of(engine, [made for key, kind in named for made in _tests(test, key, kind, engine)])


def _tests(test: Test, key: str, kind: str, engine: Engine) -> Iterator[Any]:
    """The conditions on one path of which any one makes the test hold."""
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
    """A range of dates or of numbers; on an index of integers with the integers inside as bounds."""
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
    """A date as both engines read it; before the year 1 and after 9999 the nearest that they do."""
    found = parse_timestamp(text) or 0
    first, last = (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
    micros = [(when - datetime(1970, 1, 1)) // timedelta(microseconds=1) for when in (first, last)]
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=min(max(found, micros[0]), micros[1]))
    return when.isoformat()


def all_of(engine: Engine, conditions: list[Any]) -> Any:
    """A filter that holds where all of these do. A condition itself is no filter, so even one is wrapped."""
    one = len(conditions) == 1 and isinstance(conditions[0], engine.classes.Filter)
    return conditions[0] if one else engine.classes.Filter(must=conditions)


def any_of(engine: Engine, conditions: list[Any]) -> Any:
    """A condition that holds where one of these does."""
    return conditions[0] if len(conditions) == 1 else engine.classes.Filter(should=conditions)


def none_of(engine: Engine, conditions: list[Any]) -> Any:
    """A condition that holds where none of these does."""
    return engine.classes.Filter(must_not=conditions)
