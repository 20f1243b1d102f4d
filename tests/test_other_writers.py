"""Collections that others wrote, read by us, and ours read by others: langchain-qdrant, LlamaIndex, Haystack and
mcp-server-qdrant, as they are installed, over one small server. All have the fake models, so results can be compared.
"""

import asyncio
import threading

import pytest
from qdrant_client import QdrantClient  # noqa: TID253

from hybrid_search import Indexer, Searcher, adopt
from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.store import open_store
from tests.fake_models import DIM, FAKE_CARDS, FakeDense, FakeSparse
from tests.qdrant_over_http import QdrantOverHttp

TEXTS = {
    "crew": "A crew of sailors is lost at sea in a long storm.",
    "island": "An island, and one man who lives on it alone for years.",
    "band": "A band tours America and their amplifier goes to eleven.",
    "war": "Two brothers fight in a war and only one comes home.",
    "whale": "A captain hunts a white whale across the sea until the end.",
    "music": "A teacher of music and the choir of a small school.",
}
YEARS = {"crew": 1997, "island": 2000, "band": 1984, "war": 1957, "whale": 1956, "music": 2004}
QUERIES = ("lost at sea", "music of a band", "the war of two brothers")
CARDS = {card.name: card for card in FAKE_CARDS}

pytestmark = pytest.mark.usefixtures("fakes")


def dense():
    return FakeDense(CARDS["fake/dense"])


def sparse():
    return FakeSparse(CARDS["fake/sparse"])


def lists(vectors):
    """Of sparse vectors the indices and the values, as LlamaIndex wants them."""
    return [v.indices.tolist() for v in vectors], [v.values.tolist() for v in vectors]


@pytest.fixture
def url():
    with QdrantOverHttp() as server:
        yield server.url
        for thread in threading.enumerate():  # the clients' own, which ask for the server's version
            if "_check_compatibility" in thread.name:
                thread.join()


@pytest.fixture
def client(url):
    client = QdrantClient(url)
    yield client
    client.close()


@pytest.fixture
def store(url):
    store = open_store(url)
    yield store
    store.close()


# ---------------------------------------------------------------- the four


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


@pytest.fixture(params=[LangChain, LlamaIndex, Haystack, Mcp], ids=lambda kind: kind.name)
def other(request, url, client):
    return request.param(url, client)


def same(hits, theirs):
    """The same texts in the same order, ties apart, with the same scores where they tell theirs."""
    assert {hit.passages[0].text for hit in hits} == {text for text, *_ in theirs}
    if theirs[0][2] is None:
        assert [hit.passages[0].text for hit in hits] == [text for text, *_ in theirs]
    else:
        assert [hit.score for hit in hits] == pytest.approx([score for *_, score in theirs], abs=1e-5)
        scores = {text: score for text, _, score in theirs}
        assert {hit.passages[0].text: hit.score for hit in hits} == pytest.approx(scores, abs=1e-5)


# ---------------------------------------------------------------- theirs, read by us


def brought_in(other, store, settings, legs):
    other.write("theirs", legs)
    models = {leg: f"fake/{leg}" for leg in legs}
    return adopt("theirs", **models, store=store, settings=settings)


@pytest.mark.parametrize("both", [True, False], ids=["both", "dense-only"])
def test_what_they_wrote_is_found_as_they_find_it(other, store, settings, both):
    legs = other.legs if both else ("dense",)
    found = brought_in(other, store, settings, legs)
    assert found.layout.name == other.name
    assert found.points == len(TEXTS)
    assert set(found.agreement) == set(legs)
    assert min(found.agreement.values()) > 0.999
    searcher = Searcher.open("theirs", store=store, settings=settings)
    for leg in legs:
        for query in QUERIES:
            same(searcher.search(query, mode=leg).hits, other.search("theirs", query, leg, 10, both))
    whole = searcher.search("lost at sea", k=len(TEXTS), explain=True)
    assert {hit.passages[0].text for hit in whole} == set(TEXTS.values())
    by_name = {hit.metadata.get("name"): hit for hit in whole}
    assert by_name["crew"].metadata["year"] == 1997
    assert "lost" in {word for span in [by_name["crew"].passages[0]] for word in span.text.split()}
    assert by_name["crew"].passages[0].highlight is not None
    if "sparse" in legs:
        assert by_name["crew"].matched_terms
    searcher.close()


