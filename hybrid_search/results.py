"""What a search answers: frozen values, the same in the terminal, in JSON and in a library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hybrid_search.types import LEGS, LegHit, LegName, Mode


class Passage(NamedTuple):
    """A chunk as shown inside a result: its span of the document's text, and its fused score."""

    chunk_id: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class DocumentHit:
    """One document in the results.

    Args:
        rank: from 1.
        score: of its best chunk, after fusion. Re-ranked hits stand in the order of `rerank_score` instead.
        passages: its chunks that were found, best first.
        legs: for every leg of the collection, where it placed the document's best chunk; None where it did not find
            that, or was not asked.
        rerank_score: what the re-ranker gave its best chunk; None where it did not read it.
        fused_rank: its rank before re-ranking; None where nothing was re-ranked.
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

    def to_dict(self) -> dict[str, Any]:
        """The object that `search --format json` prints for a hit."""
        return {
            "rank": self.rank,
            "doc_id": self.doc_id,
            "score": self.score,
            "title": self.title,
            "metadata": dict(self.metadata),
            "chunks": [{"chunk_id": p.chunk_id, "start": p.start, "end": p.end, "text": p.text} for p in self.passages],
            "legs": {
                leg: None if hit is None else {"rank": hit.rank, "score": hit.score} for leg, hit in self.legs.items()
            },
            "rerank_score": self.rerank_score,
            **({} if self.fused_rank is None else {"fused_rank": self.fused_rank}),
        }


@dataclass(frozen=True, slots=True)
class Results:
    """The answer to one query: the hits, and the milliseconds of each stage; `total` also has reading what is shown.

    Args:
        legs: those that were searched.
        reranker: the model that re-ranked them; empty where nothing was re-ranked.
        reranked: documents that it scored.
        rerank_depth: documents that it was to score; more than `reranked` where its time ran out.
        weights: by leg, where they were chosen for this query; else empty.
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

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[DocumentHit]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> DocumentHit:
        return self.hits[place]

    def run_scores(self) -> list[float]:
        """For a run: a score of each hit that falls with its rank.

        The hits' own; or 1 / rank where they were re-ranked, for the scores of a re-ranker and those of documents that
        it did not read are on two scales.
        """
        return [1 / hit.rank if self.reranker else hit.score for hit in self.hits]

    def to_dict(self) -> dict[str, Any]:
        """The object that `search --format json` prints; what was not asked for has no key."""
        how_far = {"reranker": self.reranker, "reranked": self.reranked, "rerank_depth": self.rerank_depth}
        return {
            "query": self.query,
            "collection": self.collection,
            "mode": self.mode,
            "k": self.k,
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings_ms.items()},
            "hits": [hit.to_dict() for hit in self.hits],
            **(how_far if self.reranker else {}),
            **({"weights": dict(self.weights)} if self.weights else {}),
        }
