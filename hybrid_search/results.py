"""The results of a search: frozen values, the same in the terminal, in JSON and in the library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from hybrid_search._util.json_objects import (
    ChunkDict,
    ConfidenceDict,
    DefaultsDict,
    ExpansionDict,
    HitDict,
    MarkDict,
    MatchedTermDict,
    ResultsDict,
    TermDict,
    TimingsDict,
)
from hybrid_search.types import LEGS, LegHit, LegName, Mode

if TYPE_CHECKING:
    from hybrid_search.context import Context

Kind = Literal["literal", "expansion"]
"""Whether the query itself has the matching word, or only its expansion."""


ConfidenceWord = Literal["low", "fair", "high"]
"""How sure it is that an answer was found, in a word."""


class Confidence(NamedTuple):
    """How likely it is that something relevant is among the first ten documents, 0..1, and that in a word.

    `ranking.confidence` says how it is estimated.
    """

    value: float
    word: ConfidenceWord

    def to_dict(self) -> ConfidenceDict:
        """Return its fields by name."""
        return {"value": self.value, "word": self.word}


class Term(NamedTuple):
    """One dimension of a query's sparse vector: its vocabulary entry, its weight > 0, and whether the query has it.

    Args:
        word: for a word piece, the query's word that contains it; otherwise the term itself.
    """

    term: str
    weight: float
    in_query: bool
    word: str = ""

    def to_dict(self) -> TermDict:
        """Return the object that stands for it in the JSON of an expansion."""
        shown: TermDict = {"term": self.term, "weight": round(self.weight, 4), "in_query": self.in_query}
        if self.word not in ("", self.term):
            shown["word"] = self.word
        return shown


class Expansion(NamedTuple):
    """The terms that a sparse leg's model gives a query, heaviest first."""

    query: str
    collection: str
    leg: LegName
    model: str
    terms: tuple[Term, ...]

    def to_dict(self) -> ExpansionDict:
        """Return the object that `explain --format json` prints."""
        return {
            "query": self.query,
            "collection": self.collection,
            "leg": self.leg,
            "model": self.model,
            "expansion": [term.to_dict() for term in self.terms],
        }


class MatchedTerm(NamedTuple):
    """A term that query and document share, and its contribution to a leg's score.

    Args:
        term: the vocabulary's entry, or the query's word where dimensions are hashes.
        query_weight: in the query's vector, including the inverse document frequency if the store multiplies by it.
        document_weight: in the vector of the document's best chunk.
        contribution: their product; over a hit's terms of one leg they sum to the leg's score.
        leg: whose vectors they are.
        in_query: whether the query has it, or only its expansion.
    """

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    leg: LegName
    in_query: bool

    def to_dict(self) -> MatchedTermDict:
        """Return its fields by name."""
        return cast("MatchedTermDict", self._asdict())


class Mark(NamedTuple):
    """A matching word of a text: its span, end excluded, and how it matches."""

    start: int
    end: int
    kind: Kind

    def to_dict(self) -> MarkDict:
        """Return its fields by name."""
        return {"start": self.start, "end": self.end, "kind": self.kind}


class Highlight(NamedTuple):
    """What to show of a text: the window from `start` to `end` (excluded), and every mark in the text, by position."""

    start: int
    end: int
    marks: tuple[Mark, ...] = ()


class Passage(NamedTuple):
    """A chunk as shown inside a result.

    Args:
        start, end: its span of the document's text.
        score: after fusion.
        highlight: what matches, in offsets of `text`; None if it was not requested.
        metadata: what it has beyond its document's: the page it begins on, the headings above it.
        line: line of the file on which it begins, from 1; 0 if unknown.
        context: what models read with it: the header of its table, the path and the names around a piece of code.
    """

    chunk_id: str
    start: int
    end: int
    text: str
    score: float
    highlight: Highlight | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})
    line: int = 0
    context: str = ""

    def to_dict(self) -> ChunkDict:
        """Return the object that stands for it in a hit's `chunks`."""
        shown: ChunkDict = {"chunk_id": self.chunk_id, "start": self.start, "end": self.end, "text": self.text}
        if self.line:
            shown["line"] = self.line
        if self.metadata:
            shown["metadata"] = dict(self.metadata)
        if self.context:
            shown["context"] = self.context
        if self.highlight is not None:
            shown["window"] = {"start": self.highlight.start, "end": self.highlight.end}
            shown["highlights"] = [mark.to_dict() for mark in self.highlight.marks]
        return shown