def test_documents_titles_and_places_are_theirs(other, store, settings):
    brought_in(other, store, settings, other.legs)
    searcher = Searcher.open("theirs", store=store, settings=settings)
    hits = {hit.metadata.get("name"): hit for hit in searcher.search("a", k=len(TEXTS), mode="dense")}
    crew = hits["crew"]
    starts = {"llamaindex": 10, "haystack": 10}
    assert crew.passages[0].start == starts.get(other.name, 0)
    assert crew.passages[0].end == crew.passages[0].start + len(TEXTS["crew"])
    assert crew.origin == {"langchain": "crew.txt", "llamaindex": "crew.txt"}.get(other.name, "")
    if other.name in ("llamaindex", "haystack"):
        assert crew.doc_id == {"llamaindex": "crew", "haystack": "book-crew"}[other.name]
    assert store.info("theirs").documents == len(TEXTS)
    reader = store.reader("theirs")
    assert sorted(reader.doc_ids()) == sorted(hit.doc_id for hit in hits.values())
    # A chunk is known by its number, too, and says how many there are.
    assert reader.payloads([f"{crew.doc_id}#0", "nobody#0", "nobody#7"])[f"{crew.doc_id}#0"]["text"] == TEXTS["crew"]
    why = searcher.why("lost at sea", crew.doc_id)
    assert why.verdict == "shown"
    assert why.chunks == 1
    searcher.close()


FILTERS = [
    ("year >= 2000", {"island", "music"}),
    ("metadata.year < 1957", {"whale"}),
    ("name in ('band', 'war') and not year = 1984", {"war"}),
    ("name != 'war' and exists(year)", {"crew", "island", "band", "whale", "music"}),
    ("text ~ 'sea'", {"crew", "whale"}),
    ("text ^= 'A c' and year > 1960", {"crew"}),
]


def test_filters_mean_the_same_there(other, store, settings):
    brought_in(other, store, settings, other.legs)
    searcher = Searcher.open("theirs", store=store, settings=settings)
    lacking = {"music"} if other.name == "mcp" else set()  # one entry was stored without metadata
    for where, names in FILTERS:
        hits = searcher.search("sea", where=where, mode="dense")
        assert {hit.metadata.get("name", "music") for hit in hits} - lacking == names - lacking, where
    with pytest.raises(InvalidArgument, match="no document has a field yaer"):
        searcher.search("sea", where="yaer = 1")
    searcher.close()


def test_what_they_wrote_is_not_written_to(other, store, settings):
    brought_in(other, store, settings, ("dense",))
    assert store.names() == ["theirs"]
    for use in (
        lambda: Indexer.open("theirs", store=store, settings=settings).index([{"_id": "x", "text": "y"}]),
        lambda: Indexer.open("theirs", store=store, settings=settings).index([{"_id": "x", "text": "y"}], dry_run=True),
        lambda: store.writer("theirs", store.manifest("theirs")),
        lambda: store.delete("theirs"),
    ):
        with pytest.raises(StoreError, match=f"was adopted: {other.name} writes it"):
            use()
    assert store.info("theirs").points == len(TEXTS)


# ---------------------------------------------------------------- ours, read by them


def test_they_open_and_search_what_we_wrote(other, store, settings):
    documents = [{"_id": key, "text": text, "name": key, "year": YEARS[key]} for key, text in TEXTS.items()]
    models = {"sparse": "fake/sparse", "dense": "fake/dense"}
    Indexer.open("ours", store=store, settings=settings, layout=other.name, **models).index(documents)
    searcher = Searcher.open("ours", store=store, settings=settings)
    assert searcher.manifest.layout == other.name
    for leg in other.legs:
        for query in QUERIES:
            hits, theirs = searcher.search(query, mode=leg).hits, other.search("ours", query, leg, 10)
            same(hits, theirs)
            told = {text: {name: metadata[name] for name in ("name", "year")} for text, metadata, _ in theirs}
            assert told == {hit.passages[0].text: hit.metadata for hit in hits}
    hybrid = searcher.search("lost at sea", explain=True, where="year > 1990")
    assert {hit.doc_id for hit in hybrid} <= {"crew", "island", "music"}
    searcher.close()
    again = Indexer.open("ours", store=store, settings=settings).index(documents)
    assert (again.documents, again.unchanged) == (0, len(TEXTS))
