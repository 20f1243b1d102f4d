"""The tools: plain functions from arguments to an answer and the same answer as text."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from hybrid_search._util.unicode_text import id_forms
from hybrid_search.collection.documents import fetch_document
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.errors import DocumentNotFound, InvalidArgument, near
from hybrid_search.integrations.mcp import formatting, rendering, schemas
from hybrid_search.integrations.mcp.bounds import MAX_ERROR, clean, cut, fitting, value_text
from hybrid_search.integrations.searcher_pool import SearcherPool, expansion
from hybrid_search.search.request import SearchRequest
from hybrid_search.store.schema import chunk_of

if TYPE_CHECKING:
    from hybrid_search.search.open_collection import OpenCollection
    from hybrid_search.search.request import Options
    from hybrid_search.types import Document

USUAL = SearchRequest()
"""A search with every option at its default."""


def search(
    collections: SearcherPool,
    query: schemas.Query,
    collection: schemas.Collection = "",
    k: schemas.K = USUAL.k,
    mode: schemas.Mode = USUAL.mode,
    where: schemas.Where = "",
    offset: schemas.Offset = USUAL.offset,
    rerank: schemas.Rerank = False,
    vector: schemas.Vector = "",
    min_confidence: schemas.MinConfidence = 0.0,
    min_score: schemas.MinScore = "",
    text_chars: schemas.TextChars = schemas.TEXT_CHARS,
) -> tuple[schemas.Found, str]:
    """Find the documents of a collection that answer a question or match a description best. Use it first, whenever the
    answer may be in the collection; ask in plain words, and ask again in other words if the first hits do not answer.
    Each hit has its doc_id, its metadata, the best part of its text, and where each leg (words, meaning) placed it.
    `get` reads on in a document; `explain` tells why one is missing. Where `confidence` is `low` there is probably no
    good answer in the collection.

    A filter (`where`) compares metadata fields: `year >= 1990`, `genres = 'war'`, `!=`, `<`, `<=`, `>`,
    `genres in ('a', 'b')`, `not in`, `between 1980 and 1989`, `title ~ 'some words'` (has all of them),
    `title ^= 'The'` (begins so), `exists(director)`, `place within 5 km of (48.2, 16.4)`; join them with and, or, not
    and parentheses. Texts stand in single quotes, dates are texts such as '2026-11-21'. Of a list one value is enough.
    `title`, `text`, `doc_id` and `origin` are the document's own fields; `status` names the others. Leave the filter
    out unless the question needs it: one that is too narrow finds nothing.
    """
    asked: Options = {"k": k, "mode": mode, "where": where or None, "offset": offset, "rerank": rerank or None}
    asked["vector"] = without_surrogates(vector) or None
    asked["min_confidence"], asked["min_score"] = min_confidence or None, min_score or None
    with collections.use(named(collections, collection)) as searcher:
        results = searcher.search(without_surrogates(query), **asked)
    heads = rendering.shown_hits(results)

    def answer(chars: int, hits: int) -> tuple[schemas.Found, str]:
        found = rendering.shown_results(results, heads, chars, hits)
        return found, formatting.found_text(found, results)

    return fitting(answer, (text_chars, min(text_chars, schemas.MIN_TEXT_CHARS)), (len(results), 1))


def explain(
    collections: SearcherPool,
    query: schemas.Query,
    collection: schemas.Collection = "",
    doc_id: schemas.DocId = "",
    k: schemas.K = USUAL.k,
    mode: schemas.Mode = USUAL.mode,
    where: schemas.Where = "",
    offset: schemas.Offset = USUAL.offset,
    rerank: schemas.Rerank = False,
    vector: schemas.Vector = "",
    min_confidence: schemas.MinConfidence = 0.0,
    min_score: schemas.MinScore = "",
    leg: schemas.Leg = "sparse",
) -> tuple[schemas.Explained, str]:
    """Say why a document is, or is not, among the hits of a search: give its doc_id and the same arguments as to
    `search`. The answer names the stage that kept it out (not indexed, filtered out, not found, below depth, outranked)
    and its rank in every leg. Without doc_id: which words, with which weights, the query is searched by. Use it when a
    document that should be found is not, or to choose better words; not to search.
    """
    text = without_surrogates(query)
    asked: Options = {"k": k, "mode": mode, "where": where or None, "offset": offset, "rerank": rerank or None}
    asked["vector"] = without_surrogates(vector) or None
    asked["min_confidence"], asked["min_score"] = min_confidence or None, min_score or None
    with collections.use(named(collections, collection)) as searcher:
        if doc_id:
            explained = searcher.explain(text, without_surrogates(doc_id), **asked).to_dict()
            return explained, formatting.explained_text(explained)
        expanded = expansion(searcher, text, leg).to_dict()
    terms = expanded["expansion"]

    def answer(most: int) -> tuple[schemas.ExpansionShown, str]:
        left_out = len(terms) - most
        shown: schemas.ExpansionShown = {**expanded, "expansion": terms[:most], "terms_left_out": left_out}
        if not left_out:
            del shown["terms_left_out"]
        return shown, formatting.expansion_text(shown)

    return fitting(answer, (len(terms), min(1, len(terms))))


def get(
    collections: SearcherPool,
    doc_id: schemas.DocId = "",
    chunk_id: schemas.ChunkId = "",
    collection: schemas.Collection = "",
    first_line: schemas.FirstLine = 1,
    last_line: schemas.LastLine = 0,
    offset: schemas.FromChar = 0,
    max_chars: schemas.GetChars = schemas.GET_CHARS,
    field: schemas.FieldName = "",
) -> tuple[schemas.Got, str]:
    """Read a document, some lines of it, or one chunk, by the ids that `search` gave; with `field` a value of its
    metadata instead, or its title or origin. It reads what the collection stores, never a file. Long texts come in
    parts: where `next_offset` is in the answer, ask again with it as `offset`, or ask for the lines you need.
    """
    if bool(doc_id) == bool(chunk_id):
        raise InvalidArgument("Give either doc_id or chunk_id, as a hit of search has them.")
    if (chunk_id or field) and (first_line != 1 or last_line != 0):
        raise InvalidArgument("first_line and last_line are of a document's text; give its doc_id, and no field.")
    with collections.use(named(collections, collection)) as searcher:
        got = searcher._within(
            lambda opened: _chunk(opened, chunk_id) if chunk_id else _document(opened, doc_id, first_line, last_line)
        )
    if field:
        got = _field(got, field)
    if offset and offset >= len(got["text"]):
        raise InvalidArgument(f"offset is {offset}, but what is wanted has {len(got['text']):,} characters.")
    whole = rendering.shown_document(got)

    def answer(most: int) -> tuple[schemas.Got, str]:
        part = _part(whole, offset, most)
        return part, formatting.got_text(part)

    return fitting(answer, (max_chars, 1))


def status(collections: SearcherPool, collection: schemas.Collection = "") -> tuple[schemas.Status, str]:
    """List the collections with their size, age, models and modes; with `collection` also the fields that a filter of
    `search` may name. Use it to choose a collection, or before writing a filter.
    """
    place = collections.store.location
    if collection or len(collections.only or ()) == 1:
        with collections.use(named(collections, collection)) as searcher:
            info, fields = searcher._within(lambda opened: (opened.reader.info(), list(opened.reader.fields().items())))
        one = rendering.shown_collection(info)

        def answer(most: int) -> tuple[schemas.Status, str]:
            told: schemas.Status = {
                "store": place,
                "collections": [rendering.with_fields(one, fields, most)],
                "problems": [],
            }
            return told, formatting.status_text(told)

        return fitting(answer, (len(fields), 0))
    infos, errors = collections.infos()
    listed = [rendering.shown_collection(info) for info in infos]
    problems = [clean(cut(str(error), MAX_ERROR)) for error in errors]

    def answers(most: int) -> tuple[schemas.Status, str]:
        told: schemas.Status = {"store": place, "collections": listed[:most], "problems": problems[:most]}
        if most < max(len(listed), len(problems)):
            told["left_out"] = max(0, len(listed) - most) + max(0, len(problems) - most)
        return told, formatting.status_text(told)

    return fitting(answers, (max(len(listed), len(problems)), 0))


def named(collections: SearcherPool, name: str = "") -> str:
    """Return the requested collection; without a name the only one there is.

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
    """Return the URI of a document's resource.

    >>> uri_of("movies", "a/b #1")
    'hybrid-search://movies/a%2Fb%20%231'
    """
    return f"hybrid-search://{collection}/{quote(doc_id, safe='', errors='replace')}"


