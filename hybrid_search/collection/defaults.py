"""The search defaults of a live collection: write them, take them back, and keep them where it is built anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hybrid_search._util.arguments import shown
from hybrid_search.collection.legs import writing
from hybrid_search.errors import FusionError, HybridSearchError, InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Store
from hybrid_search.ranking.fusion import FUSIONS, check_rrf_k, check_weights
from hybrid_search.ranking.leg_weights import LEARNED
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.settings import Settings, load_settings


def set_search_defaults(
    collection: str,
    defaults: SearchDefaults | None,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    wait_s: float = 0.0,
) -> Manifest:
    """Let searches of a collection that do not say themselves use these settings; None takes them back.

    One atomic write of the manifest; points and fingerprints stay as they are. Searches that are open take it up.

    Returns:
        The collection's manifest from here on.

    Raises:
        InvalidArgument: a leg that the collection lacks, or a value that no search takes.
        FusionError: a fusion, a constant or weights that are invalid.
        CollectionNotFound, StoreBusy, StoreUnavailable, StoreError: as for `swap_legs`.
    """
    with writing(collection, store, settings or load_settings(), wait_s) as writer:
        if defaults is not None:
            check_defaults(defaults, writer.manifest)
        changed = replace(writer.manifest, search=defaults)
        if changed != writer.manifest:
            writer.replace_manifest(changed)
        return changed


def check_defaults(defaults: SearchDefaults, manifest: Manifest) -> None:
    """Refuse settings that no search of this collection takes. Raises InvalidArgument or FusionError."""
    if defaults.fusion is not None and defaults.fusion not in FUSIONS:
        raise FusionError(f"There is no fusion {shown(defaults.fusion)}; take one of: {', '.join(FUSIONS)}.")
    if defaults.rrf_k is not None:
        check_rrf_k(defaults.rrf_k)
    if isinstance(defaults.weights, Mapping):
        check_weights(defaults.weights, tuple(manifest.legs))
    for name in ("depth", "rerank_depth"):
        _check_count(name, getattr(defaults, name))
    for leg, most in defaults.query_dims.items():
        if leg not in manifest.legs or manifest.legs[leg].kind != "sparse":
            raise InvalidArgument(f"query_dims is for sparse legs, and {shown(leg)} is none of this collection.")
        _check_count(f"query_dims of {leg}", most)
    unknown = sorted(set(defaults.learned) - set(LEARNED))
    if unknown:
        raise InvalidArgument(f"learned has {shown(unknown[0])}; it takes coefficients of: {', '.join(LEARNED)}.")


def inherit_defaults(store: Store, collection: str, manifest: Manifest) -> Manifest:
    """Return the manifest of a collection that is built anew with the search defaults it had, as far as they fit."""
    try:
        earlier = store.manifest(collection)
    except HybridSearchError:  # damaged, or another program's: there is nothing to take over
        return manifest
    if earlier is None or earlier.search is None:
        return manifest
    return replace(manifest, search=earlier.search.for_legs(manifest.legs))


def _check_count(name: str, value: int | None) -> None:
    if value is not None and not (isinstance(value, int) and 1 <= value <= 10_000):
        raise InvalidArgument(f"{name} is {shown(value)}; it must be a whole number of 1..10,000.")
