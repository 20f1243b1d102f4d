"""Haystack 3: a document store that searches by itself, and a retriever that takes the query's text.

    from hybrid_search.integrations.haystack import HybridSearchDocumentStore, HybridSearchRetriever

    store = HybridSearchDocumentStore("notes")
    store.write_documents([Document(content="...")])
    HybridSearchRetriever(store).run("what did we decide?")["documents"]

No embedder is needed: the collection encodes texts and queries itself.
"""

from hybrid_search._util.extras import importing_extra

with importing_extra("haystack", "hybrid_search.integrations.haystack"):
    import haystack  # noqa: F401

from hybrid_search.integrations.haystack.retriever import HybridSearchRetriever
from hybrid_search.integrations.haystack.store import HybridSearchDocumentStore

__all__ = ["HybridSearchDocumentStore", "HybridSearchRetriever"]
