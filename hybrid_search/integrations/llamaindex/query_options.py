"""What a LlamaIndex query asks of a search: its mode and alpha as legs and weights."""

from __future__ import annotations

from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from hybrid_search._util.arguments import is_number, shown, whole
from hybrid_search.collection.profiles import BM25_LEG
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.search.request import Options
from hybrid_search.types import LegName, Mode, in_order

MODES = ("default", "hybrid", "sparse", "text_search", "semantic_hybrid", "mmr")
MMR_THRESHOLD = 0.5
MMR_CANDIDATES = 4
"""So many documents a wanted one are looked at for MMR."""


def options_of(query: VectorStoreQuery, manifest: Manifest, given: Options) -> Options:
    """Return the options of the search.

    | mode | searches |
    |---|---|
    | `default` | as the store's own options say: hybrid unless they say otherwise |
    | `hybrid` | all fused legs; with `alpha` the dense side has this share of the weight, the sparse side the rest |
    | `sparse` | the sparse legs |
    | `text_search` | BM25 where the collection has it, else the sparse legs |
    | `semantic_hybrid` | hybrid, re-ranked |
    | `mmr` | the dense leg; see `ranking/mmr.py` |

    `alpha` 1 searches the dense legs alone and 0 the sparse ones, each with their own scores.

    Raises:
        InvalidArgument: another mode, an alpha outside 0..1, or a leg that the collection lacks.
    """
    mode = VectorStoreQueryMode(query.mode).value
    k = whole("similarity_top_k", query.similarity_top_k, 1)
    found: Options = {**given}
    if mode == "hybrid" or mode == "semantic_hybrid":
        k = query.hybrid_top_k or k
        found.update(_weighed(query.alpha, manifest))
    if mode == "semantic_hybrid":
        found["rerank"] = given.get("rerank") or True
    if mode == "sparse":
        k = query.sparse_top_k or k
        found["mode"] = _legs("sparse", manifest)
    if mode == "text_search":
        found["mode"] = BM25_LEG if BM25_LEG in manifest.legs else _legs("sparse", manifest)
    if mode == "mmr":
        found["mode"] = _legs("dense", manifest).partition("+")[0]
        k *= MMR_CANDIDATES
    if mode not in MODES:
        raise InvalidArgument(f"The query mode {mode!r} means nothing here; take one of: {', '.join(MODES)}.")
    depth = found.get("depth")
    return {**found, "k": k, **({} if depth is None else {"depth": max(depth, k)})}


def _weighed(alpha: float | None, manifest: Manifest) -> Any:
    if alpha is None:
        return {"mode": "hybrid"}
    if not (is_number(alpha) and 0 <= alpha <= 1):
        raise InvalidArgument(f"alpha is {shown(alpha)}; it must lie in 0..1, from sparse alone to dense alone.")
    if alpha in (0, 1):
        return {"mode": _legs("dense" if alpha else "sparse", manifest), "weights": None}
    sides = [_side(kind, manifest) for kind in ("dense", "sparse")]
    if not all(sides):
        return {"mode": "hybrid", "weights": None}
    shares = (alpha, 1 - alpha)
    weights = {leg: share / len(side) for side, share in zip(sides, shares, strict=True) for leg in side}
    return {"mode": "hybrid", "weights": weights}


def _legs(kind: str, manifest: Manifest) -> Mode:
    side = _side(kind, manifest)
    if not side:
        raise InvalidArgument(f"The collection has no {kind} leg; it has: {', '.join(in_order(manifest.legs))}.")
    return "+".join(side)


def _side(kind: str, manifest: Manifest) -> list[LegName]:
    """Return the fused legs of a kind."""
    return [leg for leg in manifest.fused() if manifest.legs[leg].kind == kind]
