"""From the one filter tree to an engine's filter, with the very meaning of `holding.holds`.

Where an engine's answer is not `holds`, the condition is resolved before the search instead: what it needs of the
payloads is read, `holds` decides, and the engine gets the ids. Measured on qdrant-edge-py 0.9.0, that is for

- `~`: without a text index the engine compares letters, with one its own tokens; older collections have none;
- dates before the year 1001: the engine takes `12-3-4` for one, which `holds` does not;
- what `^=` looks for, where a mark comes behind it that makes another character of its last one;
- a number against a field indexed as dates, and a date against one indexed as numbers: the engine takes any index;
- numbers of 2**53 and more, which the engine's ranges round (but equality on a field indexed as integers);
- whether a nested field exists: of a list of authors the engine says so only if each has the field;
- keys that the engine's paths cannot name.

On a field indexed as integers the engine cuts the bounds of a range off to integers; they are rounded here first.
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
    decided,
    engine_path,
    forms,
    none_of,
)
from hybrid_search.store.schema import field_types

EXACT_UP_TO = 100_000
"""Chunks that pass a filter up to which all of them are compared. An approximate index loses hits behind a filter."""

SAMPLE = 256
"""Payloads that are looked into for fields without an index, to name them."""

MAX_KEYS = 4
"""Of nested fields: each key may be a list's or not, so their forms double with each."""

_EARLY = "1001-01-01"
_EARLIEST = parse_timestamp(_EARLY) or 0
_LONG = 2**63

Scan = Callable[[list[str], Any], Iterable[tuple[Any, Mapping[str, Any]]]]
"""Reads these fields of every point that an engine's filter, or None, lets pass: (its id, a payload of ours)."""


class _Read(NamedTuple):
    """What reading payloads has told of a test.

    Args:
        passing: the points that pass.
        failing: the others that were read, where there is a doubt.
        doubt: the engine's condition for the points of which it cannot tell; None where it can of none.
    """

    passing: set[Any]
    failing: set[Any]
    doubt: Any


def engine_filter(condition: Condition, engine: Engine, kinds: Kinds, scan: Scan) -> Any:
    """The engine's filter for a condition; reads payloads where the engine could not tell by itself."""
    tests = {_key(test): test for test in map(_positive, leaves(condition))}
    read: dict[str, _Read] = {}
    for key, test in tests.items():
        if _is_hard(test, kinds, engine):
            read[key] = _Read(set(), set(), None)
        elif (doubt := _doubt(test, kinds, engine)) is not None:
            read[key] = _Read(set(), set(), doubt)
    if read:
        narrowed = _narrowed(condition, engine, kinds, read)
        for point, payload in scan(_read_for([tests[key] for key in read]), narrowed):
            for key, found in read.items():
                if matches(tests[key], payload):
                    found.passing.add(point)
                elif found.doubt is not None:
                    found.failing.add(point)
    return all_of(engine, [_translated(condition, engine, kinds, read)])


def _narrowed(condition: Condition, engine: Engine, kinds: Kinds, read: Mapping[str, _Read]) -> Any:
    """What the engine can decide narrows what has to be read; None where it is everything."""
    clauses = condition.conditions if isinstance(condition, And) else (condition,)
    easy = [clause for clause in clauses if not any(_key(_positive(leaf)) in read for leaf in leaves(clause))]
    bounds = [_translated(clause, engine, kinds, {}) for clause in easy]
    doubts = [found.doubt for found in read.values()]
    if None not in doubts:
        bounds.append(any_of(engine, doubts))
    return all_of(engine, bounds) if bounds else None


def resolved(condition: Condition, engine: Engine, scan: Scan) -> Any:
    """The filter as the ids of the chunks that pass, for a server that refuses the other form."""
    read = _read_for(list(leaves(condition)))
    return all_of(engine, [engine.ids({point for point, payload in scan(read, None) if matches(condition, payload)})])


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
    there: dict[str, bool] = {}
    for leaf in leaves(condition):
        path, name = payload_path(leaf.path), _joined(leaf)
        if not there.get(name):
            there[name] = path[0] != "metadata" or engine_path(path) in kinds or exists(Exists(leaf.field))
    missing = next((leaf for leaf in leaves(condition) if not there[_joined(leaf)]), None)
    if missing is None:
        return
    known = list(fields())
    close = near(missing.field, known)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    rest = [*close, *(name for name in known if name not in close)]
    shown = ", ".join(rest[:30]) + (f" and {len(rest) - 30} more" if len(rest) > 30 else "")
    text, column = missing.place or (None, None)
    raise FilterError(f"no document has a field {missing.field}. {hint}The fields are {shown}", text, column)


