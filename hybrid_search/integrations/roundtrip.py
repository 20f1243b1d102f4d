"""A framework's documents as ours, kept so that they come back as they were.

Ids, texts and metadata are stored as any other document's, so they are searched, filtered and shown by everything here.
What that form cannot hold is JSON text under the one key `KEPT` of the metadata, which nobody else needs to read:

- metadata values that the engine would change: integers beyond 64 bits, half characters, nesting beyond 30 levels;
- what the framework's class has besides: an embedding given, relationships, the class's name.

A text of several chunks is put together from them, and they lack the white space where it was cut; so the first chunk
carries that of the whole text, where it is more than single spaces, under `SPACES`.

A metadata field `title` that is a text is the document's title as well: it is encoded with every chunk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from hybrid_search.collection.documents import all_payloads, document_from, reassemble_text
from hybrid_search.errors import InvalidArgument
from hybrid_search.filters import Condition, leaves
from hybrid_search.filters.matcher import matches
from hybrid_search.integrations.collection_handle import hits
from hybrid_search.integrations.hit_documents import EVIDENCE
from hybrid_search.integrations.hit_documents import own_metadata as without_evidence
from hybrid_search.protocols import CollectionReader
from hybrid_search.results import DocumentHit
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document, Place, own_metadata

KEPT = "_kept"
SPACES = "_spaces"

MAX_NESTING = 30
"""Of a metadata value; the store takes 32 levels, the metadata itself is one of them."""

_LONG = 2**63
_RUN = re.compile(r"\s+")


class FrameworkDocument(NamedTuple):
    """A document as it was given.

    Args:
        id: its doc_id.
        text: the whole of it.
        metadata: JSON values; with `title` where the document has one.
        more: what the framework kept beside, by names of its own; empty for documents that it did not write.
        origin: where it was read, empty when made in memory.
    """

    id: str
    text: str
    metadata: dict[str, Any]
    more: dict[str, Any]
    origin: str = ""


def document_of(doc_id: str, text: str, metadata: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Document:
    """Return the document to index.

    Args:
        doc_id: not empty.
        text: with something other than white space.
        metadata: keys are texts, values JSON.
        more: JSON values that the framework wants back, by names of its own.

    Raises:
        InvalidArgument: no id, no text, or a metadata value that JSON would not give back as it is.

    >>> document_of("a", "Some text", {"year": 1984, "huge": 2**70}).metadata
    {'year': 1984, '_kept': '{"metadata": {"huge": 1180591620717411303424}}'}
    """
    if not isinstance(doc_id, str) or not doc_id:
        raise InvalidArgument(f"A document's id is {doc_id!r}; it must be a text that is not empty.")
    if not isinstance(text, str) or not text.strip():
        raise InvalidArgument(
            f"The document {doc_id!r} has no text, so there is nothing to search in it; leave it out."
        )
    plain: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for name, value in metadata.items():
        _check(doc_id, name, value)
        (plain if _fits(name) and _fits(value) and name not in (KEPT, SPACES) else odd)[name] = value
    kept = {**({"metadata": odd} if odd else {}), **(more or {})}
    if kept:
        plain[KEPT] = json.dumps(kept)
    title = metadata.get("title")
    return Document(doc_id, text, title if isinstance(title, str) else "", plain, places=_places(text))


def from_payloads(payloads: Sequence[Mapping[str, Any]]) -> FrameworkDocument:
    """Return the document whose chunks have these payloads, in the order of their numbers."""
    document = document_from(payloads)
    metadata, more = apart(document.metadata)
    if document.title:
        metadata.setdefault("title", document.title)
    return FrameworkDocument(document.doc_id, _whole(payloads), metadata, more, document.origin)


def kept_documents(
    reader: CollectionReader, doc_ids: Iterable[str] | None = None, condition: Condition | None = None
) -> Iterator[FrameworkDocument]:
    """Documents by their ids, in the order asked for; those that are not there are passed over.

    Args:
        reader: of the collection.
        doc_ids: all of them when not given.
        condition: of the whole document, as it was given; a `text` in it is the whole text. Each document is looked at,
            so a field that none has is no error: no value of it satisfies anything.
    """
    of_text = condition is not None and any(leaf.path == ("text",) for leaf in leaves(condition))
    passes = None if of_text or condition is None else partial(matches, condition)
    for chunks in all_payloads(reader, reader.doc_ids() if doc_ids is None else doc_ids, passes):
        kept = from_payloads(chunks)
        if not of_text or condition is None or matches(condition, {**chunks[0], "text": kept.text}):
            yield kept


def kept_hits(
    query: str, request: SearchRequest, searcher: Searcher, opened: OpenCollection
) -> list[tuple[DocumentHit, FrameworkDocument]]:
    """Return the hits of a search, each with its document as it was given; one that is being written is left out."""
    found = [plain_hit(hit) for hit in hits(query, request, searcher, opened)]
    whole = {kept.id: kept for kept in kept_documents(opened.reader, [hit.doc_id for hit in found])}
    return [(hit, whole[hit.doc_id]) for hit in found if hit.doc_id in whole]


def plain_hit(hit: DocumentHit) -> DocumentHit:
    """Return a hit with the metadata that its document was given, and nothing of ours in it."""
    metadata, _ = apart(hit.metadata)
    if metadata.get("title") == hit.title:
        del metadata["title"]  # the hit has it already
    passages = tuple(
        passage._replace(metadata={name: value for name, value in passage.metadata.items() if name != SPACES})
        for passage in hit.passages
    )
    return replace(hit, metadata=metadata, passages=passages)


def given_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that a document was given, also where it comes from a search and has its evidence with it."""
    if not all(name in metadata for name in EVIDENCE):
        return dict(metadata)
    title = {"title": metadata["title"]} if metadata["title"] else {}
    return {**title, **without_evidence(metadata)}


