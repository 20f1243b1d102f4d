"""What the tools take and give, as types: the MCP library makes the schemas of them that clients read."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from hybrid_search.integrations.mcp.bounds import MAX_FIELD_NAME, MAX_ID
from hybrid_search.integrations.option_fields import limits_of
from hybrid_search.search.options import Option
from hybrid_search.search.request import search_options

OPTIONS = {option.name: option for option in search_options()}
MAX_K = 100
MAX_QUERY = 10_000
TEXT_CHARS, MIN_TEXT_CHARS, MAX_TEXT_CHARS = 400, 40, 20_000
GET_CHARS, MAX_GET_CHARS = 20_000, 200_000


def parameter(option: Option, more: str = "", **limits: Any) -> Any:
    """Return an option of a search as the field of a tool's parameter: its bounds, strictly, and its help.

    Args:
        option: of `OPTIONS`; `dataclasses.replace` narrows it.
        more: said after its help.
        limits: more keywords of pydantic's `Field`, such as `max_length`.
    """
    return Field(strict=True, description=f"{option.help} {more}".rstrip(), **limits_of(option), **limits)


Query = Annotated[str, Field(max_length=MAX_QUERY, description="What to look for, in plain words; a question is fine.")]
Collection = Annotated[
    str,
    Field(
        max_length=200,
        description="The collection, by its name (see `status`). May be left out where there is only one.",
    ),
]
K = Annotated[int, parameter(replace(OPTIONS["k"], most=MAX_K), f"At most {MAX_K}.")]
Offset = Annotated[int, parameter(OPTIONS["offset"], "So with k=10 offset=10 is the next page.")]
Mode = Annotated[
    str,
    parameter(
        OPTIONS["mode"],
        "`hybrid` is the right choice nearly always; `sparse` goes by words, for exact names, codes and rare terms; "
        "`dense` goes by meaning; `status` lists the modes of a collection.",
        max_length=200,
    ),
]
Where = Annotated[
    str, parameter(OPTIONS["where"], "See the description of the tool. Empty for none.", max_length=10_000)
]
Rerank = Annotated[
    bool,
    Field(
        strict=True,
        description=f"Let a cross-encoder read the first {OPTIONS['rerank_depth'].default} documents and put them in "
        "order: better, and slower.",
    ),
]
TextChars = Annotated[
    int,
    Field(
        strict=True,
        ge=MIN_TEXT_CHARS,
        le=MAX_TEXT_CHARS,
        description=f"Characters to show of each chunk, around what matches best, {MIN_TEXT_CHARS} to "
        f"{MAX_TEXT_CHARS:,}; fewer where an answer would be too long.",
    ),
]
DocId = Annotated[str, Field(max_length=MAX_ID, description="The `doc_id` of a hit.")]
ChunkId = Annotated[str, Field(max_length=MAX_ID, description="The `chunk_id` of a hit, instead of doc_id.")]
FirstLine = Annotated[
    int, Field(strict=True, ge=1, description="First line wanted of the document's stored text; lines count from 1.")
]
LastLine = Annotated[
    int, Field(strict=True, ge=0, description="Last line wanted, itself included; 0 for the end of the document.")
]
FromChar = Annotated[
    int,
    Field(
        strict=True, ge=0, description="Characters of what is wanted to pass over: `next_offset` of the answer before."
    ),
]
GetChars = Annotated[
    int, Field(strict=True, ge=1, le=MAX_GET_CHARS, description=f"Characters to give at most, 1 to {MAX_GET_CHARS:,}.")
]
FieldName = Annotated[
    str,
    Field(
        max_length=MAX_FIELD_NAME,
        description="A field of the metadata, to read its value in place of the text: for values that are cut.",
    ),
]
Leg = Annotated[str, Field(max_length=100, description="Without doc_id: the leg of words whose model is asked.")]


class Place(TypedDict):
    """Where a leg placed the document's best chunk."""

    rank: int
    score: float


