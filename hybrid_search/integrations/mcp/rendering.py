"""Results, documents and collections as the tools return them: the objects of `schemas`, each part cut to size."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from hybrid_search.integrations.mcp import schemas
from hybrid_search.integrations.mcp.bounds import (
    IN_DOCUMENTS,
    MAX_CHUNKS,
    MAX_FIELD_NAME,
    MAX_ORIGIN,
    MAX_TITLE,
    clean,
    cut,
    cut_field,
    shown_id,
    shown_metadata,
)
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionInfo
from hybrid_search.results import DocumentHit, Passage, Results
from hybrid_search.search.request import available_modes


def shown_hits(results: Results) -> list[schemas.HitShown]:
    """Return what is shown of each hit besides its texts."""
    return [_hit(hit) for hit in results]


def shown_results(results: Results, heads: Sequence[schemas.HitShown], text_chars: int, hits: int) -> schemas.Found:
    """Return the object that `search --format json` prints, without highlights, each text cut to its best part."""
    found: Any = results.to_dict()
    found["hits"] = [_with_texts(hit, head, text_chars) for hit, head in list(zip(results, heads, strict=True))[:hits]]
    if hits < len(results):
        last = found["hits"][-1]["rank"]
        found["cut"] = f"Only {hits} of {len(results)} hits fit into one answer. The next page: offset={last}."
    answer: schemas.Found = found
    return answer


def shown_document(got: schemas.Got) -> schemas.Got:
    """Return what is known of a document besides its text, which is cut later."""
    metadata, left_out = shown_metadata(got["metadata"], IN_DOCUMENTS)
    shown: schemas.Got = {
        **got,
        "title": cut_field("title", got["title"], MAX_TITLE),
        "origin": cut_field("origin", got["origin"], MAX_ORIGIN),
        "metadata": metadata,
        "text": clean(got["text"]),
    }
    if left_out:
        shown["fields_left_out"] = left_out
    return shown


def shown_collection(info: CollectionInfo) -> schemas.CollectionShown:
    manifest = info.manifest
    legs: dict[str, schemas.LegOfStatus] = {
        leg: {"model": spec.model, "kind": spec.kind, "in_hybrid": not spec.shadow}
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
        "modes": list(available_modes(manifest)),
        "legs": legs,
    }


def with_fields(one: schemas.CollectionShown, fields: Sequence[tuple[str, str]], most: int) -> schemas.CollectionShown:
    """Return a collection with this many of its fields."""
    shown: schemas.CollectionShown = {
        **one,
        "fields": {cut(name, MAX_FIELD_NAME): kind for name, kind in fields[:most]},
    }
    if len(fields) > most:
        shown["fields_left_out"] = len(fields) - most
    return shown


def _hit(hit: DocumentHit) -> schemas.HitShown:
    metadata, left_out = shown_metadata(hit.metadata)
    shown: Any = {
        **hit.to_dict(),
        "doc_id": shown_id(hit.doc_id),
        "title": cut_field("title", hit.title, MAX_TITLE),
        "origin": cut_field("origin", hit.origin, MAX_ORIGIN),
        "metadata": metadata,
        "chunks": [_chunk(passage) for passage in hit.passages[:MAX_CHUNKS]],
    }
    if left_out:
        shown["fields_left_out"] = left_out
    if len(hit.passages) > MAX_CHUNKS:
        shown["chunks_left_out"] = len(hit.passages) - MAX_CHUNKS
    head: schemas.HitShown = shown
    return head


def _chunk(passage: Passage) -> schemas.ChunkShown:
    shown: schemas.ChunkShown = {"chunk_id": shown_id(passage.chunk_id), "start": 0, "end": 0, "text": ""}
    if passage.metadata:
        shown["metadata"], left_out = shown_metadata(passage.metadata)
        if left_out:
            shown["fields_left_out"] = left_out
    return shown


def _with_texts(hit: DocumentHit, head: schemas.HitShown, room: int) -> schemas.HitShown:
    """Return a hit with the best part of each chunk, and the offsets of that part in the document."""
    chunks = []
    for passage, chunk in zip(hit.passages, head["chunks"], strict=False):
        begins, text = _best(passage, room)
        start = passage.start + begins
        shown: schemas.ChunkShown = {**chunk, "start": start, "end": start + len(text), "text": clean(text)}
        chunks.append(shown)
    return {**head, "chunks": chunks}


def _best(passage: Passage, room: int) -> tuple[int, str]:
    """Return this much of a passage around its best match, and where that part begins."""
    text = passage.text
    if len(text) <= room:
        return 0, text
    start, end = passage.highlight[:2] if passage.highlight else (0, room)
    # As much before what matches as after it.
    begins = min(max(0, start - max(0, room - (end - start)) // 2), len(text) - room)
    return begins, text[begins : begins + room]


def _age_s(manifest: Manifest) -> int | None:
    """Return the seconds since the collection was built; None if it does not say when."""
    try:
        created = datetime.fromisoformat(manifest.created)
    except ValueError:
        return None
    return max(0, int((datetime.now(timezone.utc) - created).total_seconds()))
