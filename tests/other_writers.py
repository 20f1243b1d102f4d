"""The four integrations of Qdrant with which others write and read collections, as they are installed, under one face:
`write(name, legs)` writes `TEXTS`, `search(name, query, leg, k)` gives (text, metadata, score or None), best first.
"""

import asyncio

import pytest

from tests.fake_models import DIM, FAKE_CARDS, FakeDense, FakeSparse

TEXTS = {
    "crew": "A crew of sailors is lost at sea in a long storm.",
    "island": "An island, and one man who lives on it alone for years.",
    "band": "A band tours America and their amplifier goes to eleven.",
    "war": "Two brothers fight in a war and only one comes home.",
    "whale": "A captain hunts a white whale across the sea until the end.",
    "music": "A teacher of music and the choir of a small school.",
}
YEARS = {"crew": 1997, "island": 2000, "band": 1984, "war": 1957, "whale": 1956, "music": 2004}
CARDS = {card.name: card for card in FAKE_CARDS}


def dense():
    return FakeDense(CARDS["fake/dense"])


def sparse():
    return FakeSparse(CARDS["fake/sparse"])


def lists(vectors):
    """Of sparse vectors the indices and the values, as LlamaIndex wants them."""
    return [v.indices.tolist() for v in vectors], [v.values.tolist() for v in vectors]


class LangChain:
    """langchain-qdrant, with the names that it takes by itself."""

    name = "langchain"
    legs = ("dense", "sparse")

    def __init__(self, url, client):
        pytest.importorskip("langchain_qdrant", reason="needs langchain-qdrant")
        from langchain_core.embeddings import Embeddings
        from langchain_qdrant import SparseEmbeddings, SparseVector

        class Dense(Embeddings):
            def embed_documents(self, texts):
                return dense().encode_documents(texts).tolist()

            def embed_query(self, text):
                return self.embed_documents([text])[0]

        class Sparse(SparseEmbeddings):
            def embed_documents(self, texts):
                pairs = zip(*lists(sparse().encode_documents(texts)), strict=True)
                return [SparseVector(indices=indices, values=values) for indices, values in pairs]

            def embed_query(self, text):
                return self.embed_documents([text])[0]

        self.url, self.models = url, (Dense(), Sparse())

    def _options(self, leg):
        from langchain_qdrant import RetrievalMode

        mode = {"dense": RetrievalMode.DENSE, "sparse": RetrievalMode.SPARSE, "hybrid": RetrievalMode.HYBRID}[leg]
        return {
            "embedding": self.models[0],
            "sparse_embedding": self.models[1],
            "retrieval_mode": mode,
            "url": self.url,
        }

    def write(self, name, legs):
        from langchain_qdrant import QdrantVectorStore

        QdrantVectorStore.from_texts(
            list(TEXTS.values()),
            metadatas=[{"name": key, "year": YEARS[key], "source": f"{key}.txt"} for key in TEXTS],
            collection_name=name,
            **self._options("hybrid" if len(legs) == 2 else legs[0]),
        )

    def search(self, name, query, leg, k, both=True):
        from langchain_qdrant import QdrantVectorStore

        opened = QdrantVectorStore.from_existing_collection(name, **self._options(leg))
        found = opened.similarity_search_with_score(query, k)
        return [(one.page_content, one.metadata, score) for one, score in found]


class LlamaIndex:
    """LlamaIndex's QdrantVectorStore, with the names that it takes by itself."""

    name = "llamaindex"
    legs = ("dense", "sparse")

    def __init__(self, url, client):
        pytest.importorskip("llama_index.vector_stores.qdrant", reason="needs llama-index-vector-stores-qdrant")
        self.client = client

    def _opened(self, name, legs=("dense", "sparse")):
        from llama_index.vector_stores.qdrant import QdrantVectorStore

        hybrid = {
            "enable_hybrid": True,
            "sparse_doc_fn": lambda texts: lists(sparse().encode_documents(texts)),
            "sparse_query_fn": lambda texts: lists(sparse().encode_queries(texts)),
        }
        return QdrantVectorStore(name, client=self.client, **(hybrid if len(legs) == 2 else {}))

    def write(self, name, legs):
        from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode

        nodes = []
        for key, text in TEXTS.items():
            node = TextNode(
                text=text,
                metadata={"name": key, "year": YEARS[key], "file_path": f"{key}.txt"},
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=key)},
                excluded_embed_metadata_keys=["file_path"],
                start_char_idx=10,
                end_char_idx=10 + len(text),
            )
            # What LlamaIndex's pipelines encode has the metadata in front.
            [vector] = dense().encode_documents([node.get_content(MetadataMode.EMBED)])
            node.embedding = vector.tolist()
            nodes.append(node)
        self._opened(name, legs).add(nodes)

    def search(self, name, query, leg, k, both=True):
        from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

        mode = VectorStoreQueryMode.SPARSE if leg == "sparse" else VectorStoreQueryMode.DEFAULT
        [vector] = dense().encode_queries([query]).tolist()
        asked = VectorStoreQuery(query_embedding=vector, query_str=query, mode=mode, similarity_top_k=k, sparse_top_k=k)
        found = self._opened(name, ("dense", "sparse") if both else ("dense",)).query(asked)
        return [
            (node.get_content(), node.metadata, score)
            for node, score in zip(found.nodes, found.similarities, strict=True)
        ]


