"""Reads sources of training data into one TrainingSet, checked, and split so that no held-out query is trained on.

A file's suffix says how its rows are written; the fields of a row say what it is (`records`).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hybrid_search.corpus.decoding import SAMPLE_BYTES, Undecodable, open_unpacked, sniff
from hybrid_search.corpus.fields import BadRecord
from hybrid_search.corpus.jsonl import json_records, jsonl_records
from hybrid_search.corpus.readers import read as read_documents
from hybrid_search.corpus.tabular import csv_records
from hybrid_search.corpus.trec import Dataset, read_beir
from hybrid_search.corpus.walk import BEIR_CORPUS, JSONL_SUFFIXES, STDIN, check_sources
from hybrid_search.errors import CorpusError, EvaluationError, InvalidArgument
from hybrid_search.training import holdout
from hybrid_search.training.examples import Example, TrainingSet, draw, normalize
from hybrid_search.training.holdout import Judged
from hybrid_search.training.records import GivenVector, is_index, kind_of, parse_cells, parse_row, vector_of
from hybrid_search.types import Chunk, Document, Failure, SparseVector

HELD_OUT = 0.2
HELD_OUT_DOCUMENTS = 2_000
JUDGED_NEGATIVES = 8
"""How many of the documents that a BEIR folder judges 0 for a query become negatives of each of its examples."""

_SPLITS = ("train", "dev", "test")
_SHOWN = 5
_FORMATS = ".jsonl, .ndjson, .json, .csv or .tsv, each also with .gz, or a BEIR folder"


def read(
    sources: Sequence[str | Path],
    *,
    held_out: float | str | Path = HELD_OUT,
    held_out_documents: int = HELD_OUT_DOCUMENTS,
    seed: int = 0,
    vocabulary: Mapping[str, int] | None = None,
    on_failure: Callable[[Failure], None] | None = None,
) -> TrainingSet:
    """Read everything a training needs, and hold queries out for evaluation.

    A BEIR folder gives an example for every document judged above 0, from its `train` split, else from `dev`, else from
    `test`. If it has `train` and `dev`, the queries of `dev` are held out, and a `test` split is not touched. If no
    source has held-out queries of its own, the seed draws some: the side of a query depends on its text, not on its id
    or row. No held-out query is trained on under any id, as an example or as a given vector; texts are compared in
    `normalize` form.

    Args:
        sources: files (their rows as in `records`) and BEIR folders.
        held_out: a fraction of the distinct queries (0 .. 0.5, but 5 .. 1,000 queries and at most half of them); a
            number of queries; 0 for none; or a BEIR folder whose `test` queries, else `dev` queries, are held out.
        held_out_documents: how many unjudged documents are ranked beside the judged ones, at most.
        seed: seed of the split and of the documents drawn.
        vocabulary: token -> dimension of the model to train; needed for vectors given by token. If all keys of a
            file are whole numbers, they are dimensions.
        on_failure: gets each unusable row, and the others go on; without it, one such row is an error.

    Raises:
        InvalidArgument: a value is invalid, or vectors are given by token without a vocabulary.
        CorpusError: a source is missing or unreadable, rows cannot be used (each named with file, line, field and what
            was expected), or nothing is left to train on.
    """
    paths = _check_sources(sources, held_out, held_out_documents)
    reading = _Reader(seed, vocabulary, on_failure, holdout.Pool(held_out_documents, seed))
    if isinstance(held_out, (str, Path)):
        reading.hold_out(Path(held_out))
    for number, path in enumerate(paths, 1):
        prefix = f"{number}/" if len(paths) > 1 else ""
        if path.is_dir():
            reading.folder(path, prefix, own_split=not isinstance(held_out, (str, Path)) and held_out > 0)
        else:
            reading.file(path)
    reading.complain()
    return reading.result(0.0 if isinstance(held_out, (str, Path)) else float(held_out))


class _Reader:
    """What has been read so far."""

    def __init__(
        self,
        seed: int,
        vocabulary: Mapping[str, int] | None,
        on_failure: Callable[[Failure], None] | None,
        pool: holdout.Pool,
    ) -> None:
        self._seed, self._vocabulary, self._on_failure, self._pool = seed, vocabulary, on_failure, pool
        self._size = max(vocabulary.values(), default=-1) + 1 if vocabulary else 0
        self._rows: list[Judged] = []
        self._held: list[Judged] = []
        self._pooling = True
        self._vectors: list[tuple[str, SparseVector]] = []
        self._hashes: dict[str, str] = {}
        self._unanswered = 0
        self._bad: list[Failure] = []
        self._bad_count = 0

    # ------------------------------------------------------------ files

    def file(self, path: Path) -> None:
        """Read every row of a file: examples, given vectors, or both."""
        vectors: list[tuple[str, GivenVector]] = []
        for found in self._file_rows(path):
            if isinstance(found, Failure):
                self._fail(found, of=path)
            elif isinstance(found[1], GivenVector):
                vectors.append((found[0], found[1]))
            else:
                self._rows.append(_judged(found[1]))
        self._add_vectors(path, vectors)

    def _file_rows(self, path: Path) -> Iterator[tuple[str, Example | GivenVector] | Failure]:
        self._hash(path)
        try:
            with open_unpacked(path) as stream:
                encoding = sniff(stream.read(SAMPLE_BYTES)).name
                stream.seek(0)
                for found in _records(stream, encoding, path):
                    yield found if isinstance(found, Failure) else _row(*found, path)
        except Undecodable as error:
            raise CorpusError(f"{path}: {error}") from None
        except (OSError, EOFError, zlib.error) as error:
            raise CorpusError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def _add_vectors(self, path: Path, given: list[tuple[str, GivenVector]]) -> None:
        by_index = all(is_index(key) for _, row in given for key in row.weights)
        if not by_index and self._vocabulary is None:
            raise InvalidArgument(
                f"{path} gives vectors by token, which need the vocabulary of the model to train. To learn from them, "
                "take --loss vectors; else leave the file out."
            )
        for where, row in given:
            try:
                vector = vector_of(row.weights, self._vocabulary, by_index=by_index, size=self._size)
            except BadRecord as error:
                self._fail(Failure(where, str(error)))
            else:
                self._vectors.append((row.text, vector))

    # ------------------------------------------------------------ BEIR folders

    def folder(self, path: Path, prefix: str, *, own_split: bool) -> None:
        """Read a BEIR folder's examples. With `own_split`, its dev queries are held out if it has train and dev."""
        there = [name for name in _SPLITS if (path / "qrels" / f"{name}.tsv").is_file()]
        names = there[: 2 if own_split and there[:2] == ["train", "dev"] else 1] or ["train"]
        judged = [_beir(path, name) for name in names]
        rows = self._judged(path, judged, names, prefix, pooling=self._pooling)
        self._rows += rows[0]
        self._held += [row for each in rows[1:] for row in each]

    def hold_out(self, path: Path) -> None:
        """Hold out the queries of this folder; its documents are what they are ranked among."""
        there = [name for name in ("test", "dev") if (path / "qrels" / f"{name}.tsv").is_file()]
        name = there[0] if there else "test"
        (self._held,) = self._judged(path, [_beir(path, name)], [name], "", pooling=True)
        if not self._held:
            raise CorpusError(f"{path / 'qrels' / name}.tsv judges no document above 0; it cannot be held out")
        self._pooling = False

    def _judged(
        self, path: Path, judged: Sequence[Dataset], names: Sequence[str], prefix: str, *, pooling: bool
    ) -> list[list[Judged]]:
        """Return the rows of each split, in one pass over the corpus; it keeps judged texts and the pool's."""
        for file in (path / BEIR_CORPUS, path / "queries.jsonl", *(path / "qrels" / f"{name}.tsv" for name in names)):
            self._hash(file)
        wanted = {qrel.doc_id for data in judged for qrel in data.qrels}
        texts: dict[str, str] = {}
        broken: list[Failure] = []
        for found in read_documents([path / BEIR_CORPUS]):
            if isinstance(found, Failure):
                broken.append(found)
                continue
            text = _searchable(found)
            if found.doc_id in wanted:
                texts[found.doc_id] = text
            if pooling:
                self._pool.offer(prefix + found.doc_id, text)
        missing = not wanted <= texts.keys()
        if missing or self._on_failure is not None:
            # Strict reading passes over broken documents only while nobody judged them.
            for failure in broken:
                self._fail(failure, of=path / BEIR_CORPUS)
        return [
            list(self._split_rows(path / "qrels" / f"{name}.tsv", data, texts, prefix))
            for name, data in zip(names, judged, strict=True)
        ]

    def _split_rows(self, qrels: Path, data: Dataset, texts: Mapping[str, str], prefix: str) -> Iterator[Judged]:
        by_query: dict[str, dict[str, int]] = {}
        for qrel in data.qrels:
            if qrel.doc_id in texts:
                by_query.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
            else:
                where = f"{qrels}:{_line_of(qrels, qrel.query_id, qrel.doc_id)}"
                self._fail(Failure(where, f"judges the document {qrel.doc_id!r}, which {BEIR_CORPUS} does not have"))
        for query in data.queries:
            grades = by_query.get(query.query_id, {})
            self._unanswered += not any(grade > 0 for grade in grades.values())
            zeros = [doc_id for doc_id, grade in grades.items() if grade <= 0]
            zeros.sort(key=lambda doc_id: draw(self._seed, "judged 0", query.query_id, doc_id))
            for doc_id, grade in grades.items():
                if grade > 0:
                    other = [zero for zero in zeros if normalize(texts[zero]) != normalize(texts[doc_id])]
                    other = other[:JUDGED_NEGATIVES]
                    negatives = tuple(texts[zero] for zero in other)
                    example = Example(query.text, texts[doc_id], negatives, (), query.query_id, doc_id)
                    ids = tuple(prefix + each for each in (doc_id, *other))
                    yield Judged(example, normalize(query.text), grade, prefix + query.query_id, ids)

    # ------------------------------------------------------------ the end

    def complain(self) -> None:
        """Raise if unusable rows were not asked to be passed over."""
        if self._bad_count:
            more = f"; and {self._bad_count - _SHOWN:,} more" if self._bad_count > _SHOWN else ""
            shown = "; ".join(map(str, self._bad))
            # A whole file's failure has its name for an origin, and is never passed over.
            rows = any(failure.origin not in self._hashes for failure in self._bad)
            advice = (
                "Correct it, or have bad rows left out: --skip-bad-rows" if rows else "Correct it, or leave it out."
            )
            raise CorpusError(f"Training data that cannot be used: {shown}{more}. {advice}")

    def result(self, share: float) -> TrainingSet:
        """Return the training set; `share` of the queries are held out if no source brought held-out ones."""
        own = {row.query for row in self._held}
        more = frozenset() if own else holdout.choose_queries({row.query for row in self._rows}, share, self._seed)
        judged = holdout.draw_queries(own, holdout.MAX_QUERIES, self._seed)
        held = [row for row in self._held if row.query in judged] + [row for row in self._rows if row.query in more]
        rows = [row for row in self._rows if row.query not in own and row.query not in more]
        vectors = [pair for pair in self._vectors if (query := normalize(pair[0])) not in own and query not in more]
        if not rows and not vectors:
            why = "every query is a held-out one" if self._rows or self._vectors else "no row could be used"
            if self._unanswered and not self._rows:
                why = f"of {self._unanswered:,} judged queries none has a document judged above 0; one each is needed"
            raise CorpusError(f"There is nothing to train on: {why}.")
        if self._pooling and held:
            for row in rows:
                for doc_id, text in zip(row.doc_ids, (row.example.positive, *row.example.negatives), strict=True):
                    self._pool.offer(doc_id, text)
        ranked = holdout.build_held_out(held, self._pool.documents() if held else {})
        return TrainingSet(tuple(row.example for row in rows), ranked, tuple(vectors), dict(self._hashes))

    def _fail(self, failure: Failure, of: Path | None = None) -> None:
        """Count a bad row. A failure without a line concerns the whole file, which is never passed over."""
        whole = of is not None and failure.origin == str(of)
        if self._on_failure is not None and not whole:
            self._on_failure(failure)
            return
        self._bad_count += 1
        if len(self._bad) < _SHOWN:
            self._bad.append(failure)

    def _hash(self, path: Path) -> None:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from error
        self._hashes[str(path)] = digest.hexdigest()


