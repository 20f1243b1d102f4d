"""What a search answers, as the frameworks' documents take it: an id, a text, JSON metadata and a score.

One document of a framework is one document of the answer, in the order of the answer and with its score, so that an
adapter returns what `Searcher.search` does: k counts documents, not chunks. Its text is that of the document's best
passage, as it is what was compared with the query and what a prompt has room for; the others are in `Results`, and
`Results.to_context` packs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from hybrid_search.results import DocumentHit, Results

EVIDENCE = (
    "doc_id", "chunk_id", "start", "end", "title", "origin", "rank", "score", "legs", "rerank_score",
)  # fmt: skip
"""The keys that `found` adds to the document's own metadata."""

OWN = "own"
"""The key under which the document's own values of those names are, where it has any."""


class Found(NamedTuple):
    """One document of an answer.

    Args:
        id: the chunk_id of its best passage: what the text is of. The document's id is `metadata["doc_id"]`.
        content: the text of its best passage.
        metadata: JSON values only, and nobody else's to change: the document's own, the passage's (`page`, `heading`),
            and every key of `EVIDENCE`. `start` and `end` are the passage's span of the document's text, in characters;
            `rank` counts from 1; `legs` has {"rank", "score"} by leg, null where the leg did not find the passage;
            `rerank_score` is null where nothing was re-ranked. Of one name ours stands, the document's own is then
            under `own`.
        score: of the hit, after fusion: higher is better. Re-ranked hits stand in the order of `rerank_score` instead.
    """

    id: str
    content: str
    metadata: dict[str, Any]
    score: float


def found(results: Results) -> list[Found]:
    """Return the documents of an answer, best first."""
    return [found_one(hit) for hit in results]


def found_one(hit: DocumentHit) -> Found:
    """One hit of an answer."""
    best = hit.passages[0]
    own = deepcopy({**hit.metadata, **best.metadata})
    evidence: dict[str, Any] = {
        "doc_id": hit.doc_id,
        "chunk_id": best.chunk_id,
        "start": best.start,
        "end": best.end,
        "title": hit.title,
        "origin": hit.origin,
        "rank": hit.rank,
        "score": hit.score,
        "legs": {leg: None if at is None else {"rank": at.rank, "score": at.score} for leg, at in hit.legs.items()},
        "rerank_score": hit.rerank_score,
    }
    hidden = {name: value for name, value in own.items() if name in evidence or name == OWN}
    return Found(best.chunk_id, best.text, {**own, **evidence, **({OWN: hidden} if hidden else {})}, hit.score)


def own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document says of itself, without what `found` added: to give it back to an index.

    >>> own_metadata({"year": 1984, "rank": 1, "score": 0.5, "own": {"rank": "captain"}})
    {'year': 1984, 'rank': 'captain'}
    """
    kept = {name: value for name, value in metadata.items() if name not in EVIDENCE and name != OWN}
    return {**kept, **metadata.get(OWN, {})}
