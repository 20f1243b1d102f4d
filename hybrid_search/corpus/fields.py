"""Turns a record (a JSON object, a table's row) into a Document: an id, a title and a text; the rest is metadata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from hybrid_search._util.arguments import text, texts
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.guessing import check_encoding
from hybrid_search.types import Document, Failure

ID_FIELDS = ("_id", "id", "doc_id", "docid", "docno")
TEXT_FIELDS = ("text", "contents", "content", "body", "abstract", "description")
TITLE_FIELD = "title"
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class FieldMap:
    """What a reader cannot know by itself: the meaning of a record's fields, and the encoding of legacy files.

    Args:
        id_field: None for the first of `_id`, `id`, `doc_id`, `docid`, `docno` with a value, else `<file>:<line>`.
        text_fields: joined by a blank line, in this order; `title` among them is the title. Empty: the first of
            `text`, `contents`, `content`, `body`, `abstract`, `description` that has a value.
        title_field: None for `title`. All other fields become metadata.
        encoding: of text files that are not UTF-8 and have no byte order mark; empty for a guess, file by file.

    Raises:
        InvalidArgument: a name is not text, one text stands where several are expected, or the encoding is unknown.
    """

    id_field: str | None = None
    text_fields: tuple[str, ...] = ()
    title_field: str | None = None
    encoding: str = ""

    def __post_init__(self) -> None:
        if self.encoding:
            check_encoding(self.encoding)
        for name in ("id_field", "title_field"):
            if getattr(self, name) is not None:
                text(name, getattr(self, name))
        object.__setattr__(self, "text_fields", tuple(texts("text_fields", self.text_fields)))

    def required(self) -> tuple[str, ...]:
        """Return the fields that every record must have, because they were asked for by name."""
        asked = (self.id_field, self.title_field, *self.text_fields)
        return tuple(dict.fromkeys(name for name in asked if name is not None))


class BadRecord(ValueError):
    """The record cannot become a document; the message is the reason shown to the user."""


def check_columns(columns: Iterable[str], fields: FieldMap) -> None:
    """Check early that rows of a table can become documents.

    Raises:
        BadRecord: a field asked for by name is missing, or there is neither a text nor a title field.
    """
    names = list(columns)
    _check_named(names, fields)
    if not fields.text_fields and not fields.title_field and not {*TEXT_FIELDS, TITLE_FIELD}.intersection(names):
        raise BadRecord(f"no text: none of {', '.join(TEXT_FIELDS)} is among the fields {_listed(names)}")


def document_of(record: Mapping[str, Any], fields: FieldMap, *, origin: str, fallback_id: str) -> Document | Failure:
    """Return the record as a document, or why it cannot be one. If it has only a title, that is its text."""
    try:
        _check_named(record, fields)
        doc_id, id_field = _doc_id(record, fields, fallback_id)
        title_field = _title_field(fields)
        used = _text_fields(record, fields, title_field)
        title = _text(record, title_field).strip() if title_field else ""
        text = "\n\n".join(part for name in used if (part := _text(record, name)).strip())
        if not text:
            text, title = title, ""
        if not text:
            raise BadRecord(f"no text: it has the fields {_listed(record)}")
        metadata = _metadata(record, {id_field, title_field, *used})
    except BadRecord as error:
        return Failure(origin, str(error))
    return Document(doc_id=doc_id, text=text, title=title, metadata=metadata, origin=origin)


def json_value(value: Any, depth: int = 0) -> Any:
    """Convert any cell to a JSON value: dates become ISO text, bytes UTF-8 text, NaN and infinity None.

    Integers beyond 64 bits become text, so that no digit is lost; bytes that are not UTF-8 become None.

    Raises:
        BadRecord: the value is nested deeper than 32, or of a type that has no JSON form.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        if depth >= MAX_DEPTH:
            raise BadRecord(f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            return {without_surrogates(str(key)): json_value(item, depth + 1) for key, item in value.items()}
        return [json_value(item, depth + 1) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return json_value(value.tolist(), depth)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return json_value(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return None
    raise BadRecord(f"a value of type {type(value).__name__} has no JSON form")


def _check_named(names: Iterable[str], fields: FieldMap) -> None:
    there = list(names)
    missing = [name for name in fields.required() if name not in there]
    if missing:
        word = "field" if len(missing) == 1 else "fields"
        raise BadRecord(f"no {word} {_listed(missing)}; there are {_listed(there)}")


def _doc_id(record: Mapping[str, Any], fields: FieldMap, fallback_id: str) -> tuple[str, str | None]:
    names = ID_FIELDS if fields.id_field is None else (fields.id_field,)
    for name in names:
        plain = json_value(record.get(name))
        if isinstance(plain, (dict, list)):
            raise BadRecord(f"the id field {name!r} holds {_kind(plain)}, not a string or a number")
        if plain is not None and str(plain).strip():
            return str(plain), name
    if fields.id_field is not None:
        raise BadRecord(f"the id field {fields.id_field!r} is empty")
    return fallback_id, None


def _title_field(fields: FieldMap) -> str | None:
    """Return the title field; None if text fields were named and the title is not among them."""
    if fields.title_field is not None:
        return fields.title_field
    return TITLE_FIELD if not fields.text_fields or TITLE_FIELD in fields.text_fields else None


def _text_fields(record: Mapping[str, Any], fields: FieldMap, title_field: str | None) -> tuple[str, ...]:
    """Return the text fields: those named, else the first usual one with content (and empty ones before it)."""
    names = fields.text_fields or TEXT_FIELDS
    names = tuple(name for name in dict.fromkeys(names) if name != title_field)
    if fields.text_fields:
        return names
    for place, name in enumerate(names):
        if _text(record, name).strip():
            return names[: place + 1]
    return names


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        value = "\n\n".join(value)
    if isinstance(value, (dict, list, tuple, set)):
        raise BadRecord(f"the field {name!r} holds {_kind(value)}, not text")
    plain = json_value(value)
    return "" if plain is None else str(plain).replace("\0", "\ufffd")


def _metadata(record: Mapping[str, Any], taken: set[str | None]) -> dict[str, Any]:
    """Return the fields not taken; BEIR's nested `metadata` is spread out, behind the record's own fields."""
    rest = {key: value for key, value in record.items() if key not in taken}
    nested = rest.get("metadata")
    if isinstance(nested, dict):
        del rest["metadata"]
        rest = {**nested, **rest}
    metadata = {}
    for key, value in rest.items():
        try:
            cleaned = json_value(value)
        except BadRecord as error:
            raise BadRecord(f"the field {_listed([key])}: {error}") from None
        if cleaned is not None:
            metadata[without_surrogates(str(key))] = cleaned
    return metadata


def _listed(names: Iterable[str]) -> str:
    """Return up to twelve names, quoted, for a message."""
    shown = [repr(without_surrogates(str(name))) for name in names]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more if shown else "none"


def _kind(value: object) -> str:
    return "an object" if isinstance(value, dict) else "a list"
