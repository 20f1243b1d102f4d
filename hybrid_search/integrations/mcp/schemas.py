"""What the tools accept and return, as types, from which the MCP library makes the schemas for clients."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import Field
from typing_extensions import NotRequired, TypedDict, get_type_hints

from hybrid_search._util.json_objects import (
    ChunkDict,
    CollectionDict,
    DocumentExplanationDict,
    ExpansionDict,
    HitWithoutChunks,
    ResultsWithoutHits,
)
from hybrid_search.integrations.mcp.bounds import MAX_FIELD_NAME, MAX_ID
from hybrid_search.integrations.option_fields import limits_of
from hybrid_search.search.options import Option
from hybrid_search.search.request import RERANK_DEPTH, search_options

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
Vector = Annotated[str, parameter(OPTIONS["vector"], "`query` may be empty then. Empty for none.", max_length=10_000)]
Rerank = Annotated[
    bool,
    Field(
        strict=True,
        description=f"Let a cross-encoder read the first {RERANK_DEPTH} documents and put them in "
        "order: better, and slower.",
    ),
]
MinConfidence = Annotated[
    float,
    Field(
        strict=True,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description=f"{OPTIONS['min_confidence'].help} `confidence` in an answer has it. 0 shows all.",
    ),
]
MinScore = Annotated[
    str,
    parameter(
        OPTIONS["min_score"],
        "In the leg's own unit; several with commas between them. Empty for none.",
        max_length=1_000,
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


class ChunkShown(ChunkDict):
    """Text of a document: `start` and `end` are its offsets there, in characters.

    Of a value of the metadata that ends in `… [cut: ...]` `get` reads the rest; `fields_left_out` is how many fields
    are not shown.
    """

    fields_left_out: NotRequired[int]


class HitShown(HitWithoutChunks):
    """One document; `chunks_left_out` is how many of the chunks that were found are not shown."""

    chunks: list[ChunkShown]
    fields_left_out: NotRequired[int]
    chunks_left_out: NotRequired[int]


class Found(ResultsWithoutHits):
    """What `search` answers: the object that `hybrid-search search --format json` prints, its texts cut to size.

    `cut` is there where it would have been too long otherwise: what is missing, and how it is had.
    """

    hits: list[HitShown]
    cut: NotRequired[str]


class ExpansionShown(ExpansionDict):
    """The words that a query is searched by; `terms_left_out` is how many of them are not shown."""

    terms_left_out: NotRequired[int]


def _either(name: str, doc: str, *kinds: Any) -> Any:
    """Return one object type with the keys of several; those that some lack may be missing.

    A tool's schema has to be that of one object, and several clients read no union.
    """
    fields: dict[str, Any] = {}
    for kind in kinds:
        for key, annotation in get_type_hints(kind, include_extras=True).items():
            everywhere = all(key in other.__required_keys__ for other in kinds)
            fields[key] = annotation if everywhere else NotRequired[_without_marker(annotation)]
    made = TypedDict(name, fields)  # type: ignore[misc]
    made.__doc__ = doc
    return made


def _without_marker(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is NotRequired else annotation


if TYPE_CHECKING:
    Explained = ExpansionShown | DocumentExplanationDict
else:
    Explained = _either(
        "Explained",
        "What `explain` answers: `leg`, `model` and `expansion` without doc_id, else what became of the document.",
        ExpansionShown,
        DocumentExplanationDict,
    )


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


class CollectionShown(CollectionDict):
    """One collection. `fields` is there where one collection was asked for: what a filter may name, and its type."""

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
