"""Haystack's own contract for document stores, sync and async."""

import pytest

pytest.importorskip("haystack", reason="needs the extra 'haystack'")

from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing import document_store as contract
from haystack.testing import document_store_async as contract_async

from hybrid_search.integrations.haystack import HybridSearchDocumentStore


@pytest.fixture
def document_store(settings, making):
    store = HybridSearchDocumentStore("contract", settings=settings, **making)
    yield store
    store.close()


class TestContract(
    contract.DocumentStoreBaseExtendedTests,
    contract.CountDocumentsByFilterTest,
    contract.CountUniqueMetadataByFilterTest,
    contract.GetMetadataFieldsInfoTest,
    contract.GetMetadataFieldMinMaxTest,
    contract.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, settings, making):
        store = HybridSearchDocumentStore("contract", settings=settings, **making)
        yield store
        store.close()

    @staticmethod
    def assert_documents_are_equal(received, expected):
        """The store has an order of its own."""
        assert sorted(received, key=lambda d: d.id) == sorted(expected, key=lambda d: d.id)

    def test_write_documents(self, document_store):
        """Without a policy an id that is there is refused."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


class TestAsyncContract(
    contract_async.CountDocumentsAsyncTest,
    contract_async.CountDocumentsByFilterAsyncTest,
    contract_async.CountUniqueMetadataByFilterAsyncTest,
    contract_async.DeleteAllAsyncTest,
    contract_async.DeleteByFilterAsyncTest,
    contract_async.DeleteDocumentsAsyncTest,
    contract_async.FilterDocumentsAsyncTest,
    contract_async.GetMetadataFieldMinMaxAsyncTest,
    contract_async.GetMetadataFieldUniqueValuesAsyncTest,
    contract_async.GetMetadataFieldsInfoAsyncTest,
    contract_async.UpdateByFilterAsyncTest,
    contract_async.WriteDocumentsAsyncTest,
):
    assert_documents_are_equal = staticmethod(TestContract.assert_documents_are_equal)

    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store):
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


def test_every_class_of_the_contract_is_among_them():
    asked = {
        name: test
        for module in (contract, contract_async)
        for name, test in vars(module).items()
        if isinstance(test, type) and name.endswith("Test")
    }
    for name, test in asked.items():
        assert issubclass(TestContract, test) or issubclass(TestAsyncContract, test), name
