"""LangChain: a retriever, a vector store and a document compressor over collections of this library.

    from hybrid_search.integrations.langchain import HybridSearchRetriever

    retriever = HybridSearchRetriever(collection="movies", k=5, where="year >= 1980")
    retriever.invoke("a film about music")

Needs the extra `langchain` (langchain-core). Everything that can be asked of a search is a field or a keyword, under
the names of `Searcher.search`; the models are those of the collection, the place is the settings', and nothing is
configured again.
"""

from hybrid_search._util.extras import importing_extra

with importing_extra("langchain", "hybrid_search.integrations.langchain"):
    import langchain_core  # noqa: F401

from hybrid_search.integrations.langchain.compressor import CrossEncoderCompressor
from hybrid_search.integrations.langchain.retriever import HybridSearchRetriever
from hybrid_search.integrations.langchain.store import HybridSearchEmbeddings, HybridSearchVectorStore

__all__ = ["CrossEncoderCompressor", "HybridSearchEmbeddings", "HybridSearchRetriever", "HybridSearchVectorStore"]
