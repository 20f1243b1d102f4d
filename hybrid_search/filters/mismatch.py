"""Explaining why a filter finds nothing: it compares a field with values of another kind than the field has."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_search.filters.ast import Between, Compare, Condition, OneOf, Test, leaves
from hybrid_search.filters.syntax import Value, format_value

_KINDS = {
    "integer": "numbers",
    "float": "numbers",
    "bool": "truth values",
    "keyword": "texts",
    "datetime": "texts",
    "text": "texts",
}
_ADVICE = {
    "numbers": "write numbers without quotes",
    "truth values": "write true or false without quotes",
    "texts": "write texts and dates in quotes",
}


def mismatches(condition: Condition, fields: Mapping[str, str]) -> tuple[str, ...]:
    """Explain in sentences which conditions cannot hold for the kind of their field. Names each field once.

    Args:
        condition: the filter.
        fields: the types of the collection's fields by name, from a reader's `fields`.

    >>> from hybrid_search.filters.parser import parse
    >>> mismatches(parse("zip = 90210 and year > 1990"), {"zip": "keyword", "year": "integer"})
    ('zip holds texts, which 90210 never equals: write texts and dates in quotes.',)
    """
    said: dict[str, str] = {}
    for leaf in leaves(condition):
        kind = _KINDS.get(fields.get(leaf.field, ""), "")
        others = [value for value in _values(leaf) if _kind(value) != kind]
        if kind and others and leaf.field not in said:
            told = " or ".join(map(format_value, others[:3]))
            said[leaf.field] = f"{leaf.field} holds {kind}, which {told} never equals: {_ADVICE[kind]}."
    return tuple(said.values())


def _values(leaf: Test) -> tuple[Value, ...]:
    if isinstance(leaf, Between):
        return (leaf.low, leaf.high)
    return leaf.values if isinstance(leaf, OneOf) else (leaf.value,) if isinstance(leaf, Compare) else ()


def _kind(value: Value) -> str:
    return "truth values" if isinstance(value, bool) else "texts" if isinstance(value, str) else "numbers"
