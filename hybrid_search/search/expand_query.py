"""What a learned sparse model makes of a query, without a search."""

from __future__ import annotations

from hybrid_search._util.arguments import text
from hybrid_search.encoders.hub import has_files
from hybrid_search.errors import InvalidArgument
from hybrid_search.protocols import Encoder, SparseEncoder
from hybrid_search.results import Expansion
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import check_queries
from hybrid_search.search.retrieval import query_terms, read
from hybrid_search.types import LegName


def expand_query(query: str, leg: LegName, opened: OpenCollection) -> Expansion:
    """Return what the model of a leg makes of a query, heaviest term first.

    Raises:
        InvalidArgument: an empty query, a leg the collection lacks, or one whose vectors are not words.
    """
    check_queries([query])
    encoder = opened.encoders.get(text("leg", leg))
    if encoder is None or not _learned(encoder):
        reason = "has no such leg" if encoder is None else f"has {encoder.card.name} there, which does not expand"
        raise InvalidArgument(
            f"Collection {opened.collection!r} {reason}: {leg!r}. Name a leg with a learned sparse model."
        )
    vector = read([query], {leg: encoder})[0][leg][0]
    terms = () if vector is None else query_terms(query, encoder, vector)
    return Expansion(query, opened.collection, leg, opened.reader.manifest.legs[leg].model, terms)


def _learned(encoder: Encoder) -> bool:
    return isinstance(encoder, SparseEncoder) and has_files(encoder.card)
