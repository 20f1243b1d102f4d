"""LangChain's own suites for retrievers and vector stores, sync and async."""

import pytest

pytest.importorskip("langchain_core", reason="needs the langchain extra")
pytest.importorskip("langchain_tests", reason="needs langchain-tests")

from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from hybrid_search import Indexer
from hybrid_search.integrations.langchain import HybridSearchRetriever, HybridSearchVectorStore
from hybrid_search.store.server.store import ServerStore

# The mark is for the coroutines among the inherited tests; pytest-asyncio warns of every other one that has it.
pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore:The test .* is marked with")]

FAKES = {"sparse": "fake/both", "dense": "fake/both"}


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def films(self, settings, fakes):
        texts = ["a film about music", "a film about a band", "a war film", "a comedy", "a river"]
        Indexer.open("films", settings=settings, **FAKES).index(
            [{"id": f"f{place}", "text": text} for place, text in enumerate(texts)]
        )
        self.settings = settings

    @property
    def retriever_constructor(self):
        return HybridSearchRetriever

    @property
    def retriever_constructor_params(self):
        return {"collection": "films", "settings": self.settings}

    @property
    def retriever_query_example(self):
        return "film"


class TestVectorStore(VectorStoreIntegrationTests):
    """The suite's embeddings are not given: the models are the collection's own, and an embedding is refused."""

    @pytest.fixture
    def vectorstore(self, settings, fakes):
        return HybridSearchVectorStore("notes", settings=settings, **FAKES)


class TestVectorStoreOnAServer(VectorStoreIntegrationTests):
    """Through qdrant-client, in its local mode."""

    @pytest.fixture
    def vectorstore(self, settings, fakes):
        from qdrant_client import QdrantClient

        client = QdrantClient(":memory:")
        yield HybridSearchVectorStore("notes", store=ServerStore(client), settings=settings, **FAKES)
        client.close()
