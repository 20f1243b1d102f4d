"""Fill a collection from bulk files of Elasticsearch or OpenSearch, as an export of our own writes them.

    import_bulk("movies", ["movies-es/bulk-00000.ndjson"])

A file holds two lines a chunk: `{"index": {"_id": "7"}}` and the source. `mapping.json` beside it says which fields the
vectors are in, which models they are of, and how words are written. Bulk files of others are read, too: the field of
their weights has to be named, or is `sparse`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from typing_extensions import Unpack

from hybrid_search._util.arguments import shown
from hybrid_search._util.printable import storable
from hybrid_search.corpus.decoding import Undecodable, numbered_lines
from hybrid_search.errors import CorpusError
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.interop.export.bulk import ABOUT, MAPPING
from hybrid_search.interop.export.opensearch import RANK_FEATURES, SEISMIC, unescape_token
from hybrid_search.interop.export.opensearch_seismic import TERMS
from hybrid_search.interop.import_anserini import find_files, parsed, reading
from hybrid_search.interop.term_legs import AUTO, Idf, TermLeg
from hybrid_search.interop.term_vectors import FillOptions, TermVectors, fill_collection
from hybrid_search.types import LegName

SUFFIXES = (".ndjson", ".ndjson.gz")
"""Of the files that are read of a folder."""

ACTIONS = ("index", "create")


class BulkFields(NamedTuple):
    """Where the parts of a chunk are in the sources of bulk files.

    Args:
        leg: what the words and weights are.
        field: of the weights.
        dense: of each dense leg its field.
        models: of each dense leg its model.
        words: gives the word of a key.
        ours: the other fields are those of an export of our own; else they become metadata.
    """

    leg: TermLeg
    field: str
    dense: Mapping[LegName, str]
    models: Mapping[LegName, str]
    words: Callable[[str], str]
    ours: bool


def import_bulk(
    collection: str,
    files: Sequence[str | Path],
    *,
    field: str | None = None,
    model: str | None = None,
    idf: Idf | None = None,
    **options: Unpack[FillOptions],
) -> IndexReport:
    """Fill a collection from bulk files: texts, titles, metadata, and the vectors of all legs.

    Every line is checked before the first document is written. What is there already and has not changed is left
    alone, what has changed is replaced. Cut short, it goes on where it stopped when it is called again.

    Args:
        collection: made where it is not there.
        files: to read, plain or gzip; of a folder its files of `SUFFIXES`.
        field: of the weights; the mapping's when not given, else `sparse`.
        model: whose vocabulary the words are of, as `import_anserini` has it; the mapping's when not given.
        idf: which side has the inverse document frequency; the mapping's when not given.
        options: as `fill_collection` has them; `prune` deletes documents that the files do not hold.

    Raises:
        InvalidArgument: no file, or an invalid side.
        CorpusError: a file is not there or cut short, a line is invalid, an id comes twice, or there is no weight at
            all. Nothing was written.
        HybridSearchError: whatever else `fill_collection` raises.
    """
    paths = find_files(files, SUFFIXES)
    fields = find_fields(paths)
    fields = fields._replace(
        field=field or fields.field,
        leg=fields.leg._replace(model=model or fields.leg.model, idf=idf or fields.leg.idf),
    )
    return fill_collection(
        collection,
        partial(read_chunks, paths, fields),
        fields.leg,
        dense=fields.models,
        **options,
    )


def find_fields(paths: Sequence[Path]) -> BulkFields:
    """Return what the mapping beside files says of them, or what is assumed where there is none of our own.

    Raises:
        CorpusError: a mapping cannot be read, those of several folders differ, or it says that there are no vectors.
    """
    found = {folder: _mapping_in(folder) for folder in dict.fromkeys(path.expanduser().parent for path in paths)}
    [first, *others] = found
    if any(found[folder] != found[first] for folder in others):
        raise CorpusError(
            f"What lies in {', '.join(map(str, found))} was not exported alike ({MAPPING}). Import one after "
            "the other. Nothing was written."
        )
    about = found[first]
    if about is None:
        return BulkFields(TermLeg(), "sparse", {}, {}, str, False)
    try:
        return _fields(first, about)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unreadable(first / MAPPING, f"its _meta is invalid: {error!r}") from error


def _fields(folder: Path, about: Mapping[str, Any]) -> BulkFields:
    if about.get("semantic_text"):
        raise CorpusError(
            f"{folder} holds texts alone (--semantic-text): there is nothing to fill a collection from. Index the "
            "documents with `hybrid-search index`. Nothing was written."
        )
    words: Callable[[str], str] = str
    if about["format"] == "opensearch":
        form = about.get("form", RANK_FEATURES)
        words = unescape_token if form != SEISMIC else _numbered(folder / TERMS).__getitem__
    idf = None if about["idf"] == "none" else cast(Idf, about["idf"])
    dense = dict(about["dense"])
    return BulkFields(
        TermLeg(str(about["model"] or AUTO), idf),
        str(about["field"]),
        {leg: str(each["field"]) for leg, each in dense.items()},
        {leg: str(each["model"]) for leg, each in dense.items()},
        words,
        True,
    )


def _mapping_in(folder: Path) -> dict[str, Any] | None:
    """Return what our own mapping in a folder says of its files; None where there is none, or somebody else's."""
    path = folder / MAPPING
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())["mappings"].get("_meta", {}).get(ABOUT)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise _unreadable(path, repr(error)) from error
    return found if isinstance(found, dict) else None