class Haystack:
    """qdrant-haystack, with the names that it knows alone."""

    name = "haystack"
    legs = ("dense", "sparse")

    def __init__(self, url, client):
        pytest.importorskip("haystack_integrations.document_stores.qdrant", reason="needs qdrant-haystack")
        self.url = url

    def _opened(self, name, legs=("dense", "sparse")):
        from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

        return QdrantDocumentStore(
            url=self.url, index=name, embedding_dim=DIM, use_sparse_embeddings=len(legs) == 2, progress_bar=False
        )

    def write(self, name, legs):
        from haystack import Document
        from haystack.dataclasses import SparseEmbedding

        texts = list(TEXTS.values())
        vectors, others = dense().encode_documents(texts).tolist(), lists(sparse().encode_documents(texts))
        documents = [
            Document(
                content=text,
                meta={"name": key, "year": YEARS[key], "source_id": f"book-{key}", "split_idx_start": 10},
                embedding=vector,
                sparse_embedding=SparseEmbedding(indices, values) if len(legs) == 2 else None,
            )
            for (key, text), vector, indices, values in zip(TEXTS.items(), vectors, *others, strict=True)
        ]
        opened = self._opened(name, legs)
        opened.write_documents(documents)
        opened.close()

    def search(self, name, query, leg, k, both=True):
        from haystack_integrations.components.retrievers.qdrant import (
            QdrantEmbeddingRetriever,
            QdrantSparseEmbeddingRetriever,
        )

        opened = self._opened(name, ("dense", "sparse") if both else ("dense",))
        if leg == "dense":
            [vector] = dense().encode_queries([query]).tolist()
            found = QdrantEmbeddingRetriever(opened, top_k=k).run(query_embedding=vector)
        else:
            from haystack.dataclasses import SparseEmbedding

            [(indices, values)] = zip(*lists(sparse().encode_queries([query])), strict=True)
            found = QdrantSparseEmbeddingRetriever(opened, top_k=k).run(SparseEmbedding(indices, values))
        opened.close()
        return [(one.content, one.meta, one.score) for one in found["documents"]]


class Mcp:
    """mcp-server-qdrant's connector, which the tools of its server call."""

    name = "mcp"
    legs = ("dense",)

    def __init__(self, url, client):
        pytest.importorskip("mcp_server_qdrant", reason="needs mcp-server-qdrant")
        from mcp_server_qdrant.embeddings.base import EmbeddingProvider

        class Provider(EmbeddingProvider):
            async def embed_documents(self, documents):
                return dense().encode_documents(documents).tolist()

            async def embed_query(self, query):
                return dense().encode_queries([query])[0].tolist()

            def get_vector_name(self):
                return "fast-dense"  # of fake/dense, as its FastEmbedProvider makes it

            def get_vector_size(self):
                return DIM

        self.url, self.provider = url, Provider()

    def _asked(self, name, ask):
        from mcp_server_qdrant.qdrant import QdrantConnector

        async def run():
            connector = QdrantConnector(self.url, None, name, self.provider)
            try:
                return await ask(connector)
            finally:
                await connector._client.close()

        return asyncio.run(run())

    def write(self, name, legs):
        from mcp_server_qdrant.qdrant import Entry

        async def store(connector):
            for key, text in TEXTS.items():
                metadata = {"name": key, "year": YEARS[key]} if key != "music" else None
                await connector.store(Entry(content=text, metadata=metadata))

        self._asked(name, store)

    def search(self, name, query, leg, k, both=True):
        found = self._asked(name, lambda connector: connector.search(query, limit=k))
        return [(entry.content, entry.metadata, None) for entry in found]
