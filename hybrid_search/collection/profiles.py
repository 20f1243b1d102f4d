"""Which models a collection gets: those of a profile, those asked for, or those that it was built with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hybrid_search._util.arguments import text, texts
from hybrid_search.collection.expansion import expansion_for
from hybrid_search.collection.models import (
    ModelRequest,
    ModelSet,
    OnDownload,
    encoder_of,
    fetch,
    is_learned,
    load_models,
    matches_manifest,
)
from hybrid_search.encoders import hub, precision_of
from hybrid_search.encoders.catalog import BM25_ENGINE, PROFILES, card, kind_of
from hybrid_search.encoders.devices import check_building
from hybrid_search.encoders.pruning import PrunedEncoder
from hybrid_search.errors import InvalidArgument, ManifestMismatch, StoreError
from hybrid_search.manifest import SIDES, Manifest, Precision, Sparsity
from hybrid_search.protocols import Encoder
from hybrid_search.settings import Settings
from hybrid_search.store.server.foreign import read_only
from hybrid_search.store.server.payload_layouts import check_layout
from hybrid_search.types import LEGS, Kind, LegName, ModelCard, in_order

NO_LEG = "none"
"""Given for a model's name, it leaves the leg out."""

BM25_LEG = "bm25"
"""The leg that is the engine's BM25 in every profile."""

DEFAULT_LEGS: tuple[LegName, ...] = LEGS
"""The legs of a new collection where none are asked for."""

KINDS: Mapping[LegName, Kind] = {"sparse": "sparse", "dense": "dense", BM25_LEG: "sparse"}


def models_for(
    collection: str,
    manifest: Manifest | None,
    request: ModelRequest,
    settings: Settings,
    on_download: OnDownload | None,
    opened: ModelSet | None = None,
) -> ModelSet:
    """Return the models that a collection was built with, or, for a new one, those asked for. All their files are here.

    Args:
        collection: its name.
        manifest: what it was built with; None for a new one.
        request: what is asked of its models.
        settings: where model files are kept.
        on_download: called while a model is fetched.
        opened: models that are open already. A new collection takes them instead of any that are asked for, an
            existing one only where it was built with them.

    Raises:
        InvalidArgument: no such layout, or an expansion that no leg would read.
        StoreError: the collection was adopted, so it is only read, or its documents came with their weights.
        HybridSearchError: whatever `check_request`, `load_models`, `select_models`, `fetch` and `expansion_for` raise.
    """
    layout = check_layout(request.layout) if request.layout else ""
    if manifest is not None:
        if manifest.adopted:
            raise read_only(collection, manifest)
        check_request(collection, manifest, request)
        if opened is None or not matches_manifest(opened, manifest):
            opened = load_models(collection, manifest, settings, on_download)
        check_growing(collection, manifest, opened)
        expansion = expansion_for(collection, manifest, request.expand_with, settings, on_download)
        return opened if expansion == opened.expansion else opened._replace(expansion=expansion)
    models = select_models(request, settings) if opened is None else opened
    if request.expand_with and all(encoder.card.kind == "dense" for encoder in models.encoders.values()):
        raise InvalidArgument(
            f"Documents are to be expanded with {request.expand_with.source}, but there is no sparse leg to read that. "
            "Leave --expand-with out, or take a sparse leg, such as --legs dense,bm25."
        )
    fetch(models, settings, on_download)
    expansion = expansion_for(collection, None, request.expand_with, settings, on_download)
    return models._replace(layout=layout, expansion=expansion)


def check_growing(collection: str, manifest: Manifest, models: ModelSet) -> None:
    """Refuse to encode documents for a collection whose documents came with weights that no model here makes.

    Args:
        collection: its name.
        manifest: what it was built with.
        models: its models.

    Raises:
        StoreError: a leg has terms with weights, or weights with the inverse document frequency multiplied in.
    """
    for leg, spec in manifest.legs.items():
        model = models.encoders[leg].card
        ready = model.kind != "dense" and model.needs_idf and not spec.needs_idf
        if model.runtime == "terms" or ready:
            why = "have the inverse document frequency in them" if ready else "are of no model that encodes documents"
            raise StoreError(
                f"The documents of collection {collection!r} were imported with their weights, and those of its leg "
                f"{leg!r} ({spec.model}) {why}. Import more documents with their weights: hybrid-search import "
                f"anserini FILE -c {collection}; or index into another one: hybrid-search index SOURCE -c NEW_NAME"
            )