def _numbered(path: Path) -> dict[str, str]:
    """Return the word of each number."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(row["token"]): str(row["term"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, repr(error)) from error


def _unreadable(path: Path, reason: str) -> CorpusError:
    return CorpusError(f"{path} cannot be read: {reason}. Export again, or mend it. Nothing was written.")


def read_chunks(paths: Sequence[Path], fields: BulkFields) -> Iterator[TermVectors]:
    """Yield the chunks of files.

    Raises:
        CorpusError: a file cannot be read or is cut short, a line is no action or no source, or no source has weights.
    """
    weighted = False
    for path in paths:
        action: Mapping[str, Any] | None = None
        place = name = storable(str(path))
        for place, line in _lines(path, name):
            try:
                row = parsed(line)
                if action is None:
                    action = _action(row)
                    continue
                chunk = _chunk(row, action, fields, place)
            except ValueError as error:
                raise CorpusError(f"{place}: {error}. Nothing was written.") from error
            weighted, action = weighted or bool(chunk.weights), None
            yield chunk
        if action is not None:
            raise CorpusError(f"{place}: the file ends after an action, before its source. Nothing was written.")
    if not weighted:
        raise CorpusError(
            f"No source has weights in the field {fields.field!r}. Name the field with --field. Nothing was written."
        )


def _lines(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a file that are not empty, each with its place."""
    with reading(path.expanduser()) as stream:
        for number, line in numbered_lines(stream, "utf-8"):
            place = f"{name}:{number}"
            if isinstance(line, Undecodable):
                raise CorpusError(f"{place}: {line}. UTF-8 is expected. Nothing was written.")
            if line.strip():
                yield place, line


def _action(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an action says. Raises ValueError for one that is no document's."""
    verbs = list(row)
    if len(verbs) != 1 or verbs[0] not in ACTIONS or not isinstance(row[verbs[0]], dict):
        raise ValueError(f"it is {shown(row, 60)}, expected an action: {' or '.join(ACTIONS)} with its _id")
    said: Mapping[str, Any] = row[verbs[0]]
    return said


def _chunk(row: Mapping[str, Any], action: Mapping[str, Any], fields: BulkFields, place: str) -> TermVectors:
    """Return the chunk of a source. Raises ValueError, with the reason, where it is none."""
    doc_id = row["doc_id"] if fields.ours and "doc_id" in row else action.get("_id")
    if not isinstance(doc_id, str) or not doc_id:
        raise ValueError(f"its id is {shown(doc_id)}, expected a text")
    text, title = ("" if row.get(name) is None else row[name] for name in ("text", "title"))
    if not isinstance(text, str) or not isinstance(title, str):
        raise ValueError("text and title must be texts")
    number = row.get("number", 0) if fields.ours else 0
    if type(number) is not int or number < 0:
        raise ValueError(f"number is {shown(number)}, expected a whole number of 0 or more")
    dense = {leg: row[field] for leg, field in fields.dense.items() if field in row}
    return TermVectors(doc_id, text, title, _metadata(row, fields), _weights(row, fields), dense, place, number)


def _metadata(row: Mapping[str, Any], fields: BulkFields) -> Mapping[str, Any]:
    if not fields.ours:
        return {name: value for name, value in row.items() if name not in ("text", "title", fields.field)}
    found = row.get("metadata", row.get("metadata_kept", {}))
    if not isinstance(found, dict):
        raise ValueError(f"metadata is {shown(found)}, expected an object")
    return found


def _weights(row: Mapping[str, Any], fields: BulkFields) -> Mapping[str, Any]:
    weights = row.get(fields.field) or {}
    if not isinstance(weights, dict):
        raise ValueError(f"{fields.field} is {shown(weights)}, expected an object of words with their weights")
    try:
        found = {fields.words(key): weight for key, weight in weights.items()}
    except KeyError as error:
        raise ValueError(f"{TERMS} has no word for the number {error}") from error
    if len(found) < len(weights):
        raise ValueError("two of its words are the same when they are read as escaped")
    return found