def document_text(collections: SearcherPool, collection: str, doc_id: str) -> str:
    """Return the whole text of a document.

    Raises:
        InvalidArgument: it is longer than `get` returns at once.
        HybridSearchError: no such document, or the collection cannot be opened.
    """
    with collections.use(named(collections, collection)) as searcher:
        text = searcher._within(lambda opened: _stored(opened, doc_id)).text
    if len(text) > schemas.MAX_GET_CHARS:
        raise InvalidArgument(
            f"Document {doc_id!r} has {len(text):,} characters, and {schemas.MAX_GET_CHARS:,} go into a resource. "
            "Read it in parts with the tool `get`."
        )
    return clean(text)


def _stored(opened: OpenCollection, doc_id: str) -> Document:
    return fetch_document(opened.reader, without_surrogates(doc_id), opened.collection)


def _document(opened: OpenCollection, doc_id: str, first: int, last: int) -> schemas.Got:
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


def _chunk(opened: OpenCollection, chunk_id: str) -> schemas.Got:
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


def _field(got: schemas.Got, field: str) -> schemas.Got:
    """Return the value of a field in place of the text."""
    own = {"title": got["title"], "origin": got["origin"]}
    known = {clean(name): value for name, value in got["metadata"].items()} | got["metadata"] | own
    if field not in known:
        close = near(field, list(known))
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise InvalidArgument(f"Document {got['doc_id']!r} has no field {field!r}.{hint} `status` names the fields.")
    text = value_text(known[field])
    read: schemas.Got = {**got, "text": text, "start": 0, "end": len(text), "field": field}
    read.pop("lines", None)
    return read


def _part(whole: schemas.Got, offset: int, most: int) -> schemas.Got:
    """Return this many characters of the requested text, from an offset on."""
    text = whole["text"]
    part: schemas.Got = {**whole, "text": text[offset : offset + most], "start": whole["start"] + offset}
    part["end"] = part["start"] + len(part["text"])
    if offset + most < len(text):
        part["next_offset"] = offset + most
    if "lines" in whole:
        first = whole["lines"]["first"] + text.count("\n", 0, offset)
        last = first + part["text"].removesuffix("\n").count("\n")
        part["lines"] = {"first": first, "last": last, "total": whole["lines"]["total"]}
    return part