def check_encodes(model: ModelCard) -> None:
    """Refuse a model that encodes no documents where it would have to.

    Raises:
        InvalidArgument: it does not.
    """
    if model.runtime == "terms":
        raise InvalidArgument(
            f"{model.name!r} encodes no documents: theirs are the weights that they came with, which `import` "
            "fills a collection with. Take another sparse model; see `hybrid-search models list`."
        )


def select_models(request: ModelRequest, settings: Settings) -> ModelSet:
    """Select the models for a new collection.

    The profile `auto` is `splade` where its files are here or the hub answers within three seconds, else `bundled`. A
    profile may be the folder of a model, such as `hybrid-search train` leaves: it serves the legs that it can, and the
    bundled model the other one. The leg `bm25` is the engine's BM25 whatever the profile.

    Args:
        request: what is asked for. Its precision is the settings' and its legs are `DEFAULT_LEGS` when not given.
        settings: where model files are kept.

    Raises:
        InvalidArgument: no such profile or leg, a model for a leg that is not asked for, no leg left, or limits of
            sparse vectors where none is learned.
        ModelError: a model cannot run on the device that is asked for, or not be built in this precision here.
        UnknownModel: a name is in no card.
    """
    names, reason = _selected_names(request, settings)
    loaded: dict[str, Encoder] = {}
    encoders = {}
    for leg, name in names.items():
        kind = KINDS[leg]
        model = card(name, kind)
        check_encodes(model)
        check_building(model, precision_of(model, request.precision or settings.precision), settings.device)
        encoders[leg] = encoder_of(model, kind, settings, loaded, request.precision, request.sparsity)
    pruned = any(isinstance(encoder, PrunedEncoder) for encoder in encoders.values())
    if request.sparsity not in (None, Sparsity()) and not pruned:
        raise InvalidArgument("Limits of sparse vectors are given, but no leg has a learned sparse model to keep them.")
    return ModelSet(profile_of(names), encoders, reason)


def _selected_names(request: ModelRequest, settings: Settings) -> tuple[dict[LegName, str], str]:
    """Return the models' names by leg, and why this profile where it was chosen. Raises as `select_models` does."""
    given: dict[LegName, str] = {leg: text(leg, name) for leg, name in request.names.items() if name}
    profile, reason = text("profile", request.profile), ""
    if profile != "auto":
        profile_names(profile)
    wanted = legs_wanted(request.legs, given)
    lacking = [leg for leg in wanted if leg not in given and leg in LEGS]
    if lacking and profile == "auto":
        profile, reason = auto_profile(settings.cache_dir)
    own = {BM25_LEG: BM25_ENGINE, **(profile_names(profile) if lacking else {})}
    chosen = {leg: given.get(leg) or own[leg] for leg in wanted}
    chosen = {leg: name for leg, name in chosen.items() if name != NO_LEG}
    if not chosen:
        raise InvalidArgument("Both legs are 'none'; keep at least one of --sparse and --dense.")
    return chosen, reason


def check_request(collection: str, manifest: Manifest, request: ModelRequest) -> None:
    """Refuse, by name, other models or legs than a collection was built with. `auto` and None ask for nothing.

    Raises:
        ManifestMismatch: a model, a set of legs, a layout, a precision or a limit asked for is not the manifest's.
        InvalidArgument: no such profile.
    """
    names: dict[LegName, str | None] = {} if request.profile == "auto" else dict(profile_names(request.profile))
    names.update({leg: name for leg, name in request.names.items() if name})
    for leg, name in names.items():
        have = manifest.legs[leg].model if leg in manifest.legs else NO_LEG
        want = NO_LEG if name == NO_LEG or name is None else card(name, KINDS[leg]).name
        if have.lower() != want.lower():
            raise ManifestMismatch(collection, f"the {leg} model", repr(have), repr(want))
    legs, layout = request.legs, request.layout
    if legs is not None and set(legs) != set(manifest.fused()):
        raise ManifestMismatch(collection, "the legs", ",".join(manifest.fused()), ",".join(in_order(legs)))
    if layout is not None and layout != manifest.layout:
        raise ManifestMismatch(collection, "the layout", manifest.layout or "of none but ours", layout)
    if request.precision is not None or request.sparsity is not None:
        _check_encoding(collection, manifest, request.precision, request.sparsity)


