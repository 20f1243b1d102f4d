"""The ranking that every engine is held against: dot products over a collection's own vectors, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from hybrid_search.collection.models import load_models
from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.evaluation import measures
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import SparseVector, chunk_id_of

K = 10
Run = Mapping[str, Sequence[str]]
"""Of each query the ids of its documents, best first."""


class Encoded(NamedTuple):
    """What a collection and its queries are as sparse vectors: ids to vectors, and the text of each dimension."""

    documents: Mapping[str, SparseVector]
    queries: Mapping[str, SparseVector]
    tokens: Mapping[int, str]


def encoded(collection: str, queries: Mapping[str, str], settings: Settings) -> Encoded:
    """Read a collection of one chunk a document, and encode the queries with its model."""
    with closing(EdgeStore(settings.store).reader(collection)) as reader:
        heads = {chunk_id_of(doc_id, 0): doc_id for doc_id in reader.doc_ids()}
        assert reader.info().points == len(heads)
        vectors = reader.vectors("sparse", list(heads))
        encoder = load_models(collection, reader.manifest, settings).encoders["sparse"]
    asked = dict(zip(queries, encoder.encode_queries(list(queries.values())), strict=True))
    documents = {doc_id: vectors[chunk_id] for chunk_id, doc_id in heads.items()}
    used = sorted({int(dim) for vector in (*documents.values(), *asked.values()) for dim in vector.indices})
    return Encoded(documents, asked, dict(zip(used, encoder.terms(used), strict=True)))


def ranking(given: Encoded, k: int = K) -> Run:
    """Rank by sum of query weight x document weight x IDF; IDF is ln(1 + (N - df + 0.5) / (df + 0.5))."""
    columns = {dim: place for place, dim in enumerate(given.tokens)}
    documents, queries = (_matrix(list(side.values()), columns) for side in (given.documents, given.queries))
    frequency = np.count_nonzero(documents, axis=0)
    idf = np.log1p((len(documents) - frequency + 0.5) / (frequency + 0.5))
    scores = (queries * idf) @ documents.T
    ids = np.array(list(given.documents))
    best = {}
    for query_id, row in zip(given.queries, scores, strict=True):
        order = np.lexsort((ids, -row))[:k]
        best[query_id] = [str(ids[place]) for place in order if row[place] > 0]
    return best


def overlap(run: Run, exact: Run, k: int = K) -> float:
    """Return the mean share of the exact top k that a run has in its own."""
    shares = [len({*run.get(query, ())[:k]} & {*best[:k]}) / len(best[:k]) for query, best in exact.items() if best]
    return float(np.mean(shares))


def ndcg(run: Run, qrels: Sequence[Qrel]) -> float:
    """Return nDCG@10 of a run, as `evaluate` computes it."""
    rows = [ScoredDoc(query, doc_id, float(-place)) for query, ids in run.items() for place, doc_id in enumerate(ids)]
    [values] = measures.score(rows, qrels, measures.parse(["nDCG@10"])).values()
    return float(values.mean())


def _matrix(vectors: Sequence[SparseVector], columns: Mapping[int, int]) -> np.ndarray:
    rows = np.zeros((len(vectors), len(columns)))
    for row, vector in zip(rows, vectors, strict=True):
        row[[columns[int(dim)] for dim in vector.indices]] = vector.values
    return rows
