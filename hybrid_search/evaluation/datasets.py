"""Finds the dataset that is meant: a BEIR folder, a name that ir_datasets knows, or files of TREC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypedDict

from hybrid_search._util import atomic_write
from hybrid_search.corpus.readers import read_all
from hybrid_search.corpus.trec import Dataset, Qrel, read_beir, read_qrels, select_judged
from hybrid_search.corpus.trec_sgml import are_trec_documents, read_topics, read_trec_documents
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation import ir_names
from hybrid_search.evaluation.cached_collections import corpora_of
from hybrid_search.settings import Settings
from hybrid_search.types import Document, Failure, PassedOver

TEST = "test"


class Parts(TypedDict, total=False):
    """The arguments of `read_dataset` that say which part of a dataset, or which files it is."""

    split: str | None
    topics: str | Path | None
    qrels: str | Path | None
    documents: str | Path | None


def read_dataset(
    source: str | Path | None,
    *,
    settings: Settings | None = None,
    split: str | None = None,
    topics: str | Path | None = None,
    qrels: str | Path | None = None,
    documents: str | Path | None = None,
) -> tuple[Dataset, str]:
    """Read the queries and judgements of a dataset, and find its documents.

    Args:
        source: a BEIR folder, or a name that ir_datasets knows, such as `beir/scifact/test`. None for files of TREC.
        settings: name the cache folder, in which documents of another form are written as a corpus.jsonl.
        split: the qrels of a BEIR folder, `test` by default; behind a name of ir_datasets it is the last part.
        topics: TREC topics, lines of `id<TAB>text`, or JSON Lines.
        qrels: TREC judgements.
        documents: a file or folder with `<DOC>` as TREC has it, or anything that can be indexed. Without them the
            dataset has no corpus, and a collection has to be there.

    Returns:
        The dataset, and its name, which can stand in the name of a file.

    Raises:
        EvaluationError: something is missing or broken; the message names file and line.
        InvalidArgument: the arguments do not go together.
        MissingExtra: a name is given and ir_datasets is not installed.
    """
    settings = settings or Settings()
    if source is None or topics or qrels or documents:
        return _of_files(source, settings, split, topics, qrels, documents)
    folder = Path(source)
    if folder.exists() or not _is_name(str(source)):
        name = folder.resolve().name
        return _noted(read_beir(folder, split or TEST)), f"{name}-{split}" if split not in (None, TEST) else name
    name = f"{source}/{split}" if split else str(source)
    dataset = ir_names.load(name)
    rows = ir_names.qrels(dataset, name)
    found = select_judged(ir_names.queries(dataset, name), rows, f"{name} (qrels)", f"{name} (queries)")
    folder = corpora_of(settings) / name.replace("/", "-")
    if not (folder / "corpus.jsonl").is_file():
        _write(folder, ir_names.documents(dataset, name), name)
    return _noted(found._replace(corpus=folder / "corpus.jsonl")), name.replace("/", "-")


def before_fetching(source: str | Path | None, split: str | None = None) -> str:
    """Return what to say before ir_datasets may fetch a dataset; nothing of a folder."""
    if source is None or Path(source).exists() or not _is_name(str(source)):
        return ""
    name = f"{source}/{split}" if split else str(source)
    return f"{name} is a dataset of ir_datasets, with {ir_names.size(ir_names.load(name))}. It fetches what it lacks."


def _is_name(source: str) -> bool:
    """Say whether ir_datasets may know it: parts of letters, digits and signs within a word."""
    return all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in source.split("/"))


def _of_files(
    source: str | Path | None,
    settings: Settings,
    split: str | None,
    topics: str | Path | None,
    qrels: str | Path | None,
    documents: str | Path | None,
) -> tuple[Dataset, str]:
    if source is not None or split is not None:
        raise InvalidArgument("Give either a DATASET, with its split, or --topics and --qrels, not both.")
    if topics is None or qrels is None:
        raise InvalidArgument("Name a DATASET, or both --topics FILE and --qrels FILE.")
    found = select_judged(read_topics(topics), read_qrels(qrels), qrels, topics)
    name = Path(qrels).name.removesuffix(".gz").rsplit(".", 1)[0]
    if documents is None:
        return _noted(found), name
    path = Path(documents).resolve()
    if not path.exists():
        raise EvaluationError(f"{documents} does not exist: a file or folder of documents is needed")
    folder = (
        corpora_of(settings) / hashlib.blake2b(str(path).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    )
    notes: list[str] = []
    is_trec = are_trec_documents(path)
    _write(folder, read_trec_documents(path) if is_trec else _readable(path, notes), str(documents))
    return _noted(found._replace(corpus=folder / "corpus.jsonl", notes=tuple(notes))), name


def _readable(path: Path, notes: list[str]) -> Iterator[Document]:
    """Yield the documents of files that can be indexed; behind them, note what was passed over."""
    passed: dict[str, int] = {}
    for item in read_all([path]):
        if isinstance(item, Document):
            yield item
        elif isinstance(item, Failure):
            raise EvaluationError(f"{item.origin}: {item.reason}")
        elif isinstance(item, PassedOver):
            passed[item.kind] = passed.get(item.kind, 0) + item.count
    if passed:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in passed.items())
        notes.append(f"Of {path} there was passed over: {kinds}.")


def _write(folder: Path, documents: Iterable[Document], source: str) -> None:
    """Write a corpus.jsonl, whole or not at all."""
    first = next(documents := iter(documents), None)
    if first is None:
        raise EvaluationError(f"{source} holds no document")
    folder.mkdir(parents=True, exist_ok=True)
    rows = ({"_id": d.doc_id, "title": d.title, "text": d.text} for d in chain([first], documents))
    atomic_write(folder / "corpus.jsonl", (json.dumps(row).encode() + b"\n" for row in rows))


def _noted(data: Dataset) -> Dataset:
    """Add what is odd in the judgements."""
    negative: list[Qrel] = [qrel for qrel in data.qrels if qrel.relevance < 0]
    if not negative:
        return data
    first = negative[0]
    note = (
        f"{len(negative):,} judgements have a grade below 0, first {first.relevance} of {first.doc_id!r} for query "
        f"{first.query_id!r}. They count as not relevant, as in trec_eval."
    )
    return data._replace(notes=(*data.notes, note))
