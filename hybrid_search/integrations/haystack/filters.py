"""Haystack's filters as ours.

`meta.year` is the metadata's field `year`, `meta.author.name` a nested one, or one key with a dot; `meta.title` and
`title` are the document's title, `content` its text, `id` its id, `origin` where it was read. A name without `meta.`
that is none of these is a field of the metadata. The meaning is that of `filters/matcher.py`: of a list one value is
enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from haystack.errors import FilterError as HaystackFilterError

from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Compare, Condition, Exists, Not, OneOf, Or
from hybrid_search.filters.syntax import field_name
from hybrid_search.integrations.dict_filters import either_way

_OWN = {"id": "doc_id", "content": "text", "title": "title", "meta.title": "title", "origin": "origin"}
_ORDERED = (">", ">=", "<", "<=")


def condition_of(filters: Mapping[str, Any] | None) -> Condition | None:
    """Return the filter as a tree; None for no filter.

    Raises:
        haystack.errors.FilterError: a key is missing, an operator is unknown, or a value does not go with it.
    """
    if not filters:
        return None
    try:
        return either_way(_condition(filters))
    except FilterError as error:
        raise HaystackFilterError(str(error)) from error


def _condition(part: Any) -> Condition:
    if not isinstance(part, Mapping):
        raise FilterError(f"{part!r} is no condition; take a dict with 'field', 'operator' and 'value'")
    return _comparison(part) if "field" in part else _logic(part)


def _logic(part: Mapping[str, Any]) -> Condition:
    operator, parts = _value(part, "operator"), _value(part, "conditions")
    if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
        raise FilterError(f"'conditions' is {parts!r}, expected a list with at least one condition")
    conditions = tuple(_condition(inner) for inner in parts)
    joined: dict[str, Callable[[tuple[Condition, ...]], Condition]] = {
        "AND": And,
        "OR": Or,
        "NOT": lambda inner: Not(And(inner)),
    }
    if operator not in joined:
        raise FilterError(f"{operator!r} joins nothing; take one of AND, OR, NOT")
    return joined[operator](conditions)


def _comparison(part: Mapping[str, Any]) -> Condition:
    operator, value = _value(part, "operator"), _value(part, "value")
    field = _field(part["field"])
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"{operator!r} takes a list, not {value!r}")
        found = _one_of(field, value)
        return found if operator == "in" else Not(found)
    if isinstance(value, (list, dict)):
        raise FilterError(f"{operator} takes one value, not {value!r}; `in` takes a list")
    if operator in ("==", "!="):
        if value is None:
            return Not(Exists(field)) if operator == "==" else Exists(field)
        return Compare(field, "=" if operator == "==" else "!=", _plain(value))
    if operator in _ORDERED:
        return _nothing(field) if value is None else Compare(field, operator, _plain(value))
    raise FilterError(f"{operator!r} compares nothing; take one of ==, !=, >, >=, <, <=, in, not in")


def _one_of(field: str, values: Sequence[Any]) -> Condition:
    given = tuple(_plain(value) for value in values if value is not None)
    if None in values:
        absent = Not(Exists(field))
        return Or((absent, OneOf(field, given))) if given else absent
    return OneOf(field, given) if given else _nothing(field)


def _nothing(field: str) -> Condition:
    """Return a condition that never holds."""
    return And((Exists(field), Not(Exists(field))))


def _field(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise FilterError(f"'field' is {name!r}, expected a text such as 'meta.year'")
    return _OWN.get(name) or field_name(("metadata", *name.removeprefix("meta.").split(".")))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _value(part: Mapping[str, Any], key: str) -> Any:
    if key not in part:
        raise FilterError(f"{key!r} is missing in {dict(part)!r}")
    return part[key]
