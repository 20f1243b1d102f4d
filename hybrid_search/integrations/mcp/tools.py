"""The tools: plain functions from arguments to an answer and the same answer as text."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hybrid_search.asking import HYBRID, modes
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.errors import DocumentNotFound, InvalidArgument, near
from hybrid_search.integrations.mcp import shapes, words
from hybrid_search.integrations.searchers import Searchers, expansion
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionInfo
from hybrid_search.store.schema import chunk_of
from hybrid_search.stored import stored_document
from hybrid_search.unicode_text import id_forms

if TYPE_CHECKING:
    from hybrid_search.answering import Opened
    from hybrid_search.asking import Options
    from hybrid_search.searcher import Searcher
    from hybrid_search.types import Document


def search(
    collections: Searchers,
    query: shapes.Query,
    collection: shapes.Collection = "",
    k: shapes.K = 10,
    mode: shapes.Mode = HYBRID,
    where: shapes.Where = "",
    offset: shapes.Offset = 0,
    rerank: shapes.Rerank = False,
    text_chars: shapes.TextChars = shapes.TEXT_CHARS,
) -> tuple[shapes.Found, str]:
    """Find the documents of a collection that answer a question or match a description best. Use it first, whenever the
    answer may be in the collection; ask in plain words, and ask again in other words if the first hits do not answer.
    Each hit has its doc_id, its metadata, the best part of its text, and where each leg (words, meaning) placed it.
    `get` reads on in a document; `explain` tells why one is missing.

    A filter (`where`) compares metadata fields: `year >= 1990`, `genres = 'war'`, `!=`, `<`, `<=`, `>`,
    `genres in ('a', 'b')`, `not in`, `between 1980 and 1989`, `title ~ 'some words'` (has all of them),
    `title ^= 'The'` (begins so), `exists(director)`, `place within 5 km of (48.2, 16.4)`; join them with and, or, not
    and parentheses. Texts stand in single quotes, dates are texts such as '2026-11-21'. Of a list one value is enough.
    `title`, `text`, `doc_id` and `origin` are the document's own fields; `status` names the others. Leave the filter
    out unless the question needs it: one that is too narrow finds nothing.
    """
    asked: Options = {"k": k, "mode": mode, "where": where or None, "offset": offset, "rerank": rerank or None}
    with collections.use(named(collections, collection)) as searcher:
        results = searcher.search(without_surrogates(query), **asked)
    found = words.shown(results, text_chars)
    return found, words.found_text(found, results)


def explain(
    collections: Searchers,
    query: shapes.Query,
    collection: shapes.Collection = "",
    doc_id: shapes.DocId = "",
    k: shapes.K = 10,
    mode: shapes.Mode = HYBRID,
    where: shapes.Where = "",
    offset: shapes.Offset = 0,
    rerank: shapes.Rerank = False,
    leg: shapes.Leg = "sparse",
) -> tuple[shapes.Explained, str]:
    """Say why a document is, or is not, among the hits of a search: give its doc_id and the same arguments as to
    `search`. The answer names the stage that kept it out (not indexed, filtered out, not found, below depth, outranked)
    and its rank in every leg. Without doc_id: which words, with which weights, the query is searched by. Use it when a
    document that should be found is not, or to choose better words; not to search.
    """
    text = without_surrogates(query)
    asked: Options = {"k": k, "mode": mode, "where": where or None, "offset": offset, "rerank": rerank or None}
    with collections.use(named(collections, collection)) as searcher:
        explained = _followed(searcher, text, doc_id, asked) if doc_id else _expanded(searcher, text, leg)
    return explained, words.explained_text(explained)


def get(
    collections: Searchers,
    doc_id: shapes.DocId = "",
    chunk_id: shapes.ChunkId = "",
    collection: shapes.Collection = "",
    first_line: shapes.FirstLine = 1,
    last_line: shapes.LastLine = 0,
    offset: shapes.FromChar = 0,
    max_chars: shapes.GetChars = shapes.GET_CHARS,
) -> tuple[shapes.Got, str]:
    """Read a document, some lines of it, or one chunk, by the ids that `search` gave. It reads what the collection
    stores, never a file. Long documents come in parts: where `next_offset` is in the answer, ask again with it as
    `offset`, or ask for the lines you need.
    """
    if bool(doc_id) == bool(chunk_id):
        raise InvalidArgument("Give either doc_id or chunk_id, as a hit of search has them.")
    if chunk_id and (first_line != 1 or last_line != 0):
        raise InvalidArgument("first_line and last_line are of a document; give its doc_id instead of chunk_id.")
    with collections.use(named(collections, collection)) as searcher:
        got = searcher.within(
            lambda opened: _chunk(opened, chunk_id) if chunk_id else _document(opened, doc_id, first_line, last_line)
        )
    whole = got["text"]
    if offset and offset >= len(whole):
        raise InvalidArgument(f"offset is {offset}, but what is wanted has {len(whole):,} characters.")
    got["text"] = whole[offset : offset + max_chars]
    if offset + max_chars < len(whole):
        got["next_offset"] = offset + max_chars
    got["start"] += offset
    got["end"] = got["start"] + len(got["text"])
    if "lines" in got:
        got["lines"]["first"] += whole.count("\n", 0, offset)
        got["lines"]["last"] = got["lines"]["first"] + got["text"].removesuffix("\n").count("\n")
    return got, words.got_text(got)


def status(collections: Searchers, collection: shapes.Collection = "") -> tuple[shapes.Status, str]:
    """List the collections with their size, age, models and modes; with `collection` also the fields that a filter of
    `search` may name. Use it to choose a collection, or before writing a filter.
    """
    problems: list[str] = []
    found: list[shapes.CollectionShown] = []
    if collection or len(collections.only or ()) == 1:
        with collections.use(named(collections, collection)) as searcher:
            info, fields = searcher.within(lambda opened: (opened.reader.info(), dict(opened.reader.fields())))
        found.append({**_described(info), "fields": fields})
    else:
        infos, errors = collections.infos()
        found += map(_described, infos)
        problems += map(str, errors)
    answer: shapes.Status = {"store": collections.store.location, "collections": found, "problems": problems}
    return answer, words.status_text(answer)


def named(collections: Searchers, name: str = "") -> str:
    """The collection that is meant; without a name the only one there is.

    Raises:
        InvalidArgument: no name and not exactly one collection, or one that may not be asked for.
    """
    if not name:
        names = list(collections.only or collections.names())
        if len(names) == 1:
            return names[0]
        known = f"one of: {', '.join(names)}" if names else "there is none yet"
        raise InvalidArgument(f"No collection is named; {known}.")
    if collections.only is not None and name not in collections.only:
        close = near(name, collections.only)
        others = f"Take one of: {', '.join(collections.only)}."
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else others
        raise InvalidArgument(f"Collection {name!r} is not served here. {hint}")
    return name


def uri_of(collection: str, doc_id: str) -> str:
    """A document's resource.

    >>> uri_of("movies", "a/b #1")
    'hybrid-search://movies/a%2Fb%20%231'
    """
    return f"hybrid-search://{collection}/{quote(doc_id, safe='', errors='replace')}"


def document_text(collections: Searchers, collection: str, doc_id: str) -> str:
    """The whole text of a document.

    Raises:
        InvalidArgument: it is longer than `get` gives at once.
        HybridSearchError: there is none, or the collection cannot be opened.
    """
    with collections.use(named(collections, collection)) as searcher:
        text = searcher.within(lambda opened: _stored(opened, doc_id)).text
    if len(text) > shapes.MAX_GET_CHARS:
        raise InvalidArgument(
            f"Document {doc_id!r} has {len(text):,} characters, and {shapes.MAX_GET_CHARS:,} go into a resource. "
            "Read it in parts with the tool `get`."
        )
    return text


def _followed(searcher: Searcher, query: str, doc_id: str, asked: Options) -> shapes.Explained:
    explained: Any = searcher.why(query, without_surrogates(doc_id), **asked).to_dict()
    answer: shapes.Explained = explained
    return answer


def _expanded(searcher: Searcher, query: str, leg: str) -> shapes.Explained:
    explained: Any = expansion(searcher, query, leg).to_dict()
    answer: shapes.Explained = explained
    return answer


def _stored(opened: Opened, doc_id: str) -> Document:
    return stored_document(opened.reader, without_surrogates(doc_id), opened.collection)


def _document(opened: Opened, doc_id: str, first: int, last: int) -> shapes.Got:
    document = _stored(opened, doc_id)
    lines = document.text.removesuffix("\n").split("\n")
    if first > len(lines) or 0 < last < first:
        asked = f"first_line is {first} and last_line {last or 'not given'}"
        raise InvalidArgument(f"{asked}, but document {doc_id!r} has the lines 1 to {len(lines)}.")
    end = min(last, len(lines)) if last else len(lines)
    start = sum(len(line) + 1 for line in lines[: first - 1])
    text = "\n".join(lines[first - 1 : end])
    return {
        "collection": opened.collection,
        "doc_id": document.doc_id,
        "title": document.title,
        "origin": document.origin,
        "metadata": dict(document.metadata),
        "uri": uri_of(opened.collection, document.doc_id),
        "start": start,
        "end": start + len(text),
        "text": text,
        "lines": {"first": first, "last": end, "total": len(lines)},
    }


def _chunk(opened: Opened, chunk_id: str) -> shapes.Got:
    found = opened.reader.payloads(id_forms(without_surrogates(chunk_id)))
    payload = next(iter(found.values()), None)
    if payload is None:
        raise DocumentNotFound(chunk_id, opened.collection)
    chunk = chunk_of(payload)
    return {
        "collection": opened.collection,
        "doc_id": chunk.doc_id,
        "title": chunk.title,
        "origin": payload["origin"],
        "metadata": payload["metadata"],
        "uri": uri_of(opened.collection, chunk.doc_id),
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "chunk_id": chunk.chunk_id,
    }


def _described(info: CollectionInfo) -> shapes.CollectionShown:
    manifest = info.manifest
    legs: dict[str, shapes.LegOfStatus] = {
        leg: {"model": spec.model, "kind": spec.kind, "in_hybrid": not spec.beside}
        for leg, spec in manifest.legs.items()
    }
    return {
        "name": info.name,
        "documents": info.documents,
        "chunks": info.points,
        "bytes_on_disk": info.bytes_on_disk,
        "profile": manifest.profile,
        "created": manifest.created,
        "age_s": _age_s(manifest),
        "modes": list(modes(manifest)),
        "legs": legs,
    }


def _age_s(manifest: Manifest) -> int | None:
    """Seconds since the collection was built; None where it does not say when."""
    try:
        created = datetime.fromisoformat(manifest.created)
    except ValueError:
        return None
    return max(0, int((datetime.now(timezone.utc) - created).total_seconds()))
