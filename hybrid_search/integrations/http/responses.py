"""What callers get, for the OpenAPI document alone: the objects themselves are made by `to_dict` of the results.

A test holds the two together, and lets neither have a field that the other lacks.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Shape(BaseModel):
    """What is described here is sent, never read."""


class Window(Shape):
    """A span of a text, in characters (code points), the end excluded."""

    start: int
    end: int


class Mark(Window):
    """A word that matches."""

    kind: Literal["literal", "expansion"] = Field(description="Whether the query itself has it, or only its expansion.")


class Passage(Shape):
    """A chunk of a document."""

    chunk_id: str
    start: int = Field(description="Where it begins in the document's text.")
    end: int
    text: str
    line: int | None = Field(None, ge=1, description="Of the file, on which it begins.")
    metadata: dict[str, Any] = Field({}, description="Its own: the page it begins on, the headings above it.")
    window: Window | None = Field(None, description="What to show of it.")
    highlights: list[Mark] = Field([], description="What of it matches, by place.")


class LegRank(Shape):
    """Where one leg placed a document's best chunk."""

    rank: int = Field(ge=1)
    score: float


class Word(Shape):
    """A term that query and document share: the two weights multiply to its contribution."""

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    leg: str
    in_query: bool


class Term(Shape):
    """A term of a query's expansion."""

    term: str
    weight: float
    in_query: bool
    word: str = Field("", description="Of a word piece, the query's word that it is part of.")


class Hit(Shape):
    """One document."""

    rank: int = Field(ge=1)
    doc_id: str
    score: float
    title: str
    metadata: dict[str, Any]
    chunks: list[Passage] = Field(description="Its passages that were found, best first.")
    legs: dict[str, LegRank | None] = Field(description="null for a leg that did not find it, or was not asked.")
    rerank_score: float | None
    origin: str = Field(description="Where its best chunk begins: `path:line`, or the path where lines are not known.")
    fused_rank: int | None = Field(None, description="Its rank before re-ranking.")
    matched_terms: list[Word] = Field([], description="With explain.")
    folded: list[str] = Field([], description="Documents further down that say the same.")


class Timings(Shape):
    """Milliseconds."""

    encode: float
    retrieve: float
    fuse: float
    rerank: float
    total: float


class Answer(Shape):
    """What `hybrid-search search --format json` prints."""

    query: str
    collection: str
    mode: str
    k: int
    timings_ms: Timings
    hits: list[Hit]
    reranker: str = ""
    reranked: int = 0
    rerank_depth: int = 0
    weights: dict[str, float] = {}
    offset: int = 0
    expansion: dict[str, list[Term]] = {}
    abstained: dict[str, str] = Field({}, description="By leg, why it brings nothing: its model knows no word of it.")
    unread: dict[str, list[str]] = Field({}, description="By leg, the parts of the query that its model does not know.")
    notes: list[str] = Field([], description="Where nothing was found, what of the filter cannot hold.")


class LegPlace(Shape):
    """Where one leg has a document, however deep."""

    rank: int | None
    score: float | None
    depth: int
    handed_on: bool
    cut_tokens: int


class Why(Shape):
    """What became of a document in a search."""

    query: str
    collection: str
    doc_id: str
    verdict: Literal["shown", "not indexed", "filtered out", "not found", "below depth", "outranked", "folded"]
    reason: str
    chunks: int
    passing: int
    clauses: list[str]
    legs: dict[str, LegPlace]
    fused_rank: int | None
    rerank_score: float | None
    rank: int | None
    folded_into: str


class Expansion(Shape):
    """What a sparse leg's model makes of a query, heaviest term first."""

    query: str
    collection: str
    leg: str
    model: str
    expansion: list[Term]


class Collection(Shape):
    """A collection that can be searched."""

    name: str
    documents: int
    chunks: int
    bytes_on_disk: int | None
    profile: str
    modes: list[str] = Field(description="The ways to search it, the usual one first.")


class Collections(Shape):
    """What this server serves."""

    collections: list[Collection]
    reranker: str | None = Field(description="The cross-encoder that `rerank` uses; null where there is none.")


class Health(Shape):
    """The server answers."""

    status: Literal["ok"]
    version: str


class Error(Shape):
    """What went wrong, with which value, and what to do; `kind` is the same in one word, for programs."""

    error: str
    kind: str


SHAPES = (Answer, Why, Expansion, Collections, Health, Error)
