"""Measures a model on held-out queries, and what its vectors cost: pure functions over sparse vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.encoders.batching import batches, readable
from hybrid_search.evaluation import measures as measuring
from hybrid_search.training.examples import HeldOut
from hybrid_search.types import SparseVector

MEASURE = "nDCG@10"
_DEPTH = 10
# (tokens, texts) of one batch.
_BATCH = (4096, 32)

Encode = Callable[[Sequence[str]], list[SparseVector]]


class Evaluation(NamedTuple):
    """The result of judging a model on the held-out queries.

    Args:
        step: number of optimiser steps before it; 0 is the base.
        ndcg: the mean nDCG@10 over the held-out queries, each ranking all held-out documents.
        query_dims: mean active dims of the queries.
        document_dims: mean active dims of the documents.
        flops: expected multiplications for one query and one document, as `expected_flops`.
    """

    step: int
    ndcg: float
    query_dims: float
    document_dims: float
    flops: float


def judge(queries: Encode, documents: Encode, held_out: HeldOut, step: int) -> Evaluation:
    """Encode everything that is held out, rank the documents for each query by dot product, and measure.

    A document that shares no dimension with the query is not found, as in a store.
    """
    doc_ids = list(held_out.documents)
    encoded = documents([held_out.documents[doc_id] for doc_id in doc_ids])
    asked = queries(list(held_out.queries.values()))
    index = _Index(encoded)
    run = []
    for query_id, vector in zip(held_out.queries, asked, strict=True):
        scores = index.scores(vector)
        best = sorted(scores.nonzero()[0].tolist(), key=lambda at: (-scores[at], doc_ids[at]))[:_DEPTH]
        run += [ScoredDoc(query_id, doc_ids[at], float(scores[at])) for at in best]
    qrels = [
        Qrel(query_id, doc_id, grade)
        for query_id in held_out.queries
        for doc_id, grade in held_out.qrels[query_id].items()
    ]
    values = measuring.score(run, qrels, measuring.parse([MEASURE]))[MEASURE]
    return Evaluation(
        step, float(values.mean()), _mean_length(asked), _mean_length(encoded), expected_flops(asked, encoded)
    )


def expected_flops(queries: Sequence[SparseVector], documents: Sequence[SparseVector]) -> float:
    """Return Σ_j p_q(j) · p_d(j), where p is the share of the queries, or documents, in which dimension j is active.

    This is the mean number of multiplications to score one document for one query.

    Source: Paria et al., 2020, arXiv 2004.05665, section 3; measured so in Formal et al., SPLADE, 2021, arXiv
    2107.05720, section 4.

    >>> one, both = SparseVector.of([1], [1.0]), SparseVector.of([1, 2], [1.0, 1.0])
    >>> expected_flops([one, both], [both])
    1.5
    """
    on_queries, on_documents = _active(queries), _active(documents)
    return float(sum(part * on_documents.get(dimension, 0.0) for dimension, part in on_queries.items()))


def encoding(model: Any, side: str) -> Encode:
    """Return a SparseEncoder of sentence-transformers as a function from texts to vectors.

    Args:
        model: the model; left in evaluation mode.
        side: `query` or `document`.
    """
    torch: Any = import_module("torch")
    encode = getattr(model, f"encode_{side}")

    def encoded(texts: Sequence[str]) -> list[SparseVector]:
        clean = [readable(text) for text in texts]
        vectors: list[Any] = [None] * len(clean)
        limit = model.max_seq_length or 512
        # A token is four characters or so: near enough for batches of texts of like length.
        lengths = [min(limit, 2 + len(text) // 4) for text in clean]
        for batch in batches(lengths, budget=_BATCH[0], limit=_BATCH[1]):
            part = [clean[place] for place in batch]
            options = {"batch_size": len(part), "show_progress_bar": False, "convert_to_sparse_tensor": False}
            with torch.no_grad():
                rows = encode(part, convert_to_tensor=True, **options).float().cpu().numpy()
            for place, row in zip(batch, rows, strict=True):
                active = row.nonzero()[0]
                vectors[place] = SparseVector.of(active, row[active])
        return vectors

    return encoded


class _Index:
    """Documents by dimension: the positions and weights of those in which it is active."""

    def __init__(self, documents: Sequence[SparseVector]) -> None:
        self._count = len(documents)
        dims = np.concatenate([vector.indices for vector in documents] or [np.empty(0, np.int32)])
        places = np.repeat(np.arange(len(documents)), [len(vector) for vector in documents])
        weights = np.concatenate([vector.values for vector in documents] or [np.empty(0, np.float32)])
        order = np.argsort(dims, kind="stable")
        self._dims, self._places, self._weights = dims[order], places[order], weights[order].astype(np.float64)

    def scores(self, query: SparseVector) -> NDArray[np.float64]:
        """Return the dot product with every document, shape (documents,)."""
        scores = np.zeros(self._count)
        starts = np.searchsorted(self._dims, query.indices, side="left")
        ends = np.searchsorted(self._dims, query.indices, side="right")
        for start, end, weight in zip(starts, ends, query.values, strict=True):
            scores[self._places[start:end]] += float(weight) * self._weights[start:end]
        return scores


def _active(vectors: Sequence[SparseVector]) -> Mapping[int, float]:
    if not vectors:
        return {}
    dims, counts = np.unique(np.concatenate([vector.indices for vector in vectors]), return_counts=True)
    return dict(zip(dims.tolist(), (counts / len(vectors)).tolist(), strict=True))


def _mean_length(vectors: Sequence[SparseVector]) -> float:
    return float(np.mean([len(vector) for vector in vectors])) if vectors else 0.0
