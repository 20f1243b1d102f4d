"""What a comparison found: the difference of each measure, of each query, and the moves of the relevant documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hybrid_search.evaluation.rank_moves import Place, move
from hybrid_search.evaluation.report import P_DIGITS, QUERY_DIGITS
from hybrid_search.indexing.progress import IndexReport

LEVEL = 0.05
"""A p-value from which on a difference may be chance."""


class MeasureChange(NamedTuple):
    """One measure.

    Args:
        a, b: means over the queries.
        interval: the 95 % interval of the mean difference, B minus A.
        p: of the difference, by a paired randomization test.
        p_holm: the same, corrected for the number of measures.
        better, same, worse: queries, of B against A.
    """

    name: str
    a: float
    b: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    better: int
    same: int
    worse: int

    @property
    def difference(self) -> float:
        """The mean difference, B minus A."""
        return self.b - self.a

    @property
    def is_sure(self) -> bool:
        """Whether the difference is hardly chance: neither by the test nor by the interval."""
        low, high = self.interval
        return self.p_holm < LEVEL and not low <= 0 <= high

    def to_dict(self) -> dict[str, Any]:
        """Return the object that stands for it in the JSON."""
        return {
            "measure": self.name,
            "a": round(self.a, QUERY_DIGITS + 2),
            "b": round(self.b, QUERY_DIGITS + 2),
            "difference": round(self.difference, QUERY_DIGITS + 2),
            "interval": [round(bound, QUERY_DIGITS) for bound in self.interval],
            "p": round(self.p, P_DIGITS),
            "p_holm": round(self.p_holm, P_DIGITS),
            "better": self.better,
            "same": self.same,
            "worse": self.worse,
        }


class DocumentMove(NamedTuple):
    """A document in both rankings of a query; None for a place that it has not."""

    doc_id: str
    title: str
    relevance: int | None
    a: Place | None
    b: Place | None

    @property
    def move(self) -> str:
        """What became of it: one of `rank_moves.MOVES`."""
        return move(self.a, self.b)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that stands for it in the JSON."""
        return {
            "doc_id": self.doc_id,
            "title": self.title,
            "relevance": self.relevance,
            "move": self.move,
            "a": _place(self.a),
            "b": _place(self.b),
        }


class QueryChange(NamedTuple):
    """One query.

    Args:
        values: by measure, of A and of B.
        overlap: the share of the first 10 documents in common; None where a side has values only, as of what follows.
        is_same_list: whether both have the same documents in the same order.
        relevant: documents, the best rank in either first.
        only_a, only_b: documents among the first 10 of one side that the other does not have at all.
        lists: the rankings of both, where this query was asked for: documents of A and of B, best first.
    """

    query_id: str
    text: str
    values: Mapping[str, tuple[float, float]]
    overlap: float | None = None
    is_same_list: bool | None = None
    relevant: tuple[DocumentMove, ...] = ()
    only_a: tuple[DocumentMove, ...] = ()
    only_b: tuple[DocumentMove, ...] = ()
    lists: tuple[tuple[DocumentMove, ...], tuple[DocumentMove, ...]] | None = None

    def difference(self, measure: str) -> float:
        """Return B minus A in a measure."""
        a, b = self.values[measure]
        return b - a

    def to_dict(self) -> dict[str, Any]:
        """Return the object that stands for it in the JSON; rankings are there where this query was asked for."""
        shown: dict[str, Any] = {
            "query_id": self.query_id,
            "query": self.text,
            "measures": {
                name: {
                    "a": round(a, QUERY_DIGITS),
                    "b": round(b, QUERY_DIGITS),
                    "difference": round(b - a, QUERY_DIGITS),
                }
                for name, (a, b) in self.values.items()
            },
            "overlap@10": self.overlap,
            "same_list": self.is_same_list,
            "relevant": [one.to_dict() for one in self.relevant],
            "only_a": [one.to_dict() for one in self.only_a],
            "only_b": [one.to_dict() for one in self.only_b],
        }
        if self.lists is not None:
            shown["a"], shown["b"] = ([one.to_dict() for one in ranking] for ranking in self.lists)
        return shown


class SideReport(NamedTuple):
    """What a side was.

    Args:
        label: as it was typed.
        kind: `run`, `evaluation` or `search`.
        collection: that was searched; empty of a file.
        mode: of the search, or of the evaluation in the file.
        settings: options of the search.
        models: name and fingerprint, by leg.
        recall: mean recall by depth; empty where the ranks are not known.
    """

    label: str
    kind: str
    collection: str = ""
    mode: str = ""
    settings: Mapping[str, Any] = {}
    models: Mapping[str, str] = {}
    recall: Mapping[int, float] = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the object that stands for it in the JSON."""
        shown = self._asdict()
        shown["settings"], shown["models"] = dict(self.settings), dict(self.models)
        shown["recall"] = {str(depth): round(value, QUERY_DIGITS) for depth, value in self.recall.items()}
        return shown


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `compare`.

    Args:
        k: documents of a query that are compared.
        moves: of the relevant documents of all queries, how many made each of `rank_moves.MOVES`; empty where a side
            has values only.
        queries: the largest change of the first measure first; only one where it was asked for.
        notes: what was passed over or cannot be told, in sentences.
        profile_reason: why which models were chosen for what was built.
        indexed: what was built.
    """

    dataset: str
    judged: int
    k: int
    a: SideReport
    b: SideReport
    measures: tuple[MeasureChange, ...]
    moves: Mapping[str, int]
    same_lists: int | None
    queries: tuple[QueryChange, ...]
    notes: tuple[str, ...] = ()
    profile_reason: str = ""
    indexed: tuple[IndexReport, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `compare --format json` prints."""
        return {
            "dataset": self.dataset,
            "queries": self.judged,
            "k": self.k,
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "measures": [one.to_dict() for one in self.measures],
            "relevant_documents": dict(self.moves) or None,
            "same_lists": self.same_lists,
            "per_query": [one.to_dict() for one in self.queries],
            "notes": list(self.notes),
        }


def _place(place: Place | None) -> dict[str, Any] | None:
    """Return the object that stands for a place in the JSON; what is not known has no key."""
    if place is None:
        return None
    shown: dict[str, Any] = {"rank": place.rank, "score": place.score}
    if place.legs:
        legs = place.legs.items()
        shown["legs"] = {leg: None if hit is None else {"rank": hit.rank, "score": hit.score} for leg, hit in legs}
    if place.fused_rank is not None:
        shown["fused_rank"], shown["rerank_score"] = place.fused_rank, place.rerank_score
    return shown
