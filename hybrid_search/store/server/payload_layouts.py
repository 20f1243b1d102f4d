"""Payload layouts of other programs: recognizing them, reading them as ours, and writing ours so that they can read it.

The facts about each were read in, and are tested against, langchain-qdrant 1.1, llama-index-vector-stores-qdrant
0.10, qdrant-haystack 13.1 and mcp-server-qdrant 0.8:

    langchain    {page_content, metadata}; vectors "" and langchain-sparse
    llamaindex   {_node_content (JSON), _node_type, doc_id, document_id, ref_doc_id, and each field of the metadata};
                 vectors text-dense and text-sparse-new, or one without a name
    haystack     {id, content, meta, blob, score}; vectors text-dense and text-sparse, or one without a name
    mcp          {document, metadata}; vector fast-MODEL
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.filters.syntax import path_of
from hybrid_search.manifest import Layout, LegSpec
from hybrid_search.types import LegName, point_id_of

FRAMEWORKS = ("langchain", "llamaindex", "haystack", "mcp")
PARTS = ("text", "metadata", "title", "doc_id", "start", "end", "origin")
"""The parts of a layout whose fields a user may name."""

Payload = Mapping[str, Any]
PointId = int | str | UUID

_LLAMAINDEX_OWN = ("_node_content", "_node_type", "document_id", "doc_id", "ref_doc_id")
_NO_DOCUMENT = "None"
"""What LlamaIndex writes as the document of a node that has none."""

_TEXTS = ("text", "content", "page_content", "document", "body", "chunk")
_METADATAS = ("metadata", "meta")
_ORIGINS = ("source", "file_path", "url")


def check_layout(name: str) -> str:
    """Validate and return a layout's name.

    Raises:
        InvalidArgument: no layout has this name.
    """
    if name not in FRAMEWORKS:
        raise InvalidArgument(f"layout is {name!r}; take one of: {', '.join(FRAMEWORKS)}.")
    return name


def layout_of(payloads: Sequence[Payload], name: str | None = None, fields: Mapping[str, str] | None = None) -> Layout:
    """Recognize how payloads are laid out.

    Args:
        payloads: a sample; one or more.
        name: whose layout it is; recognized when not given.
        fields: by part of a layout the field that holds it, instead of the recognized one; empty for none.

    Raises:
        InvalidArgument: no such layout, or an invalid field name.
        StoreError: no field is known to hold the texts, or none of these payloads has a text there.
    """
    given = dict(fields or {})
    for field in given.values():
        if field:
            path_of(field)
    found = _framework_layout(check_layout(name) if name else _recognize(payloads), payloads, given)
    layout = replace(found, **cast("dict[str, Any]", given))
    if not layout.metadata and layout.text:
        layout = replace(layout, hidden=tuple(dict.fromkeys([*layout.hidden, path_of(layout.text)[0]])))
    if not any(text_in(payload, layout) for payload in payloads):
        keys = ", ".join(sorted({key for payload in payloads for key in payload})) or "nothing"
        where = (
            f"none of the first {len(payloads)} points has a text in {layout.text!r}"
            if layout.text
            else ("it is the layout of no framework that is known here")
        )
        raise StoreError(
            f"Where the texts lie is not known: {where}. The payloads have: {keys}. Name the field: --text-field NAME"
        )
    return layout


def document_in(payload: Payload, layout: Layout) -> str | None:
    """Return the id of the document that a point belongs to; None where the point is a document of its own."""
    value = _at(payload, layout.doc_id)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        return None
    return None if layout.name == "llamaindex" and value == _NO_DOCUMENT else str(value)


def chunk_id_in(point: PointId, payload: Payload, layout: Layout) -> str:
    """Name a point here: its document's id with its own, or `ID#0` for a point that is a whole document.

    >>> chunk_id_in(7, {"meta": {"source_id": "a"}}, Layout("haystack", "content", "meta", doc_id="meta.source_id"))
    'a#p7'
    >>> chunk_id_in(7, {}, Layout("langchain", "page_content", "metadata"))
    '7#0'
    """
    doc_id = document_in(payload, layout)
    if doc_id is None:
        return f"{point}#0"
    # A bare number is the place of a chunk in its document.
    return f"{doc_id}#p{point}" if isinstance(point, int) else f"{doc_id}#{point}"


def point_in(chunk_id: str) -> PointId | None:
    """Return the point that a chunk id names, if it can name one. From `ID#0` that is `ID`."""
    doc_id, _, part = chunk_id.rpartition("#")
    if part.isdecimal():
        return _point(doc_id) if part == "0" else None
    return _point(part[1:] if part[:1] == "p" and part[1:].isdecimal() else part)


def read_as_ours(point: PointId, payload: Payload, layout: Layout, number: int = 0, chunks: int = 1) -> dict[str, Any]:
    """Convert a payload of another layout to ours (see `schema`).

    Args:
        point: the point's id.
        payload: theirs.
        layout: how it is laid out.
        number: of the chunk in its document, where it is known.
        chunks: of the document, where their number is known.
    """
    text, start, end = text_in(payload, layout), _at(payload, layout.start), _at(payload, layout.end)
    start = start if isinstance(start, int) and not isinstance(start, bool) else 0
    return {
        "chunk_id": chunk_id_in(point, payload, layout),
        "doc_id": document_in(payload, layout) or str(point),
        "number": number,
        "start": start,
        "end": end if isinstance(end, int) and end >= start else start + len(text),
        "text": text,
        "title": _text(_at(payload, layout.title)),
        "origin": _text(_at(payload, layout.origin)),
        "metadata": metadata_in(payload, layout),
        "chunks": chunks,
    }


def text_in(payload: Payload, layout: Layout) -> str:
    return _text(_at(payload, layout.text))


def metadata_in(payload: Payload, layout: Layout) -> dict[str, Any]:
    if not layout.metadata:
        return {key: value for key, value in payload.items() if key not in layout.hidden}
    found = _at(payload, layout.metadata)
    return dict(found) if isinstance(found, Mapping) else {}


def place_in(payload: Payload, layout: Layout) -> int:
    """Return the offset at which a chunk begins in its document; 0 where the payload does not say."""
    start = _at(payload, layout.start)
    return start if isinstance(start, int) else 0


def encoded_forms(payload: Payload, layout: Layout) -> list[str]:
    """Return the texts from which a point's vectors may have been made: bare, with its title, and LlamaIndex's form."""
    text, title = text_in(payload, layout), _text(_at(payload, layout.title))
    forms = [text, *([f"{title}\n{text}"] if title else [])]
    node = _json(payload.get("_node_content"))
    if isinstance(node, Mapping) and isinstance(node.get("metadata"), Mapping):
        template = str(node.get("metadata_template", "{key}: {value}"))
        left_out = node.get("excluded_embed_metadata_keys") or ()
        shown = [
            template.replace("{key}", str(key)).replace("{value}", str(value))
            for key, value in node["metadata"].items()
            if key not in left_out
        ]
        between = str(node.get("metadata_separator", node.get("metadata_seperator", "\n")))
        whole = str(node.get("text_template", "{metadata_str}\n\n{content}"))
        head = between.join(shown).strip()
        forms += [whole.replace("{metadata_str}", head).replace("{content}", text).strip()] if head else []
    return list(dict.fromkeys(forms))


def named_for(layout: str, legs: Mapping[LegName, LegSpec]) -> dict[LegName, LegSpec]:
    """Name the vectors of a new collection's legs as a framework expects them by default.

    Raises:
        InvalidArgument: the framework needs a dense leg, and there is none.
    """
    if not layout:
        return dict(legs)
    if "dense" not in legs and layout in ("haystack", "mcp"):
        raise InvalidArgument(f"The layout {layout!r} needs a dense leg; its readers search no collection without one.")
    dense = legs["dense"].model.split("/")[-1].lower() if "dense" in legs else ""
    names: dict[str, dict[LegName, str]] = {
        "langchain": {"dense": "", "sparse": "langchain-sparse"},
        "llamaindex": {"dense": "text-dense", "sparse": "text-sparse-new"},
        "haystack": {"dense": "text-dense", "sparse": "text-sparse"},
        "mcp": {"dense": f"fast-{dense}"},
    }
    return {leg: named(spec, names[layout].get(leg, leg)) for leg, spec in legs.items()}


def named(spec: LegSpec, vector: str) -> LegSpec:
    """Return the leg with its vector under this name, or under none."""
    return replace(spec, vector=vector, unnamed=not vector)


def add_framework_keys(payload: Payload, layout: str) -> dict[str, Any]:
    """Add the keys that a framework reads to a payload of ours. The metadata never overwrites our keys.

    Haystack makes metadata of every key that it does not know, so there ours appear beside the document's.
    """
    text, metadata = payload["text"], payload["metadata"]
    if layout == "langchain":
        return {**payload, "page_content": text}
    if layout == "mcp":
        return {**payload, "document": text}
    if layout == "haystack":
        return {**payload, "id": payload["chunk_id"], "content": text, "meta": metadata}
    if layout == "llamaindex":
        doc_id = payload["doc_id"]
        own = {"_node_content": _node(payload), "_node_type": "TextNode", "document_id": doc_id, "ref_doc_id": doc_id}
        return {**metadata, **payload, **own}
    return dict(payload)


def _node(payload: Payload) -> str:
    """Write a chunk as a node of LlamaIndex."""
    node = {
        "id_": str(point_id_of(payload["chunk_id"])),
        "embedding": None,
        "metadata": payload["metadata"],
        "excluded_embed_metadata_keys": [],
        "excluded_llm_metadata_keys": [],
        # "1" is the source, whose type is document, "4".
        "relationships": {
            "1": {"node_id": payload["doc_id"], "node_type": "4", "metadata": {}, "class_name": "RelatedNodeInfo"}
        },
        "text": payload["text"],
        "start_char_idx": payload["start"],
        "end_char_idx": payload["end"],
        "class_name": "TextNode",
    }
    return json.dumps(node, ensure_ascii=False)


def _recognize(payloads: Sequence[Payload]) -> str:
    signs = {
        "llamaindex": ("_node_content",),
        "langchain": ("page_content",),
        "haystack": ("content", "meta"),
        "mcp": ("document", "metadata"),
    }
    for name, keys in signs.items():
        if payloads and all(key in payload for payload in payloads for key in keys):
            return name
    return "given"


def _framework_layout(name: str, payloads: Sequence[Payload], given: Mapping[str, str]) -> Layout:
    """Return a framework's layout for these payloads. A field that only some of them have counts for all."""

    def some(kind: type, *fields: str) -> str:
        def right(value: Any) -> bool:
            return isinstance(value, kind) and not isinstance(value, bool)

        return next((field for field in fields if any(right(_at(payload, field)) for payload in payloads)), "")

    def inside(metadata: str, *keys: str) -> Iterator[str]:
        return (f"{metadata}.{key}" if metadata else key for key in keys)

    def whole(text: str, metadata: str, **parts: Any) -> Layout:
        title, origin = some(str, *inside(metadata, "title")), some(str, *inside(metadata, *_ORIGINS))
        return Layout(name, text, metadata, **{"title": title, "origin": origin, **parts})

    if name == "langchain":
        return whole("page_content", "metadata", start=some(int, "metadata.start_index"))
    if name == "mcp":
        return whole("document", "metadata")
    if name == "haystack":
        # What a splitter made tells its document; what was written whole is one.
        doc_id = some(str, "meta.source_id") or some(str, "id")
        return whole("content", "meta", doc_id=doc_id, start=some(int, "meta.split_idx_start"))
    if name == "llamaindex":
        text = some(str, "_node_content.text", "_node_content.text_resource.text") or "_node_content.text"
        bounds = {"start": "_node_content.start_char_idx", "end": "_node_content.end_char_idx"}
        return whole(text, "", doc_id="doc_id", hidden=_LLAMAINDEX_OWN, **bounds)
    text = given.get("text") or some(str, *_TEXTS)
    metadata = given["metadata"] if "metadata" in given else some(dict, *_METADATAS)
    return whole(text, metadata)


def _at(payload: Payload, field: str) -> Any:
    """Return the value of a field; None where there is none, or several."""
    if not field:
        return None
    found: Any = payload
    for key in path_of(field):
        found = _json(found) if isinstance(found, str) else found
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _point(text: str) -> PointId | None:
    if text.isdecimal():
        return int(text)
    try:
        return str(UUID(text))
    except ValueError:
        return None