def _check_sources(sources: Sequence[str | Path], held_out: float | str | Path, documents: int) -> list[Path]:
    check_sources(sources)
    if any(str(source) == STDIN for source in sources):
        raise InvalidArgument("Training data cannot come from stdin (-): name files or folders.")
    if isinstance(held_out, (str, Path)):
        check_sources([held_out])
    else:
        holdout.check_share(held_out)
    if documents < 0:
        raise InvalidArgument(f"held_out_documents is {documents}; expected 0 or more.")
    return [Path(source) for source in sources]


def _records(stream: IO[bytes], encoding: str, path: Path) -> Iterator[tuple[int, dict[str, Any]] | Failure]:
    name = path.name.lower().removesuffix(".gz")
    suffix, origin = Path(name).suffix, str(path)
    if suffix in JSONL_SUFFIXES:
        yield from jsonl_records(stream, encoding, origin=origin)
    elif suffix == ".json":
        yield from json_records(stream, encoding, origin=origin)
    elif suffix in (".csv", ".tsv"):
        delimiter = "\t" if suffix == ".tsv" else None
        yield from csv_records(stream, encoding, origin=origin, check=_check_header, delimiter=delimiter, quoted=True)
    else:
        raise CorpusError(f"{path} is no training data that can be read; expected {_FORMATS}.")


