"""A folder of queries and pooled documents to judge: made once, gone on with in each sitting, and a BEIR folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from hybrid_search._util import atomic_write
from hybrid_search.collection.documents import fetch_document
from hybrid_search.corpus.trec_sgml import read_topics
from hybrid_search.errors import DocumentNotFound, EvaluationError
from hybrid_search.evaluation.judgements import Judgements
from hybrid_search.evaluation.pool import pool
from hybrid_search.protocols import Store
from hybrid_search.search.trace import VERSION
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document, Query

POOL = "pool.json"
"""The file that says what is judged: the collection, its models, and the documents of each query."""


class Sitting(NamedTuple):
    """What there is to judge.

    Args:
        folder: where it lies.
        collection: the documents' own.
        queries: in order.
        pools: query_id -> ids of its documents, shuffled.
    """

    folder: Path
    collection: str
    queries: tuple[Query, ...]
    pools: Mapping[str, tuple[str, ...]]

    def left(self, judgements: Judgements) -> Iterator[tuple[Query, str]]:
        """Yield each query with a document of it that nobody has judged."""
        for query in self.queries:
            judged = judgements.of(query.query_id)
            yield from ((query, doc_id) for doc_id in self.pools[query.query_id] if doc_id not in judged)


class LogQueries(NamedTuple):
    """The queries of a log of searches.

    Args:
        queries: distinct ones, the most frequent first.
        others: how many searches were of other collections, by collection.
        damaged: numbers of lines that are no trace of a search.
        textless: searches by weights of terms alone.
    """

    queries: tuple[Query, ...]
    others: Mapping[str, int]
    damaged: tuple[int, ...]
    textless: int


def queries_of_lines(lines: Sequence[str]) -> tuple[Query, ...]:
    """Return a query for each line that is not empty, each text once, numbered `q1`, `q2` and so on."""
    texts = dict.fromkeys(line.strip() for line in lines if line.strip())
    return tuple(Query(f"q{number}", text) for number, text in enumerate(texts, 1))


def read_query_file(path: Path) -> tuple[Query, ...]:
    """Read queries: one a line as text; or with ids, as JSON Lines, `id<TAB>text`, or TREC topics.

    Raises:
        EvaluationError: the file cannot be read, or has no query.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}.") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if text.lstrip()[:1] in ("{", "<") or (lines and all("\t" in line for line in lines)):
        return tuple(read_topics(path))
    if not lines:
        raise EvaluationError(f"{path} holds no query: one a line.")
    return queries_of_lines(lines)


def read_log(path: Path, collection: str, most: int | None = None) -> LogQueries:
    """Read the queries of a log of searches that were of a collection.

    Args:
        path: of the log, as `search --log` writes it.
        collection: the one that counts.
        most: queries at most; None for all.

    Raises:
        EvaluationError: the file cannot be read, or has no search of this collection.
    """
    counted: Counter[str] = Counter()
    others: Counter[str] = Counter()
    damaged, textless = [], 0
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        kept = _trace(line)
        if kept is None:
            damaged.append(number)
        elif kept["collection"] != collection:
            others[kept["collection"]] += 1
        elif not kept["query"].strip() or "vector" in kept:
            textless += 1
        else:
            counted[kept["query"].strip()] += 1
    texts = [text for text, _ in counted.most_common(most)]
    found = LogQueries(queries_of_lines(texts), others, tuple(damaged), textless)
    if not texts:
        raise EvaluationError(f"{path} has no search of {collection!r} with a text. {' '.join(log_remarks(found))}")
    return found


def log_remarks(found: LogQueries) -> Iterator[str]:
    """Say in sentences what of a log was passed over."""
    for name, count in found.others.items():
        yield f"{count:,} searches were of {name!r}."
    if found.textless:
        yield f"{found.textless:,} searches gave the weights of terms instead of a text."
    if found.damaged:
        some = ", ".join(map(str, found.damaged[:10]))
        more = f" and {len(found.damaged) - 10:,} more" if len(found.damaged) > 10 else ""
        yield f"Lines that are no trace of a search were passed over: {some}{more}."


def begin(folder: Path, searcher: Searcher, store: Store, queries: Sequence[Query], depth: int) -> Sitting:
    """Draw the pool of each query from every leg, and write the folder.

    Args:
        folder: new, or empty.
        searcher: of the collection.
        store: of the collection.
        queries: to judge.
        depth: documents that each leg puts into a pool.

    Raises:
        EvaluationError: an id cannot stand in a file of judgements.
    """
    pools: dict[str, tuple[str, ...]] = {}
    for query in queries:
        legs = searcher.manifest.fused()
        rankings = [[hit.doc_id for hit in searcher.search(query.text, mode=leg, k=depth)] for leg in legs]
        pools[query.query_id] = tuple(pool(query.text, rankings, depth))
    for text in (*pools, *(doc_id for ids in pools.values() for doc_id in ids)):
        if any(sign in text for sign in "\t\r\n"):
            raise EvaluationError(f"The id {text!r} holds a tab or a line break, which a file of judgements cannot.")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"_id": query.query_id, "text": query.text} for query in queries]
    atomic_write(folder / "queries.jsonl", _lines(rows))
    with closing(store.reader(searcher.collection)) as reader:
        wanted = dict.fromkeys(doc_id for ids in pools.values() for doc_id in ids)
        documents = (fetch_document(reader, doc_id, searcher.collection) for doc_id in wanted)
        atomic_write(folder / "corpus.jsonl", _lines(map(_row, documents)))
    kept = {"collection": searcher.collection, "depth": depth, "pools": pools}
    atomic_write(folder / POOL, json.dumps(kept, ensure_ascii=False, indent=1).encode())
    return Sitting(folder, searcher.collection, tuple(queries), pools)


