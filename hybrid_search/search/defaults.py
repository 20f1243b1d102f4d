"""What a search takes from its collection's manifest where it does not say itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hybrid_search.encoders.pruning import prune_vector
from hybrid_search.manifest import Manifest
from hybrid_search.ranking.fusion import Fusion
from hybrid_search.search.request import AUTO, FUSION, HYBRID, SearchRequest, resolve_mode
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.types import LegName, SparseVector, Vector

CHOICES: tuple[tuple[str, ...], ...] = (("fusion", "rrf_k", "weights"), ("depth",), ("rerank", "rerank_depth"))
"""Options that were chosen together: where a search says one of them, none of its group is taken from the manifest."""


def with_defaults(request: SearchRequest, manifest: Manifest, queries: Any = ()) -> SearchRequest:
    """Return a request with the collection's search defaults where it says nothing itself.

    What a caller gives goes before, and so does what belongs to it: a fusion that is asked for is not given the weights
    that were chosen for another one. Each part counts only where it can: fusion where several legs are searched, each
    with a weight; a re-ranker where there are texts to read. A depth is k at least. The terms of a query are pruned
    where its fusion is the collection's own, too. A request that has defaults already keeps them.

    Args:
        request: what is asked.
        manifest: the collection's.
        queries: texts, or texts with weights of terms; without any text there is nothing to re-rank. Not checked here.
    """
    defaults = manifest.search
    if defaults is None or request.defaults is not None:
        return request
    legs = [leg for leg in _legs(request, manifest) if leg in manifest.legs]
    texts = bool(queries) and all(_text_of(query) for query in queries)
    taken: dict[str, Any] = {}
    for group in CHOICES:
        said = any(getattr(request, name) is not None for name in group)
        if not said and _applies(group, defaults, legs, texts):
            taken |= {name: value for name in group if (value := getattr(defaults, name)) is not None}
    if "depth" in taken:
        taken["depth"] = max(taken["depth"], request.k)
    if isinstance(taken.get("weights"), Mapping):
        taken["weights"] = {leg: weight for leg, weight in taken["weights"].items() if leg in legs}
    own_fusion = all(getattr(request, name) is None for name in CHOICES[0])
    by_query = AUTO in (taken.get("weights"), request.weights)
    used = SearchDefaults(
        **taken,
        query_dims={leg: most for leg, most in defaults.query_dims.items() if leg in legs and own_fusion},
        learned=defaults.learned if by_query else {},
        evidence=defaults.evidence,
    )
    return request.with_values(**taken, defaults=used if used.choices() else None)


def own_fusion(manifest: Manifest) -> Fusion:
    """Return how a collection's legs are fused where a search does not say."""
    return cast(Fusion, (manifest.search and manifest.search.fusion) or FUSION)


def pruned(
    vectors: Mapping[LegName, Sequence[Vector | None]], request: SearchRequest, given: Sequence[LegName | None]
) -> dict[LegName, list[Vector | None]]:
    """Return the vectors of queries with as many of their heaviest weights as the request's defaults allow.

    Args:
        vectors: leg -> one vector a query.
        request: after `with_defaults`.
        given: for each query the leg whose weights were given; they stay as they are.
    """
    most = request.defaults.query_dims if request.defaults else {}
    return {
        leg: [
            prune_vector(vector, most[leg], 0.0)
            if leg in most and isinstance(vector, SparseVector) and leg != given[row]
            else vector
            for row, vector in enumerate(some)
        ]
        for leg, some in vectors.items()
    }


def _legs(request: SearchRequest, manifest: Manifest) -> Sequence[LegName]:
    if "+" in request.mode or request.mode in manifest.legs:
        return request.mode.split("+")
    return resolve_mode(request.mode, manifest, "")[1] if request.mode == HYBRID else ()


def _text_of(query: Any) -> str:
    text = getattr(query, "text", query)
    return text.strip() if isinstance(text, str) else ""


def _applies(group: Sequence[str], defaults: SearchDefaults, legs: Sequence[LegName], texts: bool) -> bool:
    if "rerank" in group:
        return texts
    if "fusion" in group and isinstance(defaults.weights, Mapping):
        return len(legs) > 1 and set(legs) <= set(defaults.weights)
    return len(legs) > 1 or "fusion" not in group
