"""What searches of a collection use where a search does not say: values that lie in the collection's manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from hybrid_search.types import LegName


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """The choices of `tune` for one collection, with what they were chosen on.

    The names are those of `search.request.SearchRequest`; None, or an empty mapping, leaves the product's own default.

    Args:
        fusion: how legs are fused.
        rrf_k: the constant of `rrf`.
        weights: of the legs, or `auto`.
        depth: chunks that each leg hands on.
        rerank: the re-ranker's name.
        rerank_depth: documents that it reads.
        query_dims: by sparse leg, how many of the heaviest weights of a query's vector are searched.
        learned: coefficients of the regression that chooses the weights for `auto`, by name of the feature.
        evidence: what they were chosen on, for a reader: dataset, measure, gain, interval, date.
    """

    fusion: str | None = None
    rrf_k: float | None = None
    weights: Mapping[LegName, float] | Literal["auto"] | None = None
    depth: int | None = None
    rerank: str | None = None
    rerank_depth: int | None = None
    query_dims: Mapping[LegName, int] = field(default_factory=dict)
    learned: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, without what is not set.

        >>> SearchDefaults(fusion="dbsf", depth=200).to_dict()
        {'fusion': 'dbsf', 'depth': 200}
        """
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}

    def choices(self) -> dict[str, Any]:
        """Return what is set, without the evidence for it."""
        return {name: value for name, value in self.to_dict().items() if name != "evidence"}

    def for_legs(self, legs: Collection[LegName]) -> SearchDefaults | None:
        """Return what of it fits a collection with these legs; None where nothing is left.

        A fusion goes with the weights that it was chosen with.

        >>> SearchDefaults(fusion="dbsf", weights={"old": 2.0}, depth=200).for_legs(["dense"]).to_dict()
        {'depth': 200}
        """
        kept = {leg: most for leg, most in self.query_dims.items() if leg in legs}
        fits = not isinstance(self.weights, Mapping) or set(self.weights) <= set(legs)
        fused = self if fits else replace(self, fusion=None, rrf_k=None, weights=None)
        found = replace(fused, query_dims=kept)
        return found if found.choices() else None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SearchDefaults:
        """Rebuild one from its dict. Raises TypeError if it is none."""
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise TypeError(f"{unknown[0]!r} is no search default")
        return cls(**data)
