"""The meaning of a filter: whether it holds for a payload. Tests hold every store to these answers.

Values. A condition on a field holds if any of the field's values satisfies it; a list has many values. Strings are
equal letter by letter, however a letter is composed (`unicode_text.spellings`), or if both are dates of the same
moment. Numbers compare as numbers, so 1 equals 1.0; true is not 1. A date is compared with dates only, a number with
numbers only. A field that is missing, null or an empty list has no value, so only `!=` and `not` hold.

Nesting. `author.name` finds the name of an author, and of each author in a list of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any
from unicodedata import normalize

from hybrid_search._util.unicode_text import begins, has_words, spellings, words_of
from hybrid_search.filters.ast import (
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
)
from hybrid_search.filters.syntax import Value, ordered_as, parse_timestamp

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth. Source: Moritz, Geodetic Reference System 1980, Journal of Geodesy 74, 2000."""


def matches(condition: Condition, payload: Mapping[str, Any]) -> bool:
    """Say whether a chunk with this payload (`store.schema.payload_of`) passes."""
    if isinstance(condition, And):
        return all(matches(inner, payload) for inner in condition.conditions)
    if isinstance(condition, Or):
        return any(matches(inner, payload) for inner in condition.conditions)
    if isinstance(condition, Not):
        return not matches(condition.condition, payload)
    found = [value for path in same_paths(payload_path(condition.path)) for value in values_at(payload, path)]
    if isinstance(condition, Exists):
        return any(value is not None and value != [] for value in found)
    if isinstance(condition, Compare) and condition.op == "!=":
        return not any(_equal(value, condition.value) for value in _each(found))
    return any(_satisfies(value, condition) for value in _each(found))


def failing_clauses(condition: Condition, payload: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Return the clauses, joined by `and` at the top, that do not hold for a payload; none if it passes."""
    clauses = condition.conditions if isinstance(condition, And) else (condition,)
    return tuple(clause for clause in clauses if not matches(clause, payload))


def payload_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the path of a field in the payload.

    >>> payload_path(("year",)), payload_path(("title",)), payload_path(("metadata", "title"))
    (('metadata', 'year'), ('title',), ('metadata', 'title'))
    """
    if (len(path) == 1 and path[0] in OWN_FIELDS) or (len(path) > 1 and path[0] == "metadata"):
        return path
    return ("metadata", *path)


def same_paths(path: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the path with its keys as written, all composed, and all decomposed."""
    if all(key.isascii() for key in path):
        return (path,)
    forms = (tuple(normalize(form, key) for key in path) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((path, *forms)))


def values_at(value: Any, path: tuple[str, ...]) -> list[Any]:
    """Return the values at a path: none, one, or one for each part of a list on the way."""
    found = [value]
    for place, key in enumerate(path):
        inside = [item for each in found for item in (each if place and isinstance(each, list) else [each])]
        found = [item[key] for item in inside if isinstance(item, Mapping) and key in item]
    return found


def _each(found: Iterable[Any]) -> Iterable[Any]:
    return (item for value in found for item in (value if isinstance(value, list) else [value]))


def _satisfies(value: Any, test: Test) -> bool:
    if isinstance(test, Compare):
        if test.op == "=":
            return _equal(value, test.value)
        return _in_order(value, test.op, test.value)
    if isinstance(test, OneOf):
        return any(_equal(value, wanted) for wanted in test.values)
    if isinstance(test, Between):
        return _in_order(value, ">=", test.low) and _in_order(value, "<=", test.high)
    if isinstance(test, Match):
        if not isinstance(value, str):
            return False
        return has_words(value, words_of(test.text)) if test.op == "~" else begins(value, test.text)
    return isinstance(test, Geo) and _near(value, test)


def _equal(value: Any, wanted: Value) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) and isinstance(wanted, str):
        when = parse_timestamp(wanted)
        return value in spellings(wanted) or (when is not None and parse_timestamp(value) == when)
    return isinstance(value, (int, float)) and isinstance(wanted, (int, float)) and value == wanted


def _in_order(value: Any, op: str, bound: Value) -> bool:
    if isinstance(bound, str):
        value = parse_timestamp(value) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    limit = ordered_as(bound)
    if op in ("<", ">"):
        return value < limit if op == "<" else value > limit
    return value <= limit if op == "<=" else value >= limit


def _near(value: Any, test: Geo) -> bool:
    if not isinstance(value, Mapping):
        return False
    lat, lon = value.get("lat"), value.get("lon")
    if isinstance(lat, bool) or isinstance(lon, bool):
        return False
    if not isinstance(lat, (int, float)) or not isinstance(lon, (int, float)):
        return False
    return -90 <= lat <= 90 and -180 <= lon <= 180 and metres_between(lat, lon, test.lat, test.lon) < test.metres


def metres_between(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Return the distance of two places, given in degrees, on a sphere of the Earth's mean radius. In metres.

    Source: Sinnott, Virtues of the Haversine, Sky and Telescope 68, 1984.
    """
    one, two = math.radians(lat), math.radians(other_lat)
    north, east = two - one, math.radians(other_lon) - math.radians(lon)
    half = math.sin(north / 2) ** 2 + math.cos(one) * math.cos(two) * math.sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))
