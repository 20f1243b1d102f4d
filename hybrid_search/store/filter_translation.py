"""Translating a filter's tree into an engine's filter with exactly the meaning of `filters.matcher.matches`.

Where an engine would answer otherwise than `matches`, the condition is resolved before the search: the payloads that it
depends on are read, `matches` decides, and the engine gets the ids. On qdrant-edge-py 0.9.0 that was measured to be
necessary for

- `~`: without a text index the engine compares letters, with one its own tokens; older collections have none;
- dates before the year 1001: the engine reads `12-3-4` as a date, `matches` does not;
- `^=`, where a combining mark follows the text and makes another character of its last one;
- a number against a field indexed as dates, and a date against one indexed as numbers: the engine uses any index;
- numbers from 2**53 on, which the engine's ranges round (but not equality on a field indexed as integers);
- whether a nested field exists: in a list of authors the engine requires the field of each of them;
- keys that the engine's paths cannot name.

On a field indexed as integers the engine truncates the bounds of a range to integers, so they are rounded here first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from hybrid_search._util.unicode_text import followers, spellings
from hybrid_search.errors import FilterError, near
from hybrid_search.filters import (
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
from hybrid_search.filters.matcher import matches, payload_path, same_paths
from hybrid_search.filters.syntax import Value, field_name, parse_timestamp
from hybrid_search.store.filter_conditions import (
    PRECISE,
    Engine,
    Kinds,
    all_of,
    any_of,
    as_time,
    condition_for,
    engine_path,
    forms,
    none_of,
)
from hybrid_search.store.schema import field_types

EXACT_UP_TO = 100_000
"""Up to so many chunks that pass a filter, all are compared. Behind a filter an approximate index loses hits."""

SAMPLE = 256
"""Payloads that are read to find fields without an index, for naming them."""

MAX_KEYS = 4
"""Deepest nesting of a field that is translated: each key may hold a list or not, so the forms double with each."""

_EARLY = "1001-01-01"
_EARLIEST = parse_timestamp(_EARLY) or 0
_LONG = 2**63

Scan = Callable[[list[str], Any], Iterable[tuple[Any, Mapping[str, Any]]]]
"""Reads fields of every point that passes an engine's filter (None: every point). Yields (point id, payload)."""


class _Resolution(NamedTuple):
    """What reading payloads showed about a test.

    Args:
        passing: the points that pass.
        failing: the other points that were read; filled only where `doubt` is not None.
        doubt: the engine's condition for the points that it cannot decide; None where it can decide none.
    """

    passing: set[Any]
    failing: set[Any]
    doubt: Any


def engine_filter(condition: Condition, engine: Engine, kinds: Kinds, scan: Scan) -> Any:
    """Translate a condition into the engine's filter. Reads payloads where the engine cannot decide alone."""
    tests = {_key(test): test for test in map(_positive, leaves(condition))}
    read: dict[str, _Resolution] = {}
    for key, test in tests.items():
        if _is_hard(test, kinds, engine):
            read[key] = _Resolution(set(), set(), None)
        elif (doubt := _doubt(test, kinds, engine)) is not None:
            read[key] = _Resolution(set(), set(), doubt)
    if read:
        narrowed = _prefilter(condition, engine, kinds, read)
        for point, payload in scan(_read_for([tests[key] for key in read]), narrowed):
            for key, found in read.items():
                if matches(tests[key], payload):
                    found.passing.add(point)
                elif found.doubt is not None:
                    found.failing.add(point)
    return all_of(engine, [_translate(condition, engine, kinds, read)])


def _prefilter(condition: Condition, engine: Engine, kinds: Kinds, read: Mapping[str, _Resolution]) -> Any:
    """Return a filter that limits which payloads are read, from what the engine can decide; None for all of them."""
    clauses = condition.conditions if isinstance(condition, And) else (condition,)
    easy = [clause for clause in clauses if not any(_key(_positive(leaf)) in read for leaf in leaves(clause))]
    bounds = [_translate(clause, engine, kinds, {}) for clause in easy]
    doubts = [found.doubt for found in read.values()]
    if None not in doubts:
        bounds.append(any_of(engine, doubts))
    return all_of(engine, bounds) if bounds else None


def filter_by_ids(condition: Condition, engine: Engine, scan: Scan) -> Any:
    """Return the filter as the ids of all chunks that pass, for a server that refuses the translated form."""
    read = _read_for(list(leaves(condition)))
    return all_of(engine, [engine.ids({point for point, payload in scan(read, None) if matches(condition, payload)})])


def require_fields(
    condition: Condition, kinds: Kinds, exists: Callable[[Test], bool], fields: Callable[[], Mapping[str, str]]
) -> None:
    """Refuse a filter on a field that no document has.

    Args:
        condition: the filter.
        kinds: the indexed fields.
        exists: whether any chunk passes a test.
        fields: returns the fields of the collection, by name.

    Raises:
        FilterError: no document has the field. The message lists the fields, those with a similar name first.
    """
    there: dict[str, bool] = {}
    for leaf in leaves(condition):
        path, name = payload_path(leaf.path), _dotted(leaf)
        if not there.get(name):
            there[name] = path[0] != "metadata" or engine_path(path) in kinds or exists(Exists(leaf.field))
    missing = next((leaf for leaf in leaves(condition) if not there[_dotted(leaf)]), None)
    if missing is None:
        return
    known = list(fields())
    close = near(missing.field, known)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    rest = [*close, *(name for name in known if name not in close)]
    shown = ", ".join(rest[:30]) + (f" and {len(rest) - 30} more" if len(rest) > 30 else "")
    text, column = missing.place or (None, None)
    raise FilterError(f"no document has a field {missing.field}. {hint}The fields are {shown}", text, column)