def _check_encoding(
    collection: str, manifest: Manifest, precision: Precision | None, sparsity: Sparsity | None
) -> None:
    """Refuse another precision, or other limits of sparse vectors, than the legs of `hybrid` were built with."""
    for leg, spec in manifest.legs.items():
        if leg not in KINDS or spec.shadow:
            continue
        model = card(spec.model, spec.kind)
        if precision is not None and precision_of(model, precision) != spec.precision:
            raise ManifestMismatch(collection, f"the precision of {spec.model},", spec.precision, precision)
        if sparsity is not None and is_learned(model, spec.kind) and sparsity != spec.sparsity:
            have, want = limits_as_options(spec.sparsity), limits_as_options(sparsity)
            raise ManifestMismatch(collection, f"the {leg} leg's limits", have, want)


def profile_of(names: Mapping[LegName, str]) -> str:
    """Return the profile with these models for the legs `sparse` and `dense`; `custom` where there is none."""
    own = {leg: name for leg, name in names.items() if leg in LEGS}
    return next((profile for profile in PROFILES if profile_names(profile) == own), "custom")


def legs_wanted(legs: Sequence[LegName] | None, given: Mapping[LegName, str]) -> tuple[LegName, ...]:
    """Return the legs of a new collection, in order: those asked for, where each has or can have a model.

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
            "Others are added later, as shadow legs: hybrid-search collections add-leg NAME LEG MODEL"
        )
    for leg, name in given.items():
        if leg not in legs and name != NO_LEG:
            raise InvalidArgument(f"There is a model for the leg {leg!r} ({name}), but the legs are {','.join(legs)}.")
    return in_order(set(legs))


def auto_profile(cache_dir: Path) -> tuple[str, str]:
    """Choose the profile whose models are at hand, and say why that one."""
    if all(hub.is_here(card(name, KINDS[leg]), cache_dir) for leg, name in profile_names("splade").items()):
        return "splade", "profile splade: its files are on this machine"
    if hub.hub_answers():
        return "splade", "profile splade: its files come from the model hub"
    return "bundled", "profile bundled: the files of 'splade' are not here and the model hub does not answer"


def profile_names(profile: str) -> dict[LegName, str]:
    """Return the models of a profile by leg. What a folder's model does not serve, the bundled one does."""
    if profile in PROFILES:
        return {"sparse": PROFILES[profile].sparse, "dense": PROFILES[profile].dense}
    if not Path(profile).expanduser().is_dir():
        known = ", ".join(PROFILES)
        raise InvalidArgument(f"Unknown profile {profile!r}. Take one of: auto, {known}, or the folder of a model.")
    kind = card(profile, kind_of(profile)).kind
    return {leg: profile if kind in (leg, "hybrid") else getattr(PROFILES["bundled"], leg) for leg in LEGS}


def limits_as_options(sparsity: Sparsity) -> str:
    """Write the limits as the options are written.

    >>> limits_as_options(Sparsity((60, 250), (0.0, 0.1)))
    'max-active-dims queries=60,documents=250 min-weight documents=0.1'
    """
    parts_by_limit: list[str] = []
    for name, pair in (("max-active-dims", sparsity.max_active_dims), ("min-weight", sparsity.min_weight)):
        parts = ",".join(f"{side}={number:g}" for side, number in zip(SIDES, pair, strict=True) if number)
        parts_by_limit += [f"{name} {parts}"] if parts else []
    return " ".join(parts_by_limit) or "none"
