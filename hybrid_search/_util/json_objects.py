"""The JSON objects that searches answer with, in the terminal, over HTTP and over MCP: what `to_dict` returns.

Schemas are made of them, so each field stands here once. A key that is `NotRequired` is missing where it has nothing to
tell. Offsets count characters (code points), and an end is excluded.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from typing_extensions import Doc, NotRequired, TypedDict


class Says(Doc):
    """What a field is; pydantic writes it into the schema."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(schema), "description": self.documentation}


class SpanDict(TypedDict):
    """A span of a text."""

    start: int
    end: int


class MarkDict(TypedDict):
    """A word that matches."""

    start: int
    end: int
    kind: Annotated[Literal["literal", "expansion"], Says("Whether the query has it, or only the query's expansion.")]


class ChunkDict(TypedDict):
    """A chunk of a document."""

    chunk_id: str
    start: Annotated[int, Says("Where it begins in the document's text.")]
    end: int
    text: str
    line: NotRequired[Annotated[int, Says("The line of the file on which it begins, from 1.")]]
    metadata: NotRequired[Annotated[dict[str, Any], Says("Its own: the page it begins on, the headings above it.")]]
    context: NotRequired[Annotated[str, Says("What models read with it: a table's header, the names around code.")]]
    window: NotRequired[Annotated[SpanDict, Says("What to show of it.")]]
    highlights: NotRequired[Annotated[list[MarkDict], Says("What of it matches, by place.")]]


class LegHitDict(TypedDict):
    """Where a leg placed the document's best chunk."""

    rank: int
    score: float


class TermDict(TypedDict):
    """A term of a query's expansion."""

    term: str
    weight: float
    in_query: Annotated[bool, Says("Whether the query has it, or only its expansion.")]
    word: NotRequired[Annotated[str, Says("Of a word piece, the query's word that it is part of.")]]


class ExpansionDict(TypedDict):
    """What a sparse leg's model makes of a query, heaviest term first."""

    query: str
    collection: str
    leg: str
    model: str
    expansion: list[TermDict]


class MatchedTermDict(TypedDict):
    """A term that query and document share: the two weights multiply to its contribution."""

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    leg: str
    in_query: bool


class HitWithoutChunks(TypedDict):
    """A document, without what was found of it."""

    rank: Annotated[int, Says("From 1.")]
    doc_id: str
    score: float
    title: str
    metadata: dict[str, Any]
    legs: Annotated[dict[str, LegHitDict | None], Says("null for a leg that did not find it, or was not asked.")]
    rerank_score: float | None
    origin: Annotated[str, Says("Where its best chunk begins: `path:line`, or the path where lines are not known.")]
    fused_rank: NotRequired[Annotated[int, Says("Its rank before re-ranking.")]]
    matched_terms: NotRequired[Annotated[list[MatchedTermDict], Says("With explain.")]]
    folded: NotRequired[Annotated[list[str], Says("Documents further down that say the same.")]]


class HitDict(HitWithoutChunks):
    """One document."""

    chunks: Annotated[list[ChunkDict], Says("Its chunks that were found, best first.")]


class ConfidenceDict(TypedDict):
    """Whether an answer was found."""

    value: Annotated[float, Says("0..1: how likely it is that something relevant is among the first ten documents.")]
    word: Annotated[Literal["low", "fair", "high"], Says("low: there is probably no good answer.")]


class TimingsDict(TypedDict):
    """Milliseconds."""

    encode: float
    retrieve: float
    fuse: float
    rerank: float
    total: float


class DefaultsDict(TypedDict):
    """Settings of searches that are a collection's own, and what they were chosen on."""

    fusion: NotRequired[str]
    rrf_k: NotRequired[float]
    weights: NotRequired[dict[str, float] | str]
    depth: NotRequired[int]
    rerank: NotRequired[str]
    rerank_depth: NotRequired[int]
    query_dims: NotRequired[dict[str, int]]
    learned: NotRequired[dict[str, float]]
    evidence: NotRequired[dict[str, str | int | dict[str, float]]]


class ResultsWithoutHits(TypedDict):
    """The answer to a query, without its hits."""

    query: str
    collection: str
    mode: str
    k: int
    timings_ms: TimingsDict
    reranker: NotRequired[str]
    reranked: NotRequired[Annotated[int, Says("Documents that the cross-encoder has read.")]]
    rerank_depth: NotRequired[Annotated[int, Says("Documents that it was to read.")]]
    weights: NotRequired[Annotated[dict[str, float], Says("By leg, where they were given, or chosen for this query.")]]
    offset: NotRequired[int]
    expansion: NotRequired[Annotated[dict[str, list[TermDict]], Says("Of the query by leg, with explain.")]]
    abstained: NotRequired[
        Annotated[dict[str, str], Says("By leg, why it brings nothing: its model knows no word of it.")]
    ]
    unread: NotRequired[
        Annotated[dict[str, list[str]], Says("By leg, the parts of the query that its model does not know.")]
    ]
    notes: NotRequired[
        Annotated[list[str], Says("Where nothing is shown, why: what of the filter cannot hold, what was too low.")]
    ]
    vector: NotRequired[Annotated[dict[str, float], Says("The weights of the query's terms, where they were given.")]]
    confidence: NotRequired[Annotated[ConfidenceDict, Says("Missing where nothing tells it.")]]
    defaults: NotRequired[Annotated[DefaultsDict, Says("The settings that were the collection's own (tune).")]]


class ResultsDict(ResultsWithoutHits):
    """What `hybrid-search search --format json` prints."""

    hits: list[HitDict]


class LegPlaceDict(TypedDict):
    """Where one leg has a document, however deep."""

    rank: int | None
    score: float | None
    depth: Annotated[int, Says("Chunks that the leg hands on.")]
    handed_on: bool
    cut_tokens: Annotated[int, Says("Tokens of the document that the leg's model did not read.")]


class DocumentExplanationDict(TypedDict):
    """What became of a document in a search."""

    query: str
    collection: str
    doc_id: str
    verdict: Literal[
        "shown", "not indexed", "filtered out", "not found", "below depth", "outranked", "folded", "withheld"
    ]
    reason: str
    chunks: Annotated[int, Says("Chunks that it has.")]
    passing: Annotated[int, Says("Of these, those that the filter lets pass.")]
    clauses: Annotated[list[str], Says("Of the filter, those that do not hold for it.")]
    legs: dict[str, LegPlaceDict]
    fused_rank: int | None
    rerank_score: float | None
    rank: int | None
    folded_into: Annotated[str, Says("The document that says the same and stands for it.")]
    defaults: NotRequired[Annotated[DefaultsDict, Says("The settings that were the collection's own (tune).")]]


class CollectionDict(TypedDict):
    """What `hybrid-search collections list --format json` prints for a collection."""

    name: str
    documents: int
    chunks: int
    bytes_on_disk: int | None
    profile: str