def _dotted(leaf: Test) -> str:
    """Return a field's keys joined by dots. Of `author.name` and `"author.name"` in a filter one has to exist."""
    return ".".join(payload_path(leaf.path))


def fields_of(kinds: Kinds, payloads: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return a collection's fields with their types, by name: the indexed ones, and others found in these payloads."""
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


def _keys(path: str) -> tuple[str, ...]:
    # The engine's paths are of our own making: plain keys, and keys in double quotes without escapes.
    keys, rest = [], path
    while rest:
        quoted = rest.startswith('"')
        key, _, rest = rest[1:].partition('"') if quoted else rest.partition(".")
        keys.append(key)
        rest = rest[1:] if quoted else rest
    return tuple(keys)


def _positive(leaf: Test) -> Test:
    """Return the test itself, or for `!=` the test that it negates."""
    return Compare(leaf.field, "=", leaf.value) if isinstance(leaf, Compare) and leaf.op == "!=" else leaf


def _is_hard(leaf: Test, kinds: Kinds, engine: Engine) -> bool:
    """Say whether the engine can decide this test for no point."""
    path = payload_path(leaf.path)
    if engine_path(path) is None or len(path) - (path[0] == "metadata") > MAX_KEYS or engine.hidden(path):
        return True
    if isinstance(leaf, Exists):
        return len(path) > 2
    if isinstance(leaf, Geo):
        return False
    if isinstance(leaf, Match):
        return leaf.op == "~"
    ordered = isinstance(leaf, Between) or (isinstance(leaf, Compare) and leaf.op not in ("=", "!="))
    indexes = {kinds.get(engine_path(named) or "", "") for named in same_paths(path)}
    return any(_misread(value, kind, ordered=ordered) for value in _values(leaf) for kind in indexes)


def _doubt(leaf: Test, kinds: Kinds, engine: Engine) -> Any:
    """Return the engine's condition for the points that it may decide wrongly; None where there are none."""
    q = engine.classes
    written = list(forms(payload_path(leaf.path)))
    keys = [engine.key(form) for form in written]
    if isinstance(leaf, Match):
        return _may_go_on(leaf, keys, engine, indexed=any(form in kinds for form in written))
    if isinstance(leaf, (Exists, Geo)) or not _reaches_early(leaf):
        return None
    early = engine.times(lt=as_time(_EARLY))
    return any_of(engine, [q.FieldCondition(key=key, range=early) for key in keys])


def _may_go_on(leaf: Match, keys: list[str], engine: Engine, *, indexed: bool) -> Any:
    """Return the condition for points whose text begins with the test's text and may go on inside its last character.

    Without an index, the engine would read the payload once for each mark. That costs more than reading it here once.
    """
    whole, q = spellings(leaf.text), engine.classes
    longer = [text + mark for text in whole for mark in followers(leaf.text)]
    either = [
        any_of(engine, [q.FieldCondition(key=key, match=q.MatchPrefix(prefix=text)) for key in keys for text in texts])
        for texts in ((whole, longer) if indexed else (whole,))
    ]
    return all_of(engine, either) if longer else None


def _reaches_early(leaf: Test) -> bool:
    """Say whether a test can let pass what the engine takes for a date before `_EARLY`."""
    if isinstance(leaf, Compare) and leaf.op in ("<", "<="):
        return isinstance(leaf.value, str)
    bounds = (leaf.low,) if isinstance(leaf, Between) else _values(leaf)
    moments = (parse_timestamp(value) for value in bounds if isinstance(value, str))
    return any(found is not None and found < _EARLIEST for found in moments)


def _values(leaf: Test) -> tuple[Value, ...]:
    """Return the values that a test compares with."""
    if isinstance(leaf, Between):
        return leaf.low, leaf.high
    return leaf.values if isinstance(leaf, OneOf) else (leaf.value,) if isinstance(leaf, Compare) else ()


def _misread(value: Value, kind: str, *, ordered: bool) -> bool:
    """Say whether the engine compares a value with a field of this kind otherwise than `matches`."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return parse_timestamp(value) is not None and kind in ("integer", "float")
    if abs(value) >= PRECISE:
        return ordered or isinstance(value, float) or not -_LONG <= value < _LONG or kind != "integer"
    return kind == "datetime"


def _translate(condition: Condition, engine: Engine, kinds: Kinds, read: Mapping[str, _Resolution]) -> Any:
    if isinstance(condition, And):
        return all_of(engine, [_translate(inner, engine, kinds, read) for inner in condition.conditions])
    if isinstance(condition, Or):
        return any_of(engine, [_translate(inner, engine, kinds, read) for inner in condition.conditions])
    if isinstance(condition, Not):
        return none_of(engine, [_translate(condition.condition, engine, kinds, read)])
    test = _positive(condition)
    if test is not condition:
        return none_of(engine, [_translate(test, engine, kinds, read)])
    found = read.get(_key(test))
    if found is None:
        return condition_for(test, engine, kinds)
    if found.doubt is None:
        return engine.ids(found.passing)
    made = condition_for(test, engine, kinds)
    if found.failing:
        made = all_of(engine, [made, none_of(engine, [engine.ids(found.failing)])])
    return any_of(engine, [made, engine.ids(found.passing)]) if found.passing else made


def _read_for(tests: list[Test]) -> list[str]:
    """Return the topmost path of each field in the payload, so that lists on the way are read whole."""
    tops = (named[:2] for test in tests for named in same_paths(payload_path(test.path)))
    return sorted({engine_path(top) or "metadata" for top in tops})


def _key(condition: Condition) -> str:
    """Return a key that tells conditions apart: as values, `= 1` and `= true` are equal."""
    return repr(condition)
