"""Reads one row of training data; its fields say what it is. A record becomes an Example or a given vector.

    pair      query, positive
    triplet   query, positive, negative
    scored    query, positive, negatives, scores    the teacher's scores of the positive and of each negative
    labelled  query, positive, negatives, label     the same in the layout of sentence-transformers, or margins
    vector    text, vector                          {token: weight}, {index: weight} or {"indices": [], "values": []}

`query` may be called `anchor`, and `positive` may be called `passage` or `document`. Negatives stand in `negative`
(one), in `negatives` (a list), or in `negative_1`, `negative_2` and so on. `query_id` and `positive_id` are kept if
present.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.fields import BadRecord
from hybrid_search.training.examples import Example, normalize
from hybrid_search.types import SparseVector

QUERY_FIELDS = ("query", "anchor")
POSITIVE_FIELDS = ("positive", "passage", "document")
NEGATIVE_FIELDS = ("negative", "negatives")
SCORE_FIELDS = ("scores", "label")
ID_FIELDS = {"query_id": ("query_id",), "positive_id": ("positive_id", "doc_id")}

_NUMBERED = re.compile(r"negative_([0-9]+)")
_MOST = float(np.finfo(np.float32).max)
_JSON_CELLS = (*SCORE_FIELDS, "vector")
"""Columns of a table whose cells are JSON; `negatives` is JSON too if it begins like a list."""

_EXPECTED = (
    "expected query and positive (or passage, or document), with negative, negatives, scores or label where there are "
    "any, or text and vector"
)


class GivenVector(NamedTuple):
    """A text and the weights given for it; their keys may be tokens or dimensions."""

    text: str
    weights: Mapping[str, float]


def kind_of(names: Iterable[str]) -> Literal["example", "vector"]:
    """Return what rows with these fields are.

    Raises:
        BadRecord: the fields are nothing that can be trained on, or two things at once.
    """
    there = set(names)
    shown = ", ".join(sorted(repr(without_surrogates(name)) for name in there)[:12]) or "none"
    example = not there.isdisjoint(QUERY_FIELDS) and not there.isdisjoint(POSITIVE_FIELDS)
    vector = {"text", "vector"} <= there
    if example and vector:
        raise BadRecord(f"both a pair and a given vector: {_EXPECTED}, not both; the fields are {shown}")
    if not example and not vector:
        raise BadRecord(f"the fields are {shown}; {_EXPECTED}")
    return "example" if example else "vector"


def parse_row(record: Mapping[str, Any]) -> Example | GivenVector:
    """Return the row that a JSON object or a table's row stands for; fields with null count as missing.

    Raises:
        BadRecord: it is not a row; the message names the field, what was found and what was expected.
    """
    record = {name: value for name, value in record.items() if value is not None}
    if kind_of(record) == "vector":
        return GivenVector(_text(record, "text"), _weights(record["vector"]))
    query = _text(record, _one_of(record, QUERY_FIELDS))
    positive = _text(record, _one_of(record, POSITIVE_FIELDS))
    negatives = _negatives(record)
    if normalize(positive) in {normalize(text) for text in negatives}:
        raise BadRecord("a negative is the same text as the positive")
    ids = {name: _id(record, fields) for name, fields in ID_FIELDS.items()}
    return Example(query, positive, negatives, _scores(record, len(negatives)), **ids)


def parse_cells(cells: Mapping[str, str]) -> Example | GivenVector:
    """Return the row of a table's cells: empty cells are missing; lists, numbers and vectors are JSON.

    Raises:
        BadRecord: as `parse_row`, or a cell that must be JSON is not.
    """
    record: dict[str, Any] = {}
    for name, cell in cells.items():
        if not cell.strip():
            continue
        record[name] = cell
        if name in _JSON_CELLS or (name == "negatives" and cell.lstrip().startswith("[")):
            try:
                record[name] = json.loads(cell)
            except (ValueError, RecursionError):
                raise BadRecord(f"the field {name!r}: expected JSON, found {_shown(cell)}") from None
    return parse_row(record)


def vector_of(
    weights: Mapping[str, float], vocabulary: Mapping[str, int] | None, *, by_index: bool, size: int
) -> SparseVector:
    """Return the vector of weights by token or by dimension; zeros are left out.

    Args:
        weights: all >= 0.
        vocabulary: token -> dimension; not read with `by_index`.
        by_index: whether the keys are dimensions.
        size: number of dimensions; 0 if unknown.

    Raises:
        BadRecord: the vocabulary lacks a token, a dimension is beyond it, or no weight is above 0.
    """
    vocabulary = vocabulary or {}
    if not by_index and (unknown := [token for token in weights if token not in vocabulary]):
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        shown = ", ".join(map(_shown, unknown[:3]))
        raise BadRecord(
            f"the field 'vector': {shown}{more} not in the model's vocabulary of {len(vocabulary):,} tokens"
        )
    dimensions = [int(key) if by_index else vocabulary[key] for key in weights]
    limit = size or 2**31
    if dimensions and max(dimensions) >= limit:
        raise BadRecord(f"the field 'vector': dimension {max(dimensions)}; expected 0 .. {limit - 1:,}")
    if len(set(dimensions)) != len(dimensions):
        raise BadRecord("the field 'vector': a dimension stands twice")
    vector = SparseVector.of(dimensions, list(weights.values()))
    if not len(vector):
        raise BadRecord("the field 'vector': no weight above 0")
    return vector


def is_index(key: str) -> bool:
    """Return whether a key can be a dimension.

    >>> [is_index(key) for key in ("7", "30521", "##7", "-1", "²", "07")]
    [True, True, False, False, False, False]
    """
    return key.isascii() and key.isdigit() and len(key) <= 10 and (key == "0" or key[0] != "0")


def _one_of(record: Mapping[str, Any], fields: Sequence[str]) -> str:
    found = [name for name in fields if name in record]
    if len(found) > 1:
        raise BadRecord(f"the fields {' and '.join(map(repr, found))} say the same; expected one of them")
    return found[0]


def _text(record: Mapping[str, Any], name: str) -> str:
    return _clean(record[name], name)


def _clean(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRecord(f"the field {name!r}: expected text, found {_shown(value)}")
    text = without_surrogates(value).replace("\0", "\ufffd").strip()
    if not text:
        raise BadRecord(f"the field {name!r} is empty; expected text")
    return text


def _id(record: Mapping[str, Any], fields: Sequence[str]) -> str:
    for name in fields:
        value = record.get(name)
        if isinstance(value, (dict, list, bool, float)):
            raise BadRecord(f"the field {name!r}: expected a string or a whole number, found {_shown(value)}")
        if value is not None:
            return without_surrogates(str(value))
    return ""


def _negatives(record: Mapping[str, Any]) -> tuple[str, ...]:
    numbered = sorted((int(match[1]), name) for name in record if (match := _NUMBERED.fullmatch(name)))
    forms = [name for name in NEGATIVE_FIELDS if name in record] + [name for _, name in numbered[:1]]
    if len(forms) > 1:
        raise BadRecord(f"the fields {' and '.join(map(repr, forms))} say the same; expected one of them")
    if numbered:
        return tuple(_text(record, name) for _, name in numbered)
    if not forms:
        return ()
    (name,) = forms
    content = record[name]
    return tuple(_clean(value, name) for value in (content if isinstance(content, list) else [content]))


def _scores(record: Mapping[str, Any], negatives: int) -> tuple[float, ...]:
    """Return the scores of (positive, *negatives). A label of one number per negative is the positive's lead over it.

    From such margins the scores are (0, -margin, ...): losses read only differences, so nothing is lost.
    """
    found = [name for name in SCORE_FIELDS if name in record]
    if not found:
        return ()
    name = _one_of(record, SCORE_FIELDS)
    given = record[name] if isinstance(record[name], list) else [record[name]]
    numbers = tuple(_number(value, name) for value in given)
    if not negatives:
        raise BadRecord(f"the field {name!r} scores a pair without negatives, where there is nothing to compare")
    if len(numbers) == negatives + 1:
        return numbers
    if name == "label" and len(numbers) == negatives:
        return (0.0, *(-margin for margin in numbers))
    margins = f", or {negatives} margins" if name == "label" else ""
    raise BadRecord(
        f"the field {name!r}: expected {negatives + 1} numbers (the positive's, then each negative's){margins}, "
        f"found {len(numbers)}"
    )


def _weights(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise BadRecord(f"the field 'vector': expected an object of weights, found {_shown(value)}")
    if value.keys() == {"indices", "values"} and all(isinstance(part, list) for part in value.values()):
        indices, values = value["indices"], value["values"]
        if len(indices) != len(values) or len(set(map(str, indices))) != len(indices):
            raise BadRecord(
                f"the field 'vector': {len(indices)} indices and {len(values)} values; expected as many, none twice"
            )
        if wrong := [index for index in indices if type(index) is not int or index < 0]:
            raise BadRecord(f"the field 'vector': expected indices from 0, found {_shown(wrong[0])}")
        value = dict(zip(map(str, indices), values, strict=True))
    weights = {without_surrogates(str(key)): _number(weight, "vector") for key, weight in value.items()}
    if wrong := [key for key, weight in weights.items() if not 0 <= weight <= _MOST]:
        raise BadRecord(f"the field 'vector': the weight of {_shown(wrong[0])} is {weights[wrong[0]]}; expected >= 0")
    return weights


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadRecord(f"the field {name!r}: expected a number, found {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadRecord(f"the field {name!r}: expected a finite number, found {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
