"""The legs of a live collection: swap two, promote one, drop one. `indexing.add_leg` adds one.

A new model is tried without indexing anything again: `add_leg` encodes the texts that are stored, `evaluate` shows the
old leg and the new one side by side, and `swap_legs` gives the new one the old one's name and place, in one write that
is done whole or not at all. Searches go on throughout; those that are open already keep what they opened.

A leg that was added is a shadow leg: it is searched by its name (`--mode new`, `--mode new+dense`) and is no part of
`hybrid` until it is swapped or promoted. Documents indexed from then on get a vector of every leg, shadow or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hybrid_search.collection.models import open_store_for
from hybrid_search.collection.profiles import profile_of
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import CollectionWriter, Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LegName, in_order


def swap_legs(
    collection: str,
    old: LegName,
    new: LegName,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    wait_s: float = 0.0,
) -> Manifest:
    """Let two legs change names, and with them places: the new one becomes `old`, and the old one is kept as `new`.

    One atomic write; nothing is encoded or copied. Swapping once more takes it back.

    Returns:
        The collection's manifest from here on.

    Raises:
        InvalidArgument: a leg that the collection lacks, or two of different kinds.
        CollectionNotFound, StoreBusy, StoreUnavailable, StoreError: as for `add_leg`.
    """
    with writing(collection, store, settings or load_settings(), wait_s) as writer:
        was, becomes = (_require_leg(collection, writer.manifest, leg) for leg in (old, new))
        if old == new or was.kind != becomes.kind:
            why = "they are the same leg" if old == new else f"the one is {was.kind}, the other {becomes.kind}"
            raise InvalidArgument(f"The legs {old!r} and {new!r} of {collection!r} cannot be swapped: {why}.")
        called = writer.manifest.vectors()
        changed = {
            old: replace(becomes, vector=called[new], shadow=was.shadow),
            new: replace(was, vector=called[old], shadow=becomes.shadow),
        }
        writer.replace_manifest(with_legs(writer.manifest, {**writer.manifest.legs, **changed}))
        return writer.manifest


def promote_leg(
    collection: str,
    leg: LegName,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    wait_s: float = 0.0,
) -> Manifest:
    """Take a shadow leg into `hybrid`. Raises as `swap_legs` does.

    Returns:
        The collection's manifest from here on.
    """
    with writing(collection, store, settings or load_settings(), wait_s) as writer:
        promoted = replace(_require_leg(collection, writer.manifest, leg), shadow=False)
        writer.replace_manifest(with_legs(writer.manifest, {**writer.manifest.legs, leg: promoted}))
        return writer.manifest


def drop_leg(
    collection: str,
    leg: LegName,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    wait_s: float = 0.0,
) -> Manifest:
    """Drop a leg and its vectors.

    Returns:
        The collection's manifest from here on.

    Raises:
        InvalidArgument: a leg that the collection lacks, or the last one of `hybrid`.
        CollectionNotFound, StoreBusy, StoreUnavailable, StoreError: as for `add_leg`.
    """
    with writing(collection, store, settings or load_settings(), wait_s) as writer:
        _require_leg(collection, writer.manifest, leg)
        left = {name: spec for name, spec in writer.manifest.legs.items() if name != leg}
        if all(spec.shadow for spec in left.values()):
            raise InvalidArgument(
                f"{leg!r} is all that `hybrid` searches in {collection!r}, so it cannot be dropped. Swap another leg "
                f"into its place first: hybrid-search collections swap-leg {collection} {leg} OTHER"
            )
        writer.replace_manifest(with_legs(writer.manifest, left))
        writer.drop_unused_vectors()
        writer.publish()
        return writer.manifest


@contextmanager
def writing(
    collection: str, store: str | Path | Store | None, settings: Settings, wait_s: float
) -> Iterator[CollectionWriter]:
    """Open a writer of a collection that is there. What it refuses is refused before anything is changed."""
    opened = open_store_for(store, settings)
    manifest = opened.info(collection).manifest
    writer = opened.writer(collection, opened.manifest(collection) or manifest, wait_s=wait_s)
    try:
        yield writer
    finally:
        writer.close()


def _require_leg(collection: str, manifest: Manifest, leg: LegName) -> LegSpec:
    if leg not in manifest.legs:
        raise InvalidArgument(
            f"Collection {collection!r} has no {leg!r} leg. It has: {', '.join(in_order(manifest.legs))}."
        )
    return manifest.legs[leg]


def with_legs(manifest: Manifest, legs: dict[LegName, LegSpec]) -> Manifest:
    return manifest.with_legs(legs, profile_of({leg: spec.model for leg, spec in legs.items()}))
