"""From the one filter tree to an engine's filter, with the very meaning of `holding.holds`.

Both engines have the same conditions under nearly the same names, so one translation serves them. Where an engine's
answer is not `holds`, the condition is resolved before the search instead: what it needs of the payloads is read,
`holds` decides, and the engine gets the ids. Measured on qdrant-edge-py 0.9.0, that is for

- `~`: without a text index the engine compares letters, with one its own tokens; older collections have none;
- a number against a field indexed as dates, and a date against one indexed as numbers: the engine takes any index;
- numbers of 2**53 and more, which the engine's ranges round (but equality on a field indexed as integers);
- whether a nested field exists: of a list of authors the engine says so only if each has the field;
- keys that the engine's paths cannot name.

On a field indexed as integers the engine cuts the bounds of a range off to integers; they are rounded here first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any, NamedTuple

from hybrid_search.errors import FilterError, near
from hybrid_search.store.schema import field_path, field_types
from hybrid_search.where import (
    OWN_FIELDS,
    And,
    Between,
    Compare,
    Condition,
    Exists,
    Geo,
    Match,
    Not,
    OneOf,
    Or,
    Test,
    leaves,
)
from hybrid_search.where.holding import holds, payload_path
from hybrid_search.where.spelling import Value, field_name, moment

EXACT_UP_TO = 100_000
"""Chunks that pass a filter up to which all of them are compared. An approximate index loses hits behind a filter."""

SAMPLE = 256
"""Payloads that are looked into for fields without an index, to name them."""

MAX_KEYS = 4
"""Of nested fields: each key may be a list's or not, so their forms double with each."""

_PRECISE = 2**53
_LONG = 2**63

Kinds = Mapping[str, str]
"""The indexed fields of a collection, by path in the payload."""

Scan = Callable[[list[str], Any], Iterable[tuple[Any, Mapping[str, Any]]]]
"""Reads these fields of every point that an engine's filter, or None, lets pass: (its id, a payload of ours)."""


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


def engine_filter(condition: Condition, engine: Engine, kinds: Kinds, scan: Scan) -> Any:
    """The engine's filter for a condition; reads payloads where the engine could not tell by itself."""
    hard = [leaf for leaf in leaves(condition) if _is_hard(leaf, kinds, engine)]
    if not hard:
        return _all(engine, [_translated(condition, engine, kinds, {})])
    # What the engine can decide narrows what has to be read.
    clauses = condition.conditions if isinstance(condition, And) else (condition,)
    easy = [clause for clause in clauses if not any(_is_hard(leaf, kinds, engine) for leaf in leaves(clause))]
    narrowed = _all(engine, [_translated(clause, engine, kinds, {}) for clause in easy]) if easy else None
    passing: dict[str, set[Any]] = {_key(leaf): set() for leaf in hard}
    for point, payload in scan(_read_for(hard), narrowed):
        for leaf in hard:
            if holds(leaf, payload):
                passing[_key(leaf)].add(point)
    return _all(engine, [_translated(condition, engine, kinds, passing)])


def resolved(condition: Condition, engine: Engine, scan: Scan) -> Any:
    """The filter as the ids of the chunks that pass, for a server that refuses the other form."""
    read = _read_for(list(leaves(condition)))
    return _all(engine, [engine.ids({point for point, payload in scan(read, None) if holds(condition, payload)})])


def require_fields(
    condition: Condition, kinds: Kinds, exists: Callable[[Test], bool], fields: Callable[[], Mapping[str, str]]
) -> None:
    """Refuse a field that no document has.

    Args:
        condition: names them.
        kinds: those with an index.
        exists: whether any chunk passes.
        fields: those there are, by name.

    Raises:
        FilterError: there is such a field; names the others, close ones first.
    """
    for leaf in leaves(condition):
        path = payload_path(leaf.path)
        if path[0] != "metadata" or engine_path(path) in kinds or exists(Exists(leaf.field)):
            continue
        known = list(fields())
        close = near(leaf.field, known)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        rest = [*close, *(name for name in known if name not in close)]
        shown = ", ".join(rest[:30]) + (f" and {len(rest) - 30} more" if len(rest) > 30 else "")
        text, column = leaf.place or (None, None)
        raise FilterError(f"no document has a field {leaf.field}. {hint}The fields are {shown}", text, column)


