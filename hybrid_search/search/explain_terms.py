"""Why a hit is one: the terms it shares with the query, and the words of its text that match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, cast

import numpy as np

from hybrid_search._util.unicode_text import word_list
from hybrid_search.errors import CollectionChanged
from hybrid_search.protocols import CollectionReader, SparseEncoder
from hybrid_search.ranking.expansion import expansion
from hybrid_search.ranking.highlight import highlight, target_stems
from hybrid_search.ranking.rerank import RankedDocument
from hybrid_search.ranking.term_scores import contributions
from hybrid_search.results import Highlight, MatchedTerm, Term
from hybrid_search.search.open_collection import OpenCollection, inverse_frequencies
from hybrid_search.search.request import SearchRequest
from hybrid_search.search.retrieval import RetrievedQuery
from hybrid_search.types import LegName, SparseVector

_CLOSE = 1e-4
"""How far a leg's score and what its terms gave may lie apart."""

Terms = Mapping[int, Term]
"""A query's terms by dimension."""


class Evidence(NamedTuple):
    """What is shown of why hits are hits.

    Args:
        highlighter: marks the words of a text that match; None where that is not asked for.
        matched_terms: of each hit, in their order; None where that is not asked for.
        expansion: the query's terms by leg, heaviest first; empty where that is not asked for.
    """

    highlighter: Callable[[str], Highlight] | None = None
    matched_terms: Sequence[tuple[MatchedTerm, ...]] | None = None
    expansion: Mapping[LegName, tuple[Term, ...]] = MappingProxyType({})


def gather_evidence(
    retrieved: RetrievedQuery,
    documents: Sequence[RankedDocument],
    request: SearchRequest,
    opened: OpenCollection,
) -> Evidence:
    """Gather what is asked for: highlights, or highlights, matched terms and the query's expansion.

    Args:
        retrieved: the query, after retrieval.
        documents: to show.
        request: what is asked.
        opened: the collection; more inverse document frequencies may be known of it afterwards.
    """
    if not (request.highlight or request.explain):
        return Evidence()
    query, given = retrieved.query, retrieved.given
    sparse = {leg: vector for leg, vector in retrieved.vectors.items() if isinstance(vector, SparseVector)}
    terms = {
        leg: given.terms(query)
        if given is not None and leg == given.leg
        else terms_of(query, vector, cast(SparseEncoder, opened.encoders[leg]), hashed=request.explain)
        for leg, vector in sparse.items()
    }
    by_weight = sorted({t for some in terms.values() for t in some.values()}, key=lambda term: (-term.weight, term))
    highlighter = partial(highlight, wanted=target_stems(retrieved.words, by_weight))
    if not request.explain:
        return Evidence(highlighter)
    matched: list[tuple[MatchedTerm, ...]] = [()] * len(documents)
    for leg, vector in sparse.items():
        known = opened.idf.setdefault(leg, {})
        for place, some in _of_leg(leg, vector, terms[leg], documents, opened.reader, known).items():
            matched[place] += some
    ordered = {leg: tuple(sorted(some.values(), key=lambda t: (-t.weight, t.term))) for leg, some in terms.items()}
    return Evidence(highlighter, [tuple(sorted(some, key=lambda t: -t.contribution)) for some in matched], ordered)


def terms_of(query: str, vector: SparseVector, encoder: SparseEncoder, *, hashed: bool = True) -> dict[int, Term]:
    """Return the terms of a query's vector by dimension; hashed dimensions are named by the words that give them.

    Args:
        query: its text.
        vector: its vector.
        encoder: what made it.
        hashed: find the names of hashes too, which encodes each word; else there are no terms where there are hashes.
    """
    dimensions = vector.indices.tolist()
    names = encoder.terms(dimensions)
    if any(name == f"#{dimension}" for name, dimension in zip(names, dimensions, strict=True)):
        if not hashed:
            return {}
        names = _by_words(query, dimensions, names, encoder)
    weights = vector.values.tolist()
    # By weight too: a model may have two entries that read the same.
    found = {(term.term, term.weight): term for term in expansion(query, names, weights)}
    return {dimension: found[name, weight] for dimension, name, weight in zip(dimensions, names, weights, strict=True)}


def _of_leg(
    leg: LegName,
    query: SparseVector,
    terms: Terms,
    documents: Sequence[RankedDocument],
    reader: CollectionReader,
    known: dict[int, float],
) -> dict[int, tuple[MatchedTerm, ...]]:
    """Return what terms gave to a leg's scores, by the place of the document, of those that the leg found.

    What is known of frequencies may be of an earlier state of the collection; then the terms do not sum to the scores,
    and the store is asked again.
    """
    heads = {place: document.hits[0] for place, document in enumerate(documents) if leg in document.hits[0].legs}
    stored = reader.vectors(leg, [head.chunk_id for head in heads.values()])
    if len(stored) < len(heads):
        raise CollectionChanged("The collection was changed while it was searched: chunks are gone. Search again.")
    weighted = reader.manifest.legs[leg].needs_idf
    while True:
        lacking = [dimension for dimension in query.indices.tolist() if dimension not in known] if weighted else []
        known.update(inverse_frequencies(reader, leg, lacking))
        matched = {}
        for place, head in heads.items():
            document = cast(SparseVector, stored[head.chunk_id])
            matched[place] = contributions(leg, query, document, terms, known if weighted else None)
        scores = {place: head.legs[leg].score for place, head in heads.items()}
        sums = all(abs(sum(t.contribution for t in matched[place]) - scores[place]) < _CLOSE for place in matched)
        if sums or not weighted or len(lacking) == len(query):
            return matched
        for dimension in query.indices.tolist():
            known.pop(dimension, None)


def _by_words(query: str, dimensions: Sequence[int], names: Sequence[str], encoder: SparseEncoder) -> list[str]:
    """Names of hashed dimensions: the query's words that give them alone, the first where several do."""
    words = list(dict.fromkeys(word_list(query.lower())))
    word_of: dict[int, str] = {}
    for word, vector in zip(words, encoder.encode_queries(words), strict=True):
        for dimension in np.asarray(vector.indices).tolist():
            word_of.setdefault(dimension, word)
    return [word_of.get(dimension, name) for dimension, name in zip(dimensions, names, strict=True)]
