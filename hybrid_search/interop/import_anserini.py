"""Fill a collection from Anserini's JsonVectorCollection, the form that learned sparse models are handed on in.

    import_anserini("impacts", ["msmarco-deepimpact"])

A line is a document: `{"id": "7", "contents": "A boxer rises.", "vector": {"boxer": 31, "rises": 7}}`. Its other fields
become metadata, `title` its title. What an export of our own says in `report.json` is heeded: the model whose
vocabulary the tokens are of, the scale of the weights, and how ids and tokens are written.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from typing_extensions import Unpack

from hybrid_search._util.arguments import is_number, listed, shown
from hybrid_search._util.printable import storable
from hybrid_search.corpus.decoding import Undecodable, numbered_lines
from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.interop.export.escaping import unescape
from hybrid_search.interop.term_legs import Idf, TermLeg
from hybrid_search.interop.term_vectors import FillOptions, TermVectors, fill_collection

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
"""Of the files that are read of a folder."""

REPORT = "report.json"
"""What an export of our own says of itself, beside its files or in the folder above."""

_FIELDS = ("id", "contents", "vector", "title")
_PASSAGE = re.compile(r"(.+)#(0|[1-9][0-9]*)")
_GZIP = b"\x1f\x8b"


class ExportReport(NamedTuple):
    """What a report says of an export of our own.

    Args:
        path: of the report.
        leg: the model whose vocabulary the tokens are of, which side has the inverse document frequency, and the scale.
        passages: an id that ends in `#` and a number is that of a chunk of a document with several.
        escaped: ids and tokens are written as in a URL.
    """

    path: Path
    leg: TermLeg
    passages: bool
    escaped: bool


def import_anserini(
    collection: str,
    files: Sequence[str | Path],
    *,
    model: str | None = None,
    scale: float | None = None,
    idf: Idf | None = None,
    on_report: Callable[[ExportReport], None] | None = None,
    **options: Unpack[FillOptions],
) -> IndexReport:
    """Fill a collection from files of documents with the weights of their tokens.

    Every line is checked before the first document is written. What is there already and has not changed is left
    alone, what has changed is replaced. Cut short, it goes on where it stopped when it is called again.

    Args:
        collection: made where it is not there.
        files: to read, plain or gzip; of a folder its files of `SUFFIXES`.
        model: whose vocabulary the tokens are of, and which encodes queries: a card's name or a model's folder;
            `terms/words` or `terms/wordpieces` for tokens of any vocabulary, which queries of words, or of BERT's
            wordpieces, find; `auto` takes wordpieces where a token begins with `##`. That of the export's report when
            not given, else `auto`.
        scale: divides the weights; the report's when not given, else 1.
        idf: which side has the inverse document frequency: `documents`, if it is in these weights already, or
            `queries`, if the store has to multiply it in; the report's when not given, else as the model's own
            documents have it.
        on_report: called with what an export of our own says, where one was found.
        options: as `fill_collection` has them; `prune` deletes documents that the files do not hold.

    Raises:
        InvalidArgument: no file, or an invalid scale or side.
        CorpusError: a file is not there or cut short, a line is invalid, an id comes twice, or there is no document.
            Nothing was written.
        HybridSearchError: whatever else `fill_collection` raises.
    """
    paths = find_files(files)
    report = find_report(paths)
    leg = leg_asked(report, on_report, model, idf, scale)
    return fill_collection(collection, partial(read_documents, paths, report), leg, **options)


def leg_asked(
    report: ExportReport | None,
    on_report: Callable[[ExportReport], None] | None,
    model: str | None,
    idf: Idf | None,
    scale: float | None,
) -> TermLeg:
    """Return what the terms are and their weights: as is asked, else as the report says, which is told then."""
    if report is not None and on_report is not None:
        on_report(report)
    said = report.leg if report else TermLeg()
    return TermLeg(model or said.model, idf or said.idf, said.scale if scale is None else scale)


def find_files(files: Sequence[str | Path], suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Return the files to read: those given, and of a folder those with one of the suffixes, sorted by name.

    Raises:
        InvalidArgument: none is given.
        CorpusError: one is not there, or is neither a file nor a folder; or a folder holds none to read.
    """
    if isinstance(files, (str, Path)):
        files = [files]
    found: list[Path] = []
    for path in (Path(file).expanduser() for file in listed("files", files, "paths")):
        if path.is_dir():
            found += _files_of(path, suffixes)
        elif path.is_file():
            found.append(path)
        else:
            raise CorpusError(f"{path} is no file and no folder. Nothing was written.")
    if not found:
        raise InvalidArgument("No file given: name files of JSON lines, or a folder of them.")
    return found


def _files_of(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"{folder} cannot be read: {error.strerror or error}. Nothing was written.") from error
    found = [each for each in entries if each.name.endswith(suffixes) and each.name != REPORT and each.is_file()]
    if not found:
        inner = [each.name for each in entries if each.is_dir()][:5]
        hint = f" It has the folders {', '.join(inner)}: name the one that is meant." if inner else ""
        raise CorpusError(f"{folder} holds no file of {', '.join(suffixes)}.{hint} Nothing was written.")
    return found


