"""LlamaIndex: a retriever, a re-ranker for nodes, and a vector store that encodes texts by itself.

    from hybrid_search.integrations.llamaindex import HybridSearchRetriever, HybridSearchVectorStore

    store = HybridSearchVectorStore("notes")
    store.add([TextNode(text="...")])
    HybridSearchRetriever(store).retrieve("what did we decide?")

No embedding model is needed. Only a `VectorStoreIndex` asks for one whatever its store does, and embeds each node that
is added through it: give it `embed_model=MockEmbedding(1)`.
"""

from hybrid_search._util.extras import importing_extra

with importing_extra("llamaindex", "hybrid_search.integrations.llamaindex"):
    import llama_index.core  # noqa: F401

from hybrid_search.integrations.llamaindex.rerank import HybridSearchRerank
from hybrid_search.integrations.llamaindex.retriever import HybridSearchRetriever
from hybrid_search.integrations.llamaindex.store import HybridSearchVectorStore

__all__ = ["HybridSearchRerank", "HybridSearchRetriever", "HybridSearchVectorStore"]