class ChunkShown(TypedDict):
    """Text of a document: `start` and `end` are its offsets there, in characters.

    Of a value of the metadata that ends in `… [cut: ...]` `get` reads the rest; `fields_left_out` is how many fields
    are not shown.
    """

    chunk_id: str
    start: int
    end: int
    text: str
    line: NotRequired[int]
    metadata: NotRequired[dict[str, Any]]
    fields_left_out: NotRequired[int]


class HitShown(TypedDict):
    """One document; `chunks_left_out` is how many of the chunks that were found are not shown."""

    rank: int
    doc_id: str
    score: float
    title: str
    metadata: dict[str, Any]
    chunks: list[ChunkShown]
    legs: dict[str, Place | None]
    rerank_score: float | None
    origin: str
    fused_rank: NotRequired[int]
    fields_left_out: NotRequired[int]
    chunks_left_out: NotRequired[int]


class Found(TypedDict):
    """What `search` answers: the object that `hybrid-search search --format json` prints, its texts cut to size.

    `cut` is there where it would have been too long otherwise: what is missing, and how it is had.
    """

    query: str
    collection: str
    mode: str
    k: int
    timings_ms: dict[str, float]
    hits: list[HitShown]
    offset: NotRequired[int]
    reranker: NotRequired[str]
    reranked: NotRequired[int]
    rerank_depth: NotRequired[int]
    abstained: NotRequired[dict[str, str]]
    unread: NotRequired[dict[str, list[str]]]
    notes: NotRequired[list[str]]
    cut: NotRequired[str]


class TermShown(TypedDict):
    """A word that the query is searched by."""

    term: str
    weight: float
    in_query: bool
    word: NotRequired[str]


class LegShown(TypedDict):
    """Where one leg has the document."""

    rank: int | None
    score: float | None
    depth: int
    handed_on: bool
    cut_tokens: int


class Explained(TypedDict):
    """What `explain` answers: `leg`, `model` and `expansion` without doc_id, else what became of the document."""

    query: str
    collection: str
    leg: NotRequired[str]
    model: NotRequired[str]
    expansion: NotRequired[list[TermShown]]
    terms_left_out: NotRequired[int]
    doc_id: NotRequired[str]
    verdict: NotRequired[str]
    reason: NotRequired[str]
    chunks: NotRequired[int]
    passing: NotRequired[int]
    clauses: NotRequired[list[str]]
    legs: NotRequired[dict[str, LegShown]]
    fused_rank: NotRequired[int | None]
    rerank_score: NotRequired[float | None]
    rank: NotRequired[int | None]
    folded_into: NotRequired[str]


class Lines(TypedDict):
    """Which lines of the document's stored text the answer is of, both included, and how many there are."""

    first: int
    last: int
    total: int


class Got(TypedDict):
    """What `get` answers.

    `start` and `end` are offsets of `text` in the document, or with `field` in that field's value. `next_offset` is
    there where not all of it is in the answer: give it as `offset` for what follows.
    """

    collection: str
    doc_id: str
    title: str
    origin: str
    metadata: dict[str, Any]
    uri: str
    start: int
    end: int
    text: str
    lines: NotRequired[Lines]
    chunk_id: NotRequired[str]
    field: NotRequired[str]
    fields_left_out: NotRequired[int]
    next_offset: NotRequired[int]


class LegOfStatus(TypedDict):
    """A leg of a collection and its model."""

    model: str
    kind: str
    in_hybrid: bool


class CollectionShown(TypedDict):
    """One collection. `fields` is there where one collection was asked for: what a filter may name, and its type."""

    name: str
    documents: int
    chunks: int
    bytes_on_disk: int | None
    profile: str
    created: str
    age_s: int | None
    modes: list[str]
    legs: dict[str, LegOfStatus]
    fields: NotRequired[dict[str, str]]
    fields_left_out: NotRequired[int]


class Status(TypedDict):
    """What `status` answers; `problems` are collections that cannot be read, and why.

    `left_out` is how many collections and problems are not shown.
    """

    store: str
    collections: list[CollectionShown]
    problems: list[str]
    left_out: NotRequired[int]
