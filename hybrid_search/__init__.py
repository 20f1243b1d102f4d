"""Hybrid search that shows its evidence: SPLADE++ and dense vectors in Qdrant, fused with reciprocal rank fusion.

    from hybrid_search import Indexer, Searcher

    Indexer.open("movies").index("datasets/movies")
    for hit in Searcher.open("movies").search("a film about music", k=5):
        print(hit.rank, hit.title, hit.legs["sparse"], hit.legs["dense"])

The names below are resolved when first used, so `import hybrid_search` loads no model library and no engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_search.collection.adopt import Adoption, adopt
    from hybrid_search.collection.legs import drop_leg, promote_leg, swap_legs
    from hybrid_search.errors import HybridSearchError
    from hybrid_search.indexer import Indexer
    from hybrid_search.indexing.add_leg import add_leg
    from hybrid_search.indexing.deletion import delete_documents
    from hybrid_search.indexing.progress import IndexReport
    from hybrid_search.indexing.watch import watch
    from hybrid_search.interop.encodings import load_encodings, save_encodings
    from hybrid_search.interop.move import move
    from hybrid_search.interop.snapshot import restore_snapshot, save_snapshot
    from hybrid_search.manifest import Sparsity
    from hybrid_search.results import DocumentHit, Results
    from hybrid_search.search.weighted_query import WeightedQuery
    from hybrid_search.searcher import Searcher
    from hybrid_search.types import Document, Failure, LegHit, SparseVector

__version__ = "0.1.0"

_HOME = {
    "Adoption": "collection.adopt",
    "Document": "types",
    "DocumentHit": "results",
    "Failure": "types",
    "HybridSearchError": "errors",
    "IndexReport": "indexing.progress",
    "Indexer": "indexer",
    "LegHit": "types",
    "Results": "results",
    "Searcher": "searcher",
    "SparseVector": "types",
    "Sparsity": "manifest",
    "WeightedQuery": "search.weighted_query",
    "add_leg": "indexing.add_leg",
    "adopt": "collection.adopt",
    "delete_documents": "indexing.deletion",
    "drop_leg": "collection.legs",
    "load_encodings": "interop.encodings",
    "move": "interop.move",
    "promote_leg": "collection.legs",
    "restore_snapshot": "interop.snapshot",
    "save_encodings": "interop.encodings",
    "save_snapshot": "interop.snapshot",
    "swap_legs": "collection.legs",
    "watch": "indexing.watch",
}

_DEPRECATED = {"follow": "watch", "join_leg": "promote_leg", "remove_documents": "delete_documents"}
"""Earlier names and their replacements, kept for one release."""

__all__ = [
    "Adoption",
    "Document",
    "DocumentHit",
    "Failure",
    "HybridSearchError",
    "IndexReport",
    "Indexer",
    "LegHit",
    "Results",
    "Searcher",
    "SparseVector",
    "Sparsity",
    "WeightedQuery",
    "add_leg",
    "adopt",
    "delete_documents",
    "drop_leg",
    "load_encodings",
    "move",
    "promote_leg",
    "restore_snapshot",
    "save_encodings",
    "save_snapshot",
    "swap_legs",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in _DEPRECATED:
        import warnings

        new = _DEPRECATED[name]
        warnings.warn(f"hybrid_search.{name} is called {new} now.", DeprecationWarning, stacklevel=2)
        name = new
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