def find_report(paths: Sequence[Path], format: str = "anserini") -> ExportReport | None:
    """Return what an export of our own says of these files; None where they are none.

    Args:
        paths: of the files.
        format: that of the export.

    Raises:
        CorpusError: a report cannot be read, or those of several files differ.
    """
    found: dict[Path, ExportReport | None] = {}
    for folder in dict.fromkeys(path.resolve().parent for path in paths):
        found[folder] = next(filter(None, (_report_in(place, format) for place in (folder, folder.parent))), None)
    different = {report and report._replace(path=Path()) for report in found.values()}
    if len(different) > 1:
        folders = ", ".join(str(folder) for folder in found)
        raise CorpusError(
            f"What was exported into {folders} was not exported alike ({REPORT}): other models, scales or ids. Import "
            "one after the other. Nothing was written."
        )
    return next(iter(found.values()), None)


def _report_in(folder: Path, format: str) -> ExportReport | None:
    """Read the report in a folder; None where there is none, or one of something else."""
    path = folder / REPORT
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{path} cannot be read: {error}. Mend it or take it away. Nothing was written.") from error
    if not isinstance(said, dict) or said.get("format") != format:
        return None
    model, scale, idf = (said.get(name) for name in ("model", "scale", "idf"))
    valid = isinstance(model, str) and is_number(scale) and scale > 0 and idf in ("queries", "documents", "none")
    if not valid:
        raise CorpusError(
            f"{path} says model {shown(model)}, scale {shown(scale)} and idf {shown(idf)}, which is invalid. Mend it "
            "or take it away. Nothing was written."
        )
    leg = TermLeg(cast(str, model), None if idf == "none" else cast(Idf, idf), float(cast(float, scale)))
    return ExportReport(path, leg, said.get("passages") is True, said.get("escaped") is True)


def read_documents(paths: Sequence[Path], report: ExportReport | None = None) -> Iterator[TermVectors]:
    """Yield the documents of files.

    Raises:
        CorpusError: a file cannot be read or is cut short, or a line is no document; the message says which and why.
    """
    for path in paths:
        name = storable(str(path))
        empty = True
        with reading(path) as stream:
            for number, line in numbered_lines(stream, "utf-8"):
                if isinstance(line, Undecodable):
                    raise CorpusError(f"{name}:{number}: {line}. UTF-8 is expected. Nothing was written.")
                if not line.strip():
                    continue
                empty = False
                try:
                    yield _document(line, f"{name}:{number}", report)
                except ValueError as error:
                    raise CorpusError(f"{name}:{number}: {error}. Nothing was written.") from error
        if empty:
            raise CorpusError(f"{name} is empty. Leave it out, or get it again. Nothing was written.")


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed if it is gzip, whatever it is called. Raises CorpusError for what cannot be read."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw) as plain:
                    yield cast("IO[bytes]", plain)
            else:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(
            f"{path} cannot be read to its end: {reason}. Get it again if it is cut short. Nothing was written."
        ) from error


def _document(line: str, origin: str, report: ExportReport | None) -> TermVectors:
    """Return the document of a line. Raises ValueError, with the reason, where it is none."""
    row = parsed(line)
    doc_id = row.get("id")
    contents, title = ("" if row.get(name) is None else row[name] for name in ("contents", "title"))
    if not isinstance(doc_id, str) or not doc_id:
        raise ValueError(f"id is {shown(doc_id)}, expected a text" if "id" in row else "it has no id")
    if "vector" not in row:
        raise ValueError("it has no vector")
    weights = row["vector"]
    if not isinstance(weights, dict):
        raise ValueError(f"vector is {shown(weights)}, expected an object of tokens with their weights")
    if not isinstance(contents, str) or not isinstance(title, str):
        raise ValueError("contents and title must be texts")
    metadata = {name: value for name, value in row.items() if name not in _FIELDS}
    doc_id, number, weights = as_stored(doc_id, weights, report)
    return TermVectors(doc_id, contents, title, metadata, weights, origin=origin, number=number)


def as_stored(
    doc_id: str, weights: Mapping[str, Any], report: ExportReport | None
) -> tuple[str, int, Mapping[str, Any]]:
    """Return the id of a document, the number of its chunk and its weights, as a collection had them before an export.

    Raises:
        ValueError: they are not written as an export writes them; the message is the reason.
    """
    number = 0
    if report is not None and report.passages and (found := _PASSAGE.fullmatch(doc_id)):
        doc_id, number = found[1], int(found[2])
    if report is not None and report.escaped:
        doc_id, weights = unescape(doc_id), _unescaped_tokens(weights)
    return doc_id, number, weights


def parsed(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} (column {error.colno})") from error
    if not isinstance(row, dict):
        raise ValueError(f"it is {shown(row, 40)}, expected one JSON object a line")
    return row


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return an object's fields. Raises ValueError where one stands twice: a reader would take either."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} stands twice in one object")
    return found


def _unescaped_tokens(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    if not any("%" in token for token in weights):
        return weights
    plain = {unescape(token): weight for token, weight in weights.items()}
    if len(plain) < len(weights):
        raise ValueError("two of its tokens are the same when they are read as escaped")
    return plain
