"""Filters as the dicts that pipelines write, made into the tree of `where`.

    {"year": {"$gte": 1990}, "genres": ["drama", "war"], "author": {"name": "Ada"}, "$not": {"seen": True}}

is `year >= 1990 and genres in ('drama', 'war') and author.name = 'Ada' and not seen = true`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Between, Compare, Condition, Exists, Not, OneOf, Or
from hybrid_search.filters.parser import parse
from hybrid_search.filters.syntax import field_name, path_of

MAX_DOTTED = 4
"""Of so many keys each two neighbours may be one; of more either none or all of them are."""

_OPERATORS: Mapping[str, Callable[[str, Any], Condition]] = {
    "$eq": lambda field, value: _equal(field, value),
    "$ne": lambda field, value: Not(_equal(field, value)),
    "$lt": lambda field, value: Compare(field, "<", _value(value)),
    "$lte": lambda field, value: Compare(field, "<=", _value(value)),
    "$gt": lambda field, value: Compare(field, ">", _value(value)),
    "$gte": lambda field, value: Compare(field, ">=", _value(value)),
    "$in": lambda field, value: OneOf(field, _values(field, "$in", value)),
    "$nin": lambda field, value: Not(OneOf(field, _values(field, "$nin", value))),
    "$between": lambda field, value: Between(field, *_pair(field, value)),
    "$exists": lambda field, value: Exists(field) if _bool(field, value) else Not(Exists(field)),
}


def condition_of(given: Mapping[str, Any]) -> Condition | None:
    """Return the filter that a dict means; None for an empty one.

    Keys are fields, as the filter language writes them (`year`, `author.name`), or any other key of the metadata as it
    is. A value is what the field is equal to, None where it has no value, a list for one of several, a dict of
    operators (`$eq`, `$ne`, `$lt`, `$lte`, `$gt`, `$gte`, `$in`, `$nin`, `$between`, `$exists`), or a dict of nested
    fields. All keys must hold. `$and` and `$or` take lists of such dicts, `$not` takes one.

    Raises:
        FilterError: no dict, an operator that is not known, or a value that cannot be compared.

    >>> str(condition_of({"year": {"$gte": 1990, "$lt": 2000}, "$or": [{"a": 1}, {"odd key": ["x", "y"]}]}))
    'year >= 1990 and year < 2000 and (a = 1 or "odd key" in (\\'x\\', \\'y\\'))'
    """
    found = _all(given, ())
    return None if not found else found[0] if len(found) == 1 else And(tuple(found))


def either_way(condition: Condition) -> Condition:
    """Return the same filter for keys joined by dots: `author.name` is nested, or one key with a dot.

    >>> str(either_way(Compare("author.name", "!=", "Ada")))
    'not (author.name = \\'Ada\\' or "author.name" = \\'Ada\\')'
    """
    if isinstance(condition, (And, Or)):
        return type(condition)(tuple(map(either_way, condition.conditions)))
    if isinstance(condition, Not):
        return Not(either_way(condition.condition))
    names = _ways(condition.path)
    if len(names) == 1:
        return condition
    if isinstance(condition, Compare) and condition.op == "!=":
        return Not(Or(tuple(Compare(name, "=", condition.value) for name in names)))
    return Or(tuple(replace(condition, field=name) for name in names))


def _ways(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the fields that keys joined by dots may mean, the fully nested one first."""
    above, keys = (path[:1], path[1:]) if path[0] == "metadata" else ((), path)
    if len(keys) > MAX_DOTTED:
        ways = [keys, (".".join(keys),)]
    else:
        ways = [(keys[0],)]
        for key in keys[1:]:
            ways = [one for way in ways for one in ((*way, key), (*way[:-1], f"{way[-1]}.{key}"))]
    return tuple(dict.fromkeys(field_name((*above, *way)) for way in ways))


def both(where: str | Condition | None, condition: Condition | None) -> Condition | None:
    """Return what two filters let pass, each of which may be none."""
    first = parse(where) if isinstance(where, str) else where
    given = tuple(one for one in (first, condition) if one is not None)
    return And(given) if len(given) > 1 else next(iter(given), None)


def _all(given: object, above: tuple[str, ...]) -> list[Condition]:
    if not isinstance(given, Mapping):
        raise FilterError(f'{given!r} is no filter; give a text such as "year >= 1990", a dict, or a tree of `where`')
    return [condition for key, value in given.items() for condition in _one(key, value, above)]


def _one(key: object, value: Any, above: tuple[str, ...]) -> list[Condition]:
    if not isinstance(key, str):
        raise FilterError(f"{key!r} is no field's name")
    if key in ("$and", "$or", "$not"):
        return [_joined(key, value, above)]
    if key.startswith("$"):
        if not above or key not in _OPERATORS:
            raise FilterError(
                f"{key} means nothing here; take $and, $or, $not, or below a field {', '.join(_OPERATORS)}"
            )
        return [_OPERATORS[key](field_name(above), value)]
    path = (*above, *_path(key))
    if isinstance(value, Mapping):
        if not value:
            raise FilterError(f"there is nothing to hold of {key!r}: its dict is empty")
        return _all(value, path)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [OneOf(field_name(path), _values(key, "a list", value))]
    return [_equal(field_name(path), value)]


def _joined(key: str, value: Any, above: tuple[str, ...]) -> Condition:
    if key == "$not":
        inner = _all(value, above)
        return Not(inner[0] if len(inner) == 1 else And(tuple(inner)))
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise FilterError(f"{key} takes a list of filters, not {value!r}")
    parts = [_all(each, above) for each in value]
    conditions = tuple(part[0] if len(part) == 1 else And(tuple(part)) for part in parts)
    return And(conditions) if key == "$and" else Or(conditions)


def _path(key: str) -> tuple[str, ...]:
    try:
        return path_of(key)
    except FilterError:
        return (key,)  # a key of the metadata that is no plain word


def _equal(field: str, value: Any) -> Condition:
    return Not(Exists(field)) if value is None else Compare(field, "=", _value(value))


def _value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value  # a datetime is a date too


def _values(field: str, what: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, (Sequence, set, frozenset)):
        raise FilterError(f"{what} of {field} takes a list, not {values!r}")
    return tuple(map(_value, values))


def _pair(field: str, value: Any) -> tuple[Any, Any]:
    pair = _values(field, "$between", value)
    if len(pair) != 2:
        raise FilterError(f"$between of {field} takes two values, not {len(pair)}")
    return pair[0], pair[1]


def _bool(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise FilterError(f"$exists of {field} takes True or False, not {value!r}")
    return value
