"""Looks for the judged documents in a collection: judgements of what is not there count as never found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hybrid_search._util import batched
from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.trec import Dataset
from hybrid_search.errors import EvaluationError
from hybrid_search.evaluation.counted import counted
from hybrid_search.protocols import CollectionReader
from hybrid_search.types import chunk_id_of

_AT_ONCE = 256


def check_judged(reader: CollectionReader, data: Dataset, collection: str) -> Iterator[str]:
    """Yield a sentence about relevant documents that a collection lacks, if it lacks any.

    Raises:
        EvaluationError: it lacks all of them.
    """
    relevant = dict.fromkeys(nfc(qrel.doc_id) for qrel in data.qrels if qrel.relevance > 0)
    lost = missing(reader, relevant)
    qrels = "the dataset" if data.corpus is None else data.corpus.parent / "qrels"
    if lost and len(lost) == len(relevant):
        raise EvaluationError(
            f"None of the documents that {qrels} calls relevant is in the collection {collection!r}: it "
            f"lacks {counted(lost, 'document', 'documents', 3)}. Are the qrels, the documents and the collection of "
            "one dataset?"
        )
    if lost:
        yield (
            f"The collection lacks {counted(lost, 'relevant document', 'relevant documents', 3)} of "
            f"{len(relevant):,}; no mode can find what is not there."
        )


def missing(reader: CollectionReader, doc_ids: Iterable[str]) -> list[str]:
    """Return those ids that no document of a collection has.

    First chunks are looked up by their id. What is not found so is looked for among all documents, for collections of
    other programs have ids of their own.
    """
    lost: dict[str, None] = {}
    for some in batched(doc_ids, _AT_ONCE):
        there = reader.payloads([chunk_id_of(doc_id, 0) for doc_id in some])
        lost.update(dict.fromkeys(doc_id for doc_id in some if chunk_id_of(doc_id, 0) not in there))
    for doc_id in reader.doc_ids() if lost else ():
        lost.pop(nfc(doc_id), None)
    return list(lost)
