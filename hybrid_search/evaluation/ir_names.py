"""Datasets that ir_datasets knows by name. It fetches what it lacks, and keeps it in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hybrid_search._util.extras import importing_extra
from hybrid_search.corpus.trec import Qrel
from hybrid_search.errors import EvaluationError
from hybrid_search.types import Document, Query


def load(name: str) -> Any:
    """Return the dataset of a name; nothing is fetched.

    Raises:
        EvaluationError: there is no folder and no dataset of this name, or it lacks documents, queries or qrels.
        MissingExtra: ir_datasets is not installed.
    """
    with importing_extra("datasets", f"{name!r} is no folder; a dataset by its name"):
        import ir_datasets
    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise EvaluationError(
            f"{name} is neither a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv) nor a name that "
            "ir_datasets knows: https://ir-datasets.com"
        ) from None
    lacking = [part for part in ("docs", "queries", "qrels") if not getattr(dataset, f"has_{part}")()]
    if lacking:
        raise EvaluationError(
            f"{name} has no {' and no '.join(lacking)} in ir_datasets. Name a part with judgements, such as "
            f"{name}/test."
        )
    return dataset


def size(dataset: Any) -> str:
    """Return how many documents a dataset has, where ir_datasets knows it without fetching."""
    told = dataset.metadata().get("docs", {}).get("count")
    return f"{told:,} documents" if isinstance(told, int) else "a number of documents that it does not know"


def documents(dataset: Any, name: str) -> Iterator[Document]:
    """Yield the documents; title and text stand apart where the dataset has both."""
    for row in _rows(dataset.docs_iter, name):
        title = getattr(row, "title", "") or ""
        text = getattr(row, "text", None) if title else None
        yield Document(row.doc_id, text, title) if text is not None else Document(row.doc_id, row.default_text())


def queries(dataset: Any, name: str) -> list[Query]:
    """Return the queries by the text that ir_datasets takes for them."""
    return [Query(row.query_id, row.default_text().strip()) for row in _rows(dataset.queries_iter, name)]


def qrels(dataset: Any, name: str) -> list[Qrel]:
    """Return the judgements."""
    return [Qrel(row.query_id, row.doc_id, int(row.relevance)) for row in _rows(dataset.qrels_iter, name)]


def _rows(iterate: Any, name: str) -> Iterator[Any]:
    """Yield rows.

    Raises:
        EvaluationError: they cannot be fetched or read. The library raises errors of many kinds there.
    """
    try:
        yield from iterate()
    except Exception as error:
        raise EvaluationError(
            f"ir_datasets cannot fetch or read {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}. "
            "Is there a network? What was fetched before lies in its folder, IR_DATASETS_HOME or ~/.ir_datasets."
        ) from error