def apart(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata as it was given, and what the framework kept beside."""
    own = {name: value for name, value in metadata.items() if name != KEPT}
    more: dict[str, Any] = json.loads(metadata[KEPT]) if KEPT in metadata else {}
    return {**own, **more.pop("metadata", {})}, more


def _check(doc_id: str, name: object, value: object) -> None:
    if not isinstance(name, str):
        raise InvalidArgument(f"A metadata key of {doc_id!r} is {name!r}; keys must be texts.")
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise InvalidArgument(
            f"The metadata field {name!r} of {doc_id!r} is {str(value)[:80]!r} ({type(value).__name__}), which JSON "
            "does not give back as it is. Take texts, finite numbers, true, false, null, lists, dicts with texts as "
            "keys; of a date its ISO form."
        )


def _fits(value: Any, depth: int = 0) -> bool:
    """Whether every store gives a JSON value back as it is."""
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, int):
        return -_LONG <= value < _LONG
    if isinstance(value, dict):
        return depth < MAX_NESTING and all(_fits(key) and _fits(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return depth < MAX_NESTING and all(_fits(item, depth + 1) for item in value)
    return True


def _places(text: str) -> tuple[Place, ...]:
    """Note the white space of a text, in the metadata of its first chunk alone."""
    runs = [(run.start(), run[0]) for run in _RUN.finditer(text)]
    telling = [(start, run) for start, run in runs if run != " " or start == 0 or start + 1 == len(text)]
    if not telling:
        return ()
    first = len(text) - len(text.lstrip())
    return (Place(0, {SPACES: json.dumps(telling)}), Place(first + 1, {}))


def _whole(payloads: Sequence[Mapping[str, Any]]) -> str:
    text = reassemble_text(payloads)
    parts, at = [], 0
    for start, run in json.loads(own_metadata(payloads[0]).get(SPACES, "[]")) if len(payloads) > 1 else ():
        parts += [text[at:start], run]
        at = start + len(run)
    return "".join([*parts, text[at:]])