def _joined(leaf: Test) -> str:
    """A field's keys, joined: where a filter names `author.name` and `"author.name"`, one of them is enough."""
    return ".".join(payload_path(leaf.path))


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
    """The test that a leaf is, or that it denies."""
    return Compare(leaf.field, "=", leaf.value) if isinstance(leaf, Compare) and leaf.op == "!=" else leaf


def _is_hard(leaf: Test, kinds: Kinds, engine: Engine) -> bool:
    """Whether the engine cannot tell of any point."""
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
    """The engine's condition for the points of which it may tell wrong; None where there are none."""
    q = engine.classes
    written = list(forms(payload_path(leaf.path)))
    keys = [engine.key(form) for form in written]
    if isinstance(leaf, Match):
        return _goes_on(leaf, keys, engine, indexed=any(form in kinds for form in written))
    if isinstance(leaf, (Exists, Geo)) or not _reaches_early(leaf):
        return None
    early = engine.times(lt=as_time(_EARLY))
    return any_of(engine, [q.FieldCondition(key=key, range=early) for key in keys])


def _goes_on(leaf: Match, keys: list[str], engine: Engine, *, indexed: bool) -> Any:
    """The condition for points of which a text may begin with that of a test and go on with its last character.

    Where there is no index, reading the payload once for each mark costs the engine more than it costs us altogether.
    """
    whole, q = spellings(leaf.text), engine.classes
    longer = [text + mark for text in whole for mark in followers(leaf.text)]
    either = [
        any_of(engine, [q.FieldCondition(key=key, match=q.MatchPrefix(prefix=text)) for key in keys for text in texts])
        for texts in ((whole, longer) if indexed else (whole,))
    ]
    return all_of(engine, either) if longer else None


def _reaches_early(leaf: Test) -> bool:
    """Whether a test can let pass what the engine takes for a date before `_EARLY`."""
    if isinstance(leaf, Compare) and leaf.op in ("<", "<="):
        return isinstance(leaf.value, str)
    bounds = (leaf.low,) if isinstance(leaf, Between) else _values(leaf)
    moments = (parse_timestamp(value) for value in bounds if isinstance(value, str))
    return any(found is not None and found < _EARLIEST for found in moments)


def _values(leaf: Test) -> tuple[Value, ...]:
    """What a test compares with."""
    if isinstance(leaf, Between):
        return leaf.low, leaf.high
    return leaf.values if isinstance(leaf, OneOf) else (leaf.value,) if isinstance(leaf, Compare) else ()


def _misread(value: Value, kind: str, *, ordered: bool) -> bool:
    """Whether the engine would not compare a value with a field of this kind as `holds` does."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return parse_timestamp(value) is not None and kind in ("integer", "float")
    if abs(value) >= PRECISE:
        return ordered or isinstance(value, float) or not -_LONG <= value < _LONG or kind != "integer"
    return kind == "datetime"


def _translated(condition: Condition, engine: Engine, kinds: Kinds, read: Mapping[str, _Read]) -> Any:
    if isinstance(condition, And):
        return all_of(engine, [_translated(inner, engine, kinds, read) for inner in condition.conditions])
    if isinstance(condition, Or):
        return any_of(engine, [_translated(inner, engine, kinds, read) for inner in condition.conditions])
    if isinstance(condition, Not):
        return none_of(engine, [_translated(condition.condition, engine, kinds, read)])
    test = _positive(condition)
    if test is not condition:
        return none_of(engine, [_translated(test, engine, kinds, read)])
    found = read.get(_key(test))
    if found is None:
        return decided(test, engine, kinds)
    if found.doubt is None:
        return engine.ids(found.passing)
    made = decided(test, engine, kinds)
    if found.failing:
        made = all_of(engine, [made, none_of(engine, [engine.ids(found.failing)])])
    return any_of(engine, [made, engine.ids(found.passing)]) if found.passing else made


def _read_for(tests: list[Test]) -> list[str]:
    """The top of each field in the payload, so that lists on the way come whole."""
    tops = (named[:2] for test in tests for named in same_paths(payload_path(test.path)))
    return sorted({engine_path(top) or "metadata" for top in tops})


def _key(condition: Condition) -> str:
    """Unlike the value itself, `= 1` and `= true` differ in it."""
    return repr(condition)