def resume(folder: Path, collection: str, queries: Sequence[Query]) -> Sitting | None:
    """Return what a folder has to judge; None where it has none yet.

    Args:
        folder: of an earlier sitting.
        collection: that is judged now.
        queries: those given now; none to go on with the folder's own.

    Raises:
        EvaluationError: it is of another collection or of other queries, or holds something else.
    """
    if not (folder / POOL).is_file():
        if (folder / "queries.jsonl").exists() or (folder / "corpus.jsonl").exists():
            raise EvaluationError(
                f"{folder} holds a dataset that was not begun here. Name another folder: --out FOLDER"
            )
        return None
    try:
        kept = json.loads((folder / POOL).read_text(encoding="utf-8"))
        pools = {name: tuple(ids) for name, ids in kept["pools"].items()}
        own = tuple(read_topics(folder / "queries.jsonl"))
        if set(pools) != {query.query_id for query in own}:
            raise ValueError("its queries and its pools differ")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{folder / POOL} is damaged: {error}. Begin in another folder: --out FOLDER") from error
    if kept["collection"] != collection:
        raise EvaluationError(f"{folder} judges {kept['collection']!r}, not {collection!r}. Take another: --out FOLDER")
    if queries and {query.text for query in queries} != {query.text for query in own}:
        raise EvaluationError(f"{folder} judges other queries. Name another folder for these: --out FOLDER")
    return Sitting(folder, collection, own, pools)


def shown_document(sitting: Sitting, doc_id: str, store: Store) -> Document | None:
    """Return a document that is to be judged; None where the collection does not have it any more."""
    with closing(store.reader(sitting.collection)) as reader:
        try:
            return fetch_document(reader, doc_id, sitting.collection)
        except DocumentNotFound:
            return None


def _trace(line: bytes) -> dict[str, str] | None:
    try:
        kept = json.loads(line)
        known = isinstance(kept, dict) and kept.get("version") == VERSION
    except ValueError:
        return None
    texts = known and isinstance(kept.get("query"), str) and isinstance(kept.get("collection"), str)
    return kept if texts else None


def _row(document: Document) -> dict[str, str]:
    return {"_id": document.doc_id, "title": document.title or "", "text": document.text}


def _lines(rows: Iterable[Mapping[str, str]]) -> Iterator[bytes]:
    return (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