@dataclass(frozen=True, slots=True)
class DocumentHit:
    """One document in the results.

    Args:
        rank: from 1.
        score: of its best chunk, after fusion. Re-ranked hits are ordered by `rerank_score` instead.
        passages: its chunks that were found, best first.
        legs: for every leg of the collection, rank and score of the document's best chunk; None if the leg did not find
            it, or was not searched.
        rerank_score: the re-ranker's score of its best chunk; None if it was not scored.
        fused_rank: its rank before re-ranking; None if nothing was re-ranked.
        matched_terms: what its best chunk shares with the query in every leg of words that found it, largest
            contribution first; None if no explanation was requested.
        folded: ids of lower-ranked near-duplicates that were left out for it.
    """

    rank: int
    doc_id: str
    score: float
    title: str
    metadata: Mapping[str, Any]
    origin: str
    passages: tuple[Passage, ...]
    legs: Mapping[str, LegHit | None]
    rerank_score: float | None = None
    fused_rank: int | None = None
    matched_terms: tuple[MatchedTerm, ...] | None = None
    folded: tuple[str, ...] = ()

    def location(self, passage: Passage | None = None) -> str:
        """Return where a passage, by default the best one, begins: `path:line`, or the origin for an unknown line."""
        line = (passage or self.passages[0]).line
        return f"{self.origin}:{line}" if line and self.origin else self.origin

    def place(self, passage: Passage) -> str:
        """Return where in the document a passage begins, in words: `page 3`, or the headings below the title.

        Metadata whose names begin with `_` is for programs.
        """
        told = {name: value for name, value in passage.metadata.items() if not name.startswith("_")}
        shown = {name: str(value) if name == "heading" else f"{name} {value}" for name, value in told.items()}
        if "heading" in shown:
            shown["heading"] = (
                "" if shown["heading"] == self.title else shown["heading"].removeprefix(self.title + " > ")
            )
        return " · ".join(words for words in shown.values() if words)

    def to_dict(self) -> HitDict:
        """Return the object that `search --format json` prints for a hit; its origin is where its best chunk begins."""
        shown: HitDict = {
            "rank": self.rank,
            "doc_id": self.doc_id,
            "score": self.score,
            "title": self.title,
            "metadata": dict(self.metadata),
            "chunks": [passage.to_dict() for passage in self.passages],
            "legs": {
                leg: None if hit is None else {"rank": hit.rank, "score": hit.score} for leg, hit in self.legs.items()
            },
            "rerank_score": self.rerank_score,
            "origin": self.location(),
        }
        if self.fused_rank is not None:
            shown["fused_rank"] = self.fused_rank
        if self.matched_terms is not None:
            shown["matched_terms"] = [term.to_dict() for term in self.matched_terms]
        if self.folded:
            shown["folded"] = list(self.folded)
        return shown


ABSTAINS = "reads nothing of the query"
"""Why a leg has no hits: its model knows none of the query's words, or the query has none."""

NO_TEXT = "gets no text, only the weights of terms for another leg"
"""Why a leg has no hits: the query was given as weights of terms alone."""

NO_TERM = "has none of the given terms"
"""Why a leg has no hits that takes weights of terms."""


NO_GOOD_ANSWER = "Probably no good answer: the confidence is {:.2f}."
"""What is said of hits of which it is more likely than not that none answers."""