def _check_header(header: list[str]) -> None:
    kind_of(header)


def _row(number: int, record: Mapping[str, Any], path: Path) -> tuple[str, Example | GivenVector] | Failure:
    where = f"{path}:{number}"
    try:
        table = path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
        return where, parse_cells(record) if table else parse_row(record)
    except BadRecord as error:
        return Failure(where, str(error))


def _judged(example: Example) -> Judged:
    """Return a row without judgements as a judged one: its positive is graded 1, and its texts are their own ids."""
    query = normalize(example.query)
    doc_ids = tuple(_made_up("d", normalize(text)) for text in (example.positive, *example.negatives))
    return Judged(example, query, 1, _made_up("q", query), doc_ids)


def _made_up(kind: str, text: str) -> str:
    return f"{kind}-{draw(0, text):016x}"


def _searchable(document: Document) -> str:
    return Chunk(document.doc_id, 0, document.text, 0, len(document.text), document.title).searchable


def _beir(path: Path, name: str) -> Dataset:
    try:
        return read_beir(path, name)
    except EvaluationError as error:
        raise CorpusError(str(error)) from error


def _line_of(qrels: Path, query_id: str, doc_id: str) -> int:
    """Return the line of a judgement, from 1."""
    with qrels.open(encoding="utf-8-sig", errors="surrogatepass", newline="\n") as file:
        return next(number for number, line in enumerate(file, 1) if line.split("\t")[:2] == [query_id, doc_id])
