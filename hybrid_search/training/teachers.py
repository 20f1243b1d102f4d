"""Combines the scores that teachers give to an example's positive and negatives, to learn from.

A teacher is a re-ranker, which reads query and text together, or an encoder, whose score is the dot product of the two
vectors. Teachers of different kinds score on different scales, so each is brought to a common scale before they are
averaged. All ways to do that keep the order in which a teacher ranks a query's texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.errors import InvalidArgument, ModelError
from hybrid_search.protocols import DenseEncoder, HybridEncoder, Reranker, SparseEncoder
from hybrid_search.training.examples import Example
from hybrid_search.types import SparseVector

Scaling = Literal["none", "pooled", "query", "minmax"]
SCALINGS: tuple[Scaling, ...] = ("none", "pooled", "query", "minmax")
BATCH = 256

Scores = NDArray[np.float64]
_Tell = Callable[[int, int], None]


class Teacher(NamedTuple):
    """A model to learn from.

    Args:
        model: of any protocol; `leg` decides which vector of a `HybridEncoder` gives the score.
        weight: its weight in the mean of all teachers, > 0.
        name: its name in errors and progress; the model's own name if empty.
        leg: the leg of a `HybridEncoder`; ignored for others.
    """

    model: Reranker | DenseEncoder | SparseEncoder | HybridEncoder
    weight: float = 1.0
    name: str = ""
    leg: Literal["sparse", "dense"] = "sparse"

    @property
    def shown(self) -> str:
        return self.name or self.model.card.name


class _Group(NamedTuple):
    """One query, with every text that its examples want scored, each once."""

    query: str
    texts: tuple[str, ...]


def score(
    examples: Sequence[Example],
    teachers: Sequence[Teacher],
    *,
    scaling: Scaling | None = None,
    scale: float = 1.0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Example, ...]:
    """Give every example the weighted mean of its teachers' scores; its earlier scores are replaced.

    A text has one score for a query, in whichever examples it stands. If `needs_idf` says that a sparse teacher's
    scores need the inverse document frequency, it is measured on the texts of the examples. Vectors of all distinct
    texts are held in memory, about as much as the texts themselves.

    With q's texts T, a teacher's scores s, their mean m(q) and standard deviation d(q) over T, the scalings are

    - `none`: s. Right for one teacher, and for several of one kind: Hofstätter et al., Improving Efficient Neural
      Ranking
      Models with Cross-Architecture Knowledge Distillation, 2020, arXiv 2010.02666, average cross-encoders so.
    - `pooled`: (s - m(q)) / D, where D² is the mean of (s - m(q))² over all texts of queries with several texts. There
      is
      one divisor per teacher: if it sees little difference between a query's texts, little difference is left. The
      shift
      loses nothing, because MarginMSE and KL read only differences within a query.
    - `query`: (s - m(q)) / d(q), the standard score. Every query counts the same, sure or not; 0 if d(q) is 0.
    - `minmax`: (s - min) / (max - min) over T, so 0 .. 1; 0 if all are equal. Lassance et al., SPLADE-v3: New baselines
      for
      SPLADE, 2024, arXiv 2403.06789, average five re-rankers so, and then stretch the mean to the spread of one of
      them,
      which is what `scale` is for.

    Args:
        examples: examples with negatives; a positive alone gets a score, but has nothing to be compared with.
        teachers: one or more.
        scaling: by default `none` for one teacher and `pooled` for several.
        scale: factor of the mean, > 0: the spread that the student's scores should have. A dense teacher's
            cosines lie a few tenths apart, a SPLADE model's dot products several units.
        on_progress: called with (teacher, done, total) after each batch.

    Returns:
        The same examples; `scores` holds one finite number for the positive and one for each negative.

    Raises:
        InvalidArgument: there is no teacher, a weight or scale is not above 0, the scaling is unknown, or no example
            has a negative.
        ModelError: a teacher gave a score that is NaN or infinite (the message names teacher and query), too many or
            too few scores, or the same score to all texts of every query.
    """
    scaling = _check_options(examples, teachers, scaling, scale)
    groups, places = _group_by_query(examples)
    total = np.zeros(sum(len(group.texts) for group in groups))
    weights = sum(teacher.weight for teacher in teachers)
    bounds = np.cumsum([0, *(len(group.texts) for group in groups)])
    for teacher in teachers:
        raw = _raw(teacher, groups, on_progress)
        total += teacher.weight / weights * _scale(raw, bounds, scaling, teacher)
    total *= scale
    return tuple(
        example._replace(scores=tuple(float(total[bounds[group] + at]) for at in texts))
        for example, (group, texts) in zip(examples, places, strict=True)
    )


def _check_options(
    examples: Sequence[Example], teachers: Sequence[Teacher], scaling: Scaling | None, scale: float
) -> Scaling:
    if not teachers:
        raise InvalidArgument("There is no teacher: give one or more.")
    for teacher in teachers:
        if not (teacher.weight > 0 and math.isfinite(teacher.weight)):
            raise InvalidArgument(f"The weight of {teacher.shown!r} is {teacher.weight}; expected a number above 0.")
    if not (scale > 0 and math.isfinite(scale)):
        raise InvalidArgument(f"scale is {scale}; expected a number above 0.")
    scaling = scaling or ("none" if len(teachers) == 1 else "pooled")
    if scaling not in SCALINGS:
        raise InvalidArgument(f"Unknown scaling {scaling!r}. Take one of: {', '.join(SCALINGS)}.")
    if not any(example.negatives for example in examples):
        raise InvalidArgument(
            "No example has a negative, so teachers have nothing to compare. Mine some first: --mine-from NAME."
        )
    return scaling


def _group_by_query(examples: Sequence[Example]) -> tuple[list[_Group], list[tuple[int, list[int]]]]:
    """Return the queries with their texts, and for each example its group and the positions of its texts there."""
    order: dict[str, int] = {}
    texts: list[dict[str, int]] = []
    places = []
    for example in examples:
        group = order.setdefault(example.query, len(order))
        if group == len(texts):
            texts.append({})
        known = texts[group]
        places.append((group, [known.setdefault(text, len(known)) for text in (example.positive, *example.negatives)]))
    return [_Group(query, tuple(texts[at])) for query, at in order.items()], places


def _raw(teacher: Teacher, groups: Sequence[_Group], on_progress: Callable[[str, int, int], None] | None) -> Scores:
    """Return the teacher's own scores of every group's texts, one after another."""
    tell = None if on_progress is None else partial(on_progress, teacher.shown)
    kind = teacher.model.card.kind
    per_group = _read_together(teacher, groups, tell) if kind == "reranker" else _by_vectors(teacher, groups, tell)
    found = []
    for group, scores in zip(groups, per_group, strict=True):
        flat = np.asarray(scores, dtype=np.float64)
        if flat.shape != (len(group.texts),):
            raise ModelError(
                f"The teacher {teacher.shown!r} gave scores of shape {flat.shape} for {len(group.texts)} texts of the "
                f"query {group.query!r}; expected one a text."
            )
        if not np.isfinite(flat).all():
            wrong = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise ModelError(
                f"The teacher {teacher.shown!r} scored a text of the query {group.query!r} {flat[wrong]}; expected a "
                f"finite number. The text begins: {group.texts[wrong][:80]!r}"
            )
        found.append(flat)
    return np.concatenate(found)


def _read_together(teacher: Teacher, groups: Sequence[_Group], tell: _Tell | None) -> list[Scores]:
    model = cast(Reranker, teacher.model)
    found = []
    for done, group in enumerate(groups, 1):
        found.append(np.asarray(model.score(group.query, group.texts), dtype=np.float64))
        if tell is not None:
            tell(done, len(groups))
    return found


def _by_vectors(teacher: Teacher, groups: Sequence[_Group], tell: _Tell | None) -> list[Scores]:
    """Score by dot products; every distinct query and text is encoded once."""
    model: Any = teacher.model
    queries = list(dict.fromkeys(group.query for group in groups))
    texts = list(dict.fromkeys(text for group in groups for text in group.texts))
    count = len(queries) + len(texts)
    after = partial(_report_shifted, tell, 0, count), partial(_report_shifted, tell, len(queries), count)
    asked = dict(zip(queries, _encode_all(model.encode_queries, queries, teacher, after[0]), strict=True))
    read = dict(zip(texts, _encode_all(model.encode_documents, texts, teacher, after[1]), strict=True))
    if model.card.needs_idf and isinstance(next(iter(read.values())), SparseVector):
        idf = _idf(read.values())
        asked = {query: _times(vector, idf) for query, vector in asked.items()}
    return [np.array([_dot(asked[group.query], read[text]) for text in group.texts]) for group in groups]


def _report_shifted(tell: _Tell | None, before: int, count: int, done: int) -> None:
    if tell is not None:
        tell(before + done, count)


def _encode_all(
    encode: Callable[[Sequence[str]], Any], texts: Sequence[str], teacher: Teacher, after: Callable[[int], None]
) -> list[Any]:
    vectors: list[Any] = []
    for some in batched(texts, BATCH):
        got = encode(some)
        if len(got) != len(some):
            raise ModelError(f"The teacher {teacher.shown!r} gave {len(got)} vectors for {len(some)} texts.")
        if teacher.model.card.kind == "hybrid":
            got = [pair[teacher.leg == "dense"] for pair in got]
        vectors += list(got)
        after(len(vectors))
    return vectors


def _dot(query: Any, text: Any) -> float:
    if isinstance(query, SparseVector):
        return query.dot(text)
    return float(np.asarray(query, dtype=np.float64) @ np.asarray(text, dtype=np.float64))


def _idf(vectors: Iterable[SparseVector]) -> Mapping[int, float]:
    """Return ln(1 + (n - df + 0.5) / (df + 0.5)) for each dimension that occurs."""
    frequency: Counter[int] = Counter()
    count = 0
    for vector in vectors:
        frequency.update(vector.indices.tolist())
        count += 1
    return {index: math.log(1 + (count - df + 0.5) / (df + 0.5)) for index, df in frequency.items()}


def _times(vector: SparseVector, idf: Mapping[int, float]) -> SparseVector:
    """Return the vector times the weights; dimensions that no text has score nothing and are left out."""
    factors = [idf.get(index, 0.0) for index in vector.indices.tolist()]
    return SparseVector.of(vector.indices, vector.values * np.asarray(factors, dtype=np.float32), signed=vector.signed)


def _scale(raw: Scores, bounds: NDArray[Any], scaling: Scaling, teacher: Teacher) -> Scores:
    """Return the scores on the common scale; `bounds` says where each query's scores begin and end."""
    lengths = np.diff(bounds)
    starts = bounds[:-1]
    lowest = np.repeat(np.minimum.reduceat(raw, starts), lengths)
    spread = np.repeat(np.maximum.reduceat(raw, starts), lengths) - lowest
    if not spread.any():
        raise ModelError(
            f"The teacher {teacher.shown!r} gives all texts of a query the same score, for every query: there is "
            "nothing to learn from it."
        )
    if scaling == "none":
        return raw
    differs = spread > 0
    if scaling == "minmax":
        return _divide(raw - lowest, spread, differs)
    centred = np.where(differs, raw - np.repeat(np.add.reduceat(raw, starts) / lengths, lengths), 0.0)
    centred /= np.abs(centred).max()  # so that squares neither overflow nor vanish; the unit drops out below
    if scaling == "pooled":
        return _divide(centred, np.sqrt(np.square(centred[np.repeat(lengths, lengths) > 1]).mean()), differs)
    return _divide(centred, np.repeat(np.sqrt(np.add.reduceat(np.square(centred), starts) / lengths), lengths), differs)


def _divide(scores: Scores, by: Any, where: NDArray[np.bool_]) -> Scores:
    """Return the quotient, 0 where the teacher sees no difference."""
    quotient: Scores = np.divide(scores, by, out=np.zeros_like(scores), where=where)
    return quotient