def abstention(reasons: Mapping[LegName, str]) -> tuple[str, ...]:
    """Say in sentences which legs abstain, and why; None where none does.

    >>> abstention({"sparse": ABSTAINS, "dense": ABSTAINS})
    ('The legs sparse and dense abstain: their model reads nothing of the query.',)
    """
    by_reason: dict[str, list[LegName]] = {}
    for leg, reason in reasons.items():
        by_reason.setdefault(reason, []).append(leg)
    return tuple(
        f"The leg {legs[0]} abstains: its model {reason}."
        if len(legs) == 1
        else f"The legs {', '.join(legs[:-1])} and {legs[-1]} abstain: their model {reason}."
        for reason, legs in by_reason.items()
    )


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one query: the hits, and the milliseconds of each stage; `total` includes reading what is shown.

    Args:
        legs: those that were searched.
        reranker: the model that re-ranked them; empty if nothing was re-ranked.
        reranked: number of documents that it scored.
        rerank_depth: number of documents that it was to score; more than `reranked` if its time ran out.
        weights: by leg, if they were given or chosen for this query; else empty.
        expansion: of the query by leg, heaviest term first, if an explanation was requested; else empty.
        offset: number of documents skipped before the first hit.
        abstained: by leg, why it found nothing: its model knows no word of the query.
        unread: by leg, the parts of the query that its model does not know.
        notes: if nothing is shown, which conditions of the filter cannot hold, or that the confidence is too low.
        vector: the weights of the query's terms, by term, if they were given; else empty. A query without a text has
            the terms as its `query`.
        confidence: whether an answer was found; None where nothing tells it.
        defaults: the settings that were the collection's own, with the evidence for them; empty where none was.
    """

    query: str
    collection: str
    mode: Mode
    k: int
    hits: tuple[DocumentHit, ...]
    timings_ms: Mapping[str, float]
    legs: tuple[LegName, ...] = LEGS
    reranker: str = ""
    reranked: int = 0
    rerank_depth: int = 0
    weights: Mapping[LegName, float] = field(default_factory=dict)
    expansion: Mapping[LegName, tuple[Term, ...]] = field(default_factory=dict)
    offset: int = 0
    abstained: Mapping[LegName, str] = field(default_factory=dict)
    unread: Mapping[LegName, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    vector: Mapping[str, float] = field(default_factory=dict)
    confidence: Confidence | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[DocumentHit]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> DocumentHit:
        return self.hits[place]

    def to_context(self, max_tokens: int, tokenizer: Any = None, citations: bool = True) -> Context:
        """Pack the best passages into a text for a prompt, at most `max_tokens` long, with numbered citations.

        See `context.to_context` for what may count tokens, what is left out and what is merged.
        """
        from hybrid_search.context import to_context  # not needed to search, and it reads this module

        return to_context(self, max_tokens, tokenizer, citations)

    def remarks(self) -> tuple[str, ...]:
        """Say in sentences what of the query was not read, and by which leg; that an answer is unlikely; the notes."""
        by_words: dict[tuple[str, ...], list[LegName]] = {}
        for leg, words in self.unread.items():
            if leg not in self.abstained:
                by_words.setdefault(words, []).append(leg)
        partly = (f"Not known to {' and '.join(legs)}: {', '.join(words)}." for words, legs in by_words.items())
        found = self.confidence if self.hits else None
        doubt = (NO_GOOD_ANSWER.format(found.value),) if found and found.word == "low" else ()
        return (*abstention(self.abstained), *partly, *doubt, *self.notes)

    def run_scores(self) -> list[float]:
        """Return a score for each hit, for a run; they fall with the rank.

        These are the hits' scores. After re-ranking they are 1 / rank, for scores of a re-ranker and scores of
        documents that it did not read are on different scales.
        """
        return [1 / hit.rank if self.reranker else hit.score for hit in self.hits]

    def to_dict(self) -> ResultsDict:
        """Return the object that `search --format json` prints; what was not asked for has no key."""
        shown: ResultsDict = {
            "query": self.query,
            "collection": self.collection,
            "mode": self.mode,
            "k": self.k,
            "timings_ms": cast("TimingsDict", {stage: round(ms, 3) for stage, ms in self.timings_ms.items()}),
            "hits": [hit.to_dict() for hit in self.hits],
        }
        if self.reranker:
            shown["reranker"] = self.reranker
            shown["reranked"], shown["rerank_depth"] = self.reranked, self.rerank_depth
        if self.weights:
            shown["weights"] = dict(self.weights)
        if self.offset:
            shown["offset"] = self.offset
        if self.expansion:
            shown["expansion"] = {leg: [term.to_dict() for term in terms] for leg, terms in self.expansion.items()}
        if self.abstained:
            shown["abstained"] = dict(self.abstained)
        if self.unread:
            shown["unread"] = {leg: list(words) for leg, words in self.unread.items()}
        if self.notes:
            shown["notes"] = list(self.notes)
        if self.vector:
            shown["vector"] = dict(self.vector)
        if self.confidence is not None:
            shown["confidence"] = self.confidence.to_dict()
        if self.defaults:
            shown["defaults"] = cast("DefaultsDict", dict(self.defaults))
        return shown
