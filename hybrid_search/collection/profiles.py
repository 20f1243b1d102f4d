"""Which models a profile names for which leg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hybrid_search._util.arguments import texts
from hybrid_search.encoders import hub
from hybrid_search.encoders.catalog import BM25_ENGINE, PROFILES, card, kind_of
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import LEGS, Kind, LegName, in_order

NO_LEG = "none"
"""Given for a model's name, it leaves the leg out."""

BM25_LEG = "bm25"
"""The leg that is the engine's BM25 in every profile."""

DEFAULT_LEGS: tuple[LegName, ...] = LEGS
"""The legs of a new collection where none are asked for."""

KINDS: Mapping[LegName, Kind] = {"sparse": "sparse", "dense": "dense", BM25_LEG: "sparse"}


def profile_of(names: Mapping[LegName, str]) -> str:
    """The profile whose models the legs `sparse` and `dense` have, by the models' names; `custom` where it is none."""
    own = {leg: name for leg, name in names.items() if leg in LEGS}
    return next((profile for profile in PROFILES if profile_names(profile) == own), "custom")


def legs_wanted(legs: Sequence[LegName] | None, given: Mapping[LegName, str]) -> tuple[LegName, ...]:
    """The legs of a new collection, in order: those asked for, where each has or can have a model.

    Raises:
        InvalidArgument: none, an unknown one, or a model for a leg that is not among them.
    """
    if legs is None:
        # A second BM25 beside the first would only count it twice.
        return tuple(leg for leg in DEFAULT_LEGS if leg != BM25_LEG or given.get("sparse") != BM25_ENGINE)
    legs = texts("legs", legs)
    unknown = [leg for leg in legs if leg not in KINDS]
    if unknown or not legs:
        raise InvalidArgument(
            f"The legs of a new collection are {', '.join(KINDS)}, or some of these; "
            f"{', '.join(map(repr, unknown)) or 'none'} cannot be one. "
            "Others are put beside them later: hybrid-search collections add-leg NAME LEG MODEL"
        )
    for leg, name in given.items():
        if leg not in legs and name != NO_LEG:
            raise InvalidArgument(f"There is a model for the leg {leg!r} ({name}), but the legs are {','.join(legs)}.")
    return in_order(set(legs))


def auto_profile(cache_dir: Path) -> tuple[str, str]:
    """The profile whose models are at hand, and why that one."""
    if all(hub.is_here(card(name, KINDS[leg]), cache_dir) for leg, name in profile_names("splade").items()):
        return "splade", "profile splade: its files are on this machine"
    if hub.hub_answers():
        return "splade", "profile splade: its files come from the model hub"
    return "bundled", "profile bundled: the files of 'splade' are not here and the model hub does not answer"


def profile_names(profile: str) -> dict[LegName, str]:
    """The models of a profile by leg. What a folder's model does not serve, the bundled one does."""
    if profile in PROFILES:
        return {"sparse": PROFILES[profile].sparse, "dense": PROFILES[profile].dense}
    if not Path(profile).expanduser().is_dir():
        known = ", ".join(PROFILES)
        raise InvalidArgument(f"Unknown profile {profile!r}. Take one of: auto, {known}, or the folder of a model.")
    kind = card(profile, kind_of(profile)).kind
    return {leg: profile if kind in (leg, "hybrid") else getattr(PROFILES["bundled"], leg) for leg in LEGS}
