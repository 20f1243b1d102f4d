"""Why a hit is one: the terms it shares with the query, and the words of its text that match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from hybrid_search.asking import Request
from hybrid_search.protocols import CollectionReader, Encoder, SparseEncoder
from hybrid_search.ranking.contributions import contributions
from hybrid_search.ranking.expansion import expansion
from hybrid_search.ranking.matching import WORDS, highlight, sought
from hybrid_search.results import DocumentHit, MatchedTerm, Term
from hybrid_search.types import LegName, SparseVector, Vector

Terms = Mapping[int, Term]
"""A query's terms by dimension."""


def evident(
    query: str,
    vectors: Mapping[LegName, Vector],
    hits: Sequence[DocumentHit],
    request: Request,
    reader: CollectionReader,
    encoders: Mapping[LegName, Encoder],
) -> tuple[dict[LegName, tuple[Term, ...]], tuple[DocumentHit, ...]]:
    """The hits with what was asked for: highlights, or highlights and matched terms; and the query's expansion.

    Args:
        query: its text.
        vectors: the query's, one a leg that was searched.
        hits: the documents to show.
        request: what is asked.
        reader: of the collection.
        encoders: by leg.
    """
    if not (request.highlight or request.explain):
        return {}, tuple(hits)
    sparse = {leg: vector for leg, vector in vectors.items() if isinstance(vector, SparseVector)}
    terms = {leg: terms_of(query, vector, cast(SparseEncoder, encoders[leg])) for leg, vector in sparse.items()}
    by_weight = sorted({t for some in terms.values() for t in some.values()}, key=lambda term: (-term.weight, term))
    wanted = sought(query, by_weight)
    lit = [
        replace(hit, passages=tuple(p._replace(highlight=highlight(p.text, wanted)) for p in hit.passages))
        for hit in hits
    ]
    if not request.explain:
        return {}, tuple(lit)
    matched: list[tuple[MatchedTerm, ...]] = [()] * len(lit)
    for leg, vector in sparse.items():
        idf = inverse_frequencies(reader, leg, vector) if reader.manifest.legs[leg].needs_idf else None
        heads = [hit.passages[0].chunk_id for hit in lit]
        found = [head for head, hit in zip(heads, lit, strict=True) if hit.legs[leg] is not None]
        stored = reader.vectors(leg, found)
        for place, head in enumerate(heads):
            if head in stored:
                document = cast(SparseVector, stored[head])
                matched[place] += contributions(leg, vector, document, terms[leg], idf)
    explained = tuple(
        replace(hit, matched_terms=tuple(sorted(some, key=lambda each: -each.contribution)))
        for hit, some in zip(lit, matched, strict=True)
    )
    ordered = {leg: tuple(sorted(some.values(), key=lambda t: (-t.weight, t.term))) for leg, some in terms.items()}
    return ordered, explained


def terms_of(query: str, vector: SparseVector, encoder: SparseEncoder) -> dict[int, Term]:
    """The terms of a query's vector by dimension; where dimensions are hashes, named by the words that give them."""
    dimensions = vector.indices.tolist()
    names = encoder.terms(dimensions)
    if any(name == f"#{dimension}" for name, dimension in zip(names, dimensions, strict=True)):
        names = _by_words(query, dimensions, names, encoder)
    found = {term.term: term for term in expansion(query, names, vector.values.tolist())}
    return {dimension: found[name] for dimension, name in zip(dimensions, names, strict=True)}


def inverse_frequencies(reader: CollectionReader, leg: LegName, query: SparseVector) -> dict[int, float]:
    """What the store multiplies each dimension of a query with, as the store itself has it: one search a dimension.

    The score of a document in a search for one dimension, at weight 1, over its own weight there.
    """
    dimensions = query.indices.tolist()
    singles = [SparseVector.of([dimension], [1.0]) for dimension in dimensions]
    answers = reader.retrieve([(leg, single) for single in singles], 1) if singles else []
    stored = reader.vectors(leg, sorted({chunk_id for answer in answers for chunk_id, _ in answer}))
    found = {}
    for dimension, single, answer in zip(dimensions, singles, answers, strict=True):
        for chunk_id, score in answer:
            found[dimension] = score / cast(SparseVector, stored[chunk_id]).dot(single)
    return found


def _by_words(query: str, dimensions: Sequence[int], names: Sequence[str], encoder: SparseEncoder) -> list[str]:
    """Names of hashed dimensions: the query's words that give them alone, the first where several do."""
    words = list(dict.fromkeys(WORDS.findall(query.lower())))
    given: dict[int, str] = {}
    for word, vector in zip(words, encoder.encode_queries(words), strict=True):
        for dimension in np.asarray(vector.indices).tolist():
            given.setdefault(dimension, word)
    return [given.get(dimension, name) for dimension, name in zip(dimensions, names, strict=True)]