def fields_of(kinds: Kinds, payloads: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The fields of a collection by name, with their types: indexed ones, and others that some payloads have."""
    found = {path: kind for path, kind in kinds.items() if path.startswith("metadata.")}
    named = {field_name(_keys(path)[1:]): kind for path, kind in found.items()}
    for payload in payloads:
        typed = field_types(payload.get("metadata", {}))
        for path, kind in typed.items():
            named.setdefault(field_name(_keys(path)[1:]), kind)
        for key, value in payload.get("metadata", {}).items():
            if value not in (None, []) and not isinstance(value, Mapping):
                named.setdefault(field_name((key,)), "list" if isinstance(value, list) else "text")
    return {**dict(sorted(named.items())), **dict.fromkeys(OWN_FIELDS, "text")}


def engine_path(path: tuple[str, ...]) -> str | None:
    """A payload path as the engine writes it; None for one that it cannot name."""
    written: str | None = path[0]
    for key in path[1:]:
        written = field_path(key, written) if written is not None and key else None
    return written


def _keys(path: str) -> tuple[str, ...]:
    # The engine's paths are of our own making: plain keys, and keys in double quotes without escapes.
    keys, rest = [], path
    while rest:
        quoted = rest.startswith('"')
        key, _, rest = rest[1:].partition('"') if quoted else rest.partition(".")
        keys.append(key)
        rest = rest[1:] if quoted else rest
    return tuple(keys)


def _is_hard(leaf: Test, kinds: Kinds, engine: Engine) -> bool:
    path = payload_path(leaf.path)
    written = engine_path(path)
    if written is None or len(path) - (path[0] == "metadata") > MAX_KEYS or engine.hidden(path):
        return True
    if isinstance(leaf, Exists):
        return len(path) > 2
    if isinstance(leaf, Geo):
        return False
    if isinstance(leaf, Match):
        return leaf.op == "~"
    kind = kinds.get(written, "")
    if isinstance(leaf, Between):
        return any(_misread(value, kind, ordered=True) for value in (leaf.low, leaf.high))
    values = leaf.values if isinstance(leaf, OneOf) else (leaf.value,)
    ordered = isinstance(leaf, Compare) and leaf.op not in ("=", "!=")
    return any(_misread(value, kind, ordered=ordered) for value in values)


def _misread(value: Value, kind: str, *, ordered: bool) -> bool:
    """Whether the engine would not compare a value with a field of this kind as `holds` does."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return moment(value) is not None and kind in ("integer", "float")
    if abs(value) >= _PRECISE:
        return ordered or isinstance(value, float) or not -_LONG <= value < _LONG or kind != "integer"
    return kind == "datetime"


def _translated(condition: Condition, engine: Engine, kinds: Kinds, passing: Mapping[str, set[Any]]) -> Any:
    if isinstance(condition, And):
        return _all(engine, [_translated(inner, engine, kinds, passing) for inner in condition.conditions])
    if isinstance(condition, Or):
        return _any(engine, [_translated(inner, engine, kinds, passing) for inner in condition.conditions])
    if isinstance(condition, Not):
        return engine.classes.Filter(must_not=[_translated(condition.condition, engine, kinds, passing)])
    if _key(condition) in passing:
        return engine.ids(passing[_key(condition)])
    if isinstance(condition, Compare) and condition.op == "!=":
        same = Compare(condition.field, "=", condition.value)
        return engine.classes.Filter(must_not=[_translated(same, engine, kinds, passing)])
    forms = list(_forms(payload_path(condition.path)))
    if isinstance(condition, Exists):
        return engine.classes.Filter(must_not=[engine.classes.FieldCondition(key=engine.key(forms[0]), is_empty=True)])
    named = [(engine.key(form), kinds.get(form, "")) for form in forms]
    return _any(engine, [made for key, kind in named for made in _tests(condition, key, kind, engine)])


def _tests(test: Test, key: str, kind: str, engine: Engine) -> Iterator[Any]:
    """The conditions on one path of which any one makes the test hold."""
    q = engine.classes
    if isinstance(test, Match):
        yield q.FieldCondition(key=key, match=q.MatchPrefix(prefix=test.text))
    elif isinstance(test, Geo):
        center = q.GeoPoint(lat=test.lat, lon=test.lon)
        yield q.FieldCondition(key=key, geo_radius=q.GeoRadius(center=center, radius=test.metres))
    elif isinstance(test, Between):
        yield _range(key, kind, engine, gte=test.low, lte=test.high)
    elif isinstance(test, OneOf):
        texts = [value for value in test.values if isinstance(value, str)]
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
            yield q.FieldCondition(key=key, match=q.MatchValue(value=value))
        if moment(value) is not None:
            yield _range(key, kind, engine, gte=value, lte=value)
    elif abs(value) >= _PRECISE:
        yield q.FieldCondition(key=key, match=q.MatchValue(value=value))
    else:
        yield _range(key, kind, engine, gte=value, lte=value)


def _range(key: str, kind: str, engine: Engine, **bounds: Value) -> Any:
    """A range of dates or of numbers; on an index of integers with the integers inside as bounds."""
    made: dict[str, Any] = {}
    times = False
    for side, value in bounds.items():
        if isinstance(value, str):
            made[side], times = _as_time(value), True
        elif kind != "integer" or value == int(value):
            made[side] = float(value)
        else:
            made["gte" if side[0] == "g" else "lte"] = float(math.ceil(value) if side[0] == "g" else math.floor(value))
    return engine.classes.FieldCondition(key=key, range=(engine.times if times else engine.numbers)(**made))


def _as_time(text: str) -> str:
    """A date as both engines read it; before the year 1 and after 9999 the nearest that they do."""
    found = moment(text) or 0
    first, last = (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
    micros = [(when - datetime(1970, 1, 1)) // timedelta(microseconds=1) for when in (first, last)]
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=min(max(found, micros[0]), micros[1]))
    return when.isoformat()


def _forms(path: tuple[str, ...]) -> Iterator[str]:
    """The ways a path may be written: each key on the way may hold one thing or a list of them."""
    inner = len(path) - 2
    for marks in product(("", "[]"), repeat=max(0, inner)):
        written = path[0]
        for place, key in enumerate(path[1:]):
            step = field_path(key, written) or ""
            written = step + (marks[place] if place < inner else "")
        yield written


def _all(engine: Engine, conditions: list[Any]) -> Any:
    """A condition itself is no filter, so even one is wrapped."""
    one = len(conditions) == 1 and isinstance(conditions[0], engine.classes.Filter)
    return conditions[0] if one else engine.classes.Filter(must=conditions)


def _any(engine: Engine, conditions: list[Any]) -> Any:
    return conditions[0] if len(conditions) == 1 else engine.classes.Filter(should=conditions)


def _read_for(tests: list[Test]) -> list[str]:
    """The top of each field in the payload, so that lists on the way come whole."""
    tops = (payload_path(test.path)[:2] for test in tests)
    return sorted({engine_path(top) or "metadata" for top in tops})


def _key(condition: Condition) -> str:
    """Unlike the value itself, `= 1` and `= true` differ in it."""
    return repr(condition)
