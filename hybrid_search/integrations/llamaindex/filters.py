"""LlamaIndex's metadata filters as ours.

A key with dots is nested keys, or one key of the metadata, dots and all. `title` is the document's title; `ref_doc_id`,
`document_id` and `doc_id` are the id of the document that a node comes from, as in LlamaIndex's other stores. The
meaning is that of `filters/matcher.py`, in which `text_match` and `text_match_insensitive` are the same: all words of
the value are there, whatever their case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from hybrid_search._util.arguments import texts
from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Compare, Condition, Exists, Match, Not, OneOf, Or
from hybrid_search.filters.syntax import field_name
from hybrid_search.integrations.dict_filters import either_way

REF_DOC_ID = "_ref_doc_id"
"""The metadata field that has the id of a node's document."""

_FIELDS = {"title": "title", **dict.fromkeys(("ref_doc_id", "document_id", "doc_id"), REF_DOC_ID)}
_ORDERED = {FilterOperator.GT: ">", FilterOperator.LT: "<", FilterOperator.GTE: ">=", FilterOperator.LTE: "<="}


def condition_of(
    filters: MetadataFilters | None,
    *,
    node_ids: Sequence[str] | None = None,
    ref_doc_ids: Sequence[str] | None = None,
) -> Condition | None:
    """Return what all of the filters, the node ids and the ids of documents let pass; None where none is given.

    `and` holds where all do, `or` where one does, `not` where none does.

    Raises:
        FilterError: a value does not go with its operator.
    """
    found = [_joined(filters)] if filters is not None and filters.filters else []
    if node_ids is not None:
        found.append(_one_of("doc_id", texts("node_ids", node_ids)))
    if ref_doc_ids is not None:
        found.append(_one_of(REF_DOC_ID, texts("doc_ids", ref_doc_ids)))
    return either_way(And(tuple(found))) if found else None


def _joined(filters: MetadataFilters) -> Condition:
    conditions = tuple(
        _joined(inner) if isinstance(inner, MetadataFilters) else _test(inner)
        for inner in filters.filters
        if not isinstance(inner, MetadataFilters) or inner.filters
    )
    if filters.condition == FilterCondition.OR:
        return Or(conditions)
    return Not(Or(conditions)) if filters.condition == FilterCondition.NOT else And(conditions)


def _test(given: MetadataFilter) -> Condition:
    operator, value = given.operator, given.value
    field = _FIELDS.get(given.key) or field_name(("metadata", *given.key.split(".")))
    if operator == FilterOperator.IS_EMPTY:
        return Or((Not(Exists(field)), Compare(field, "=", "")))
    several: dict[FilterOperator, Callable[[Sequence[Any]], Condition]] = {
        FilterOperator.IN: lambda values: _one_of(field, values),
        FilterOperator.ANY: lambda values: _one_of(field, values),
        FilterOperator.NIN: lambda values: Not(_one_of(field, values)),
        FilterOperator.ALL: lambda values: _all_of(field, values),
    }
    if operator in several:
        if value is None:
            raise FilterError(f"{operator.value} on {given.key!r} takes a list of values, not None")
        return several[operator](value if isinstance(value, list) else [value])
    if isinstance(value, list):
        raise FilterError(
            f"{operator.value} on {given.key!r} takes one value, not {value!r}; in, any and all take lists"
        )
    if operator in (FilterOperator.EQ, FilterOperator.NE) and value is None:
        return Not(Exists(field)) if operator == FilterOperator.EQ else Exists(field)
    if value is None:
        raise FilterError(f"{operator.value} on {given.key!r} takes a value, not None")
    if operator in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
        return Match(field, "~", str(value))
    if operator in _ORDERED:
        return Compare(field, _ORDERED[operator], value)  # type: ignore[arg-type]
    if operator in (FilterOperator.EQ, FilterOperator.CONTAINS):
        return Compare(field, "=", value)
    if operator == FilterOperator.NE:
        return Compare(field, "!=", value)
    raise FilterError(f"the operator {operator!r} is not known here")


def _one_of(field: str, values: Sequence[Any]) -> Condition:
    # Among no values nothing is found.
    return OneOf(field, tuple(values)) if values else And((Exists(field), Not(Exists(field))))


def _all_of(field: str, values: Sequence[Any]) -> Condition:
    return And(tuple(Compare(field, "=", value) for value in values)) if values else Exists(field)
