"""From names to parts: the store a setting names, the models a new collection gets, and the same ones back later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

from hybrid_search._util.arguments import text
from hybrid_search.collection.profiles import (
    BM25_LEG,
    KINDS,
    NO_LEG,
    auto_profile,
    legs_wanted,
    profile_names,
    profile_of,
)
from hybrid_search.encoders import hub, load, precision_of
from hybrid_search.encoders.catalog import BM25_ENGINE, card
from hybrid_search.encoders.devices import check_building
from hybrid_search.encoders.hybrid import unwrap, view_for
from hybrid_search.encoders.pruning import PrunedEncoder, prune
from hybrid_search.errors import InvalidArgument, ManifestMismatch, ModelError, UnknownModel
from hybrid_search.manifest import LAID_OUT, SCHEMA, SIDES, LegSpec, Manifest, Precision, Sparsity
from hybrid_search.protocols import Encoder, HybridEncoder, Store
from hybrid_search.settings import Settings
from hybrid_search.store import open_store
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.store.server.foreign import read_only
from hybrid_search.store.server.payload_layouts import check_layout, named_for
from hybrid_search.types import LEGS, Kind, LegName, ModelCard, in_order

OnDownload = Callable[[str, int, int], None]
"""Told (model, bytes done, bytes in all) while a model is fetched."""


class ModelRequest(NamedTuple):
    """What is asked of a collection's models. One that exists refuses what it has not; None and `auto` ask nothing.

    Args:
        profile: a name, `auto`, or a model's folder.
        names: a model instead of the profile's, by leg.
        legs: of a new collection.
        precision: of the models that have a choice; the settings' for a new collection when not given.
        sparsity: what is kept of learned sparse vectors.
        layout: whose readers, besides ours, can read the collection: one of `store.layouts.FRAMEWORKS`.
    """

    profile: str = "auto"
    names: Mapping[LegName, str | None] = MappingProxyType({})
    legs: Sequence[LegName] | None = None
    precision: Precision | None = None
    sparsity: Sparsity | None = None
    layout: str | None = None


class ModelSet(NamedTuple):
    """The encoders of a collection by leg, the profile they make up, and why that one where it was chosen.

    `layout` is that of a new collection with them.
    """

    profile: str
    encoders: Mapping[LegName, Encoder]
    reason: str = ""
    layout: str = ""

    def manifest(self, chunk_tokens: int, overlap_tokens: int, roots: Mapping[str, str] | None = None) -> Manifest:
        """What a new collection with them records. Hashes the models' files, once per file and machine."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        specs = named_for(self.layout, {leg: spec_of(encoder) for leg, encoder in self.encoders.items()})
        schema = LAID_OUT if self.layout else SCHEMA
        sizes = (chunk_tokens, overlap_tokens)
        return Manifest(self.profile, specs, *sizes, now, schema, layout=self.layout, roots=roots or {})

    @property
    def measuring(self) -> bool:
        """Whether one of them has to measure the corpus first, as BM25 does its mean length."""
        return any(isinstance(encoder, Bm25Encoder) for encoder in self.encoders.values())

    def fitted(self, texts: Iterable[str]) -> ModelSet:
        """The same models, those that measure the corpus having measured these texts, which are read only for them."""
        measured = list(texts) if self.measuring else []
        fitted = {
            leg: encoder.fitted(measured) if isinstance(encoder, Bm25Encoder) else encoder
            for leg, encoder in self.encoders.items()
        }
        return self._replace(encoders=fitted)


def open_store_for(store: str | Path | Store | None, settings: Settings) -> Store:
    """The store itself, the one that a folder or URL names, or the settings'.

    Raises:
        ConfigError: an API key would travel unencrypted.
        StoreUnavailable: the server does not answer.
    """
    if store is not None and not isinstance(store, (str, Path)):
        return store
    key = settings.api_key.get_secret_value() if settings.api_key else None
    place = store or settings.store
    return open_store(place, api_key=key, timeout_s=settings.timeout_s, retry_s=settings.retry_s)


def models_for(
    collection: str,
    found: Manifest | None,
    asked: ModelRequest,
    settings: Settings,
    on_download: OnDownload | None,
    opened: ModelSet | None = None,
) -> ModelSet:
    """The models of an existing collection, which are those asked for or none is; or those for a new one. All are here.

    Args:
        collection: its name.
        found: what it was built with; None for a new one.
        asked: of its models.
        settings: where model files are kept.
        on_download: told while a model is fetched.
        opened: models that are open already, taken where the collection was built with them.

    Raises:
        InvalidArgument: no such layout.
        StoreError: the collection was adopted, so it is only read.
        HybridSearchError: whatever `check_same`, `reopen`, `choose` and `fetch` raise.
    """
    layout = check_layout(asked.layout) if asked.layout else ""
    if found is not None:
        if found.adopted:
            raise read_only(collection, found)
        check_request(collection, found, *asked)
        if opened is not None and matches_manifest(opened, found):
            return opened
        return load_models(collection, found, settings, on_download)
    models = select_models(asked.profile, asked.names, settings, asked.legs, asked.precision, asked.sparsity)
    fetch(models, settings, on_download)
    return models._replace(layout=layout)


def select_models(
    profile: str,
    names: Mapping[LegName, str | None],
    settings: Settings,
    legs: Sequence[LegName] | None = None,
    precision: Precision | None = None,
    sparsity: Sparsity | None = None,
) -> ModelSet:
    """The models for a new collection.

    Args:
        profile: `splade`, `bundled`, or `auto`: the former where its files are here or the hub answers within three
            seconds, else the latter. Or the folder of a model, such as `hybrid-search train` leaves: it serves the legs
            that it can, and the bundled model the other one.
        names: a model or a folder instead of the profile's, by leg; `none` leaves the leg out.
        settings: where model files are kept.
        legs: of `sparse`, `dense` and `bm25`, which is the engine's BM25 whatever the profile; `DEFAULT_LEGS` when not
            given.
        precision: of the models that have a choice; the settings' when not given.
        sparsity: what is kept of the vectors of learned sparse models; everything when not given.

    Raises:
        InvalidArgument: no such profile or leg, a model for a leg that is not asked for, no leg left, or limits of
            sparse vectors where none is learned.
        ModelError: a model cannot run on the device that is asked for, or not be built in this precision here.
        UnknownModel: a name is in no card.
    """
    given: dict[LegName, str] = {leg: text(leg, name) for leg, name in names.items() if name}
    if text("profile", profile) != "auto":
        profile_names(profile)
    wanted = legs_wanted(legs, given)
    reason = ""
    lacking = [leg for leg in wanted if leg not in given and leg in LEGS]
    if lacking and profile == "auto":
        profile, reason = auto_profile(settings.cache_dir)
    own = {BM25_LEG: BM25_ENGINE, **(profile_names(profile) if lacking else {})}
    chosen = {leg: given.get(leg) or own[leg] for leg in wanted}
    chosen = {leg: name for leg, name in chosen.items() if name != NO_LEG}
    if not chosen:
        raise InvalidArgument("Both legs are 'none'; keep at least one of --sparse and --dense.")
    loaded: dict[str, Encoder] = {}
    encoders = {}
    for leg, name in chosen.items():
        kind = KINDS[leg]
        model = card(name, kind)
        check_building(model, precision_of(model, precision or settings.precision), settings.device)
        encoders[leg] = encoder_of(model, kind, settings, loaded, precision, sparsity)
    if sparsity not in (None, Sparsity()) and not any(
        isinstance(encoder, PrunedEncoder) for encoder in encoders.values()
    ):
        raise InvalidArgument("Limits of sparse vectors are given, but no leg has a learned sparse model to keep them.")
    return ModelSet(profile_of(chosen), encoders, reason)


def load_models(
    collection: str,
    manifest: Manifest,
    settings: Settings,
    on_download: OnDownload | None = None,
    *,
    known: Iterable[Encoder] = (),
) -> ModelSet:
    """The models that a collection was built with.

    Args:
        collection: its name.
        manifest: what it was built with.
        settings: where model files are kept, and what they run on.
        on_download: told while files are fetched.
        known: encoders made with the same settings, whose models are taken instead of loading them again.

    Raises:
        ModelError: this version has no card for one of them.
        ModelUnavailable: a model's files are not here and cannot be fetched.
        ManifestMismatch: the files of a model have changed since.
    """
    encoders: dict[LegName, Encoder] = {}
    wholes = [unwrap(encoder) for encoder in known]
    loaded = {_key(whole.card, getattr(whole, "precision", "fp32")): whole for whole in wholes}
    for leg in in_order(manifest.legs):
        spec = manifest.legs[leg]
        try:
            model = card(spec.model, spec.kind)
            encoder = encoder_of(model, spec.kind, settings, loaded, spec.precision, spec.sparsity)
        except UnknownModel as error:
            beside = f", or leave it out: hybrid-search collections drop-leg {collection} {leg}" if spec.beside else ""
            why = "which this version does not know. Use the version that built it"
            if Path(spec.model).is_absolute():
                why = "a folder that is no longer there. Bring it back"
            raise ModelError(
                f"Collection {collection!r} was built with the {leg} model {spec.model!r}, {why}, or rebuild it with "
                "another model: "
                f"hybrid-search index SOURCE -c {collection} --replace{beside}"
            ) from error
        if isinstance(encoder, Bm25Encoder):
            encoder = replace(encoder, average_tokens=spec.average_tokens)
        encoders[leg] = encoder
    models = ModelSet(manifest.profile, encoders)
    fetch(models, settings, on_download)
    for leg, spec in manifest.legs.items():
        if (found := encoders[leg].fingerprint()) != spec.fingerprint:
            raise ManifestMismatch(
                collection,
                f"the files of {spec.model},",
                spec.fingerprint[:12],
                f"those on this machine, {found[:12]}",
                "Bring the files back that it was built with",
            )
    return models


def matches_manifest(models: ModelSet, manifest: Manifest) -> bool:
    """Whether a collection was built with these models, as `reopen` would open them."""
    opened = {leg: spec_of(encoder) for leg, encoder in models.encoders.items()}
    return opened == {leg: replace(spec, vector="", beside=False) for leg, spec in manifest.legs.items()}


def check_request(
    collection: str,
    manifest: Manifest,
    profile: str,
    names: Mapping[LegName, str | None],
    legs: Sequence[LegName] | None = None,
    precision: Precision | None = None,
    sparsity: Sparsity | None = None,
    layout: str | None = None,
) -> None:
    """Refuse, by name, other models or legs than a collection was built with. `auto` and None ask for nothing.

    Raises:
        ManifestMismatch: a model or a set of legs asked for is not the manifest's.
        InvalidArgument: no such profile.
    """
    asked: dict[LegName, str | None] = {} if profile == "auto" else dict(profile_names(profile))
    asked.update({leg: name for leg, name in names.items() if name})
    for leg, name in asked.items():
        have = manifest.legs[leg].model if leg in manifest.legs else NO_LEG
        want = NO_LEG if name == NO_LEG or name is None else card(name, KINDS[leg]).name
        if have.lower() != want.lower():
            raise ManifestMismatch(collection, f"the {leg} model", repr(have), repr(want))
    if legs is not None and set(legs) != set(manifest.fused()):
        raise ManifestMismatch(collection, "the legs", ",".join(manifest.fused()), ",".join(in_order(legs)))
    if layout is not None and layout != manifest.layout:
        raise ManifestMismatch(collection, "the layout", manifest.layout or "of none but ours", layout)
    if precision is None and sparsity is None:
        return
    for leg, spec in manifest.legs.items():
        if leg not in KINDS or spec.beside:
            continue
        model = card(spec.model, spec.kind)
        if precision is not None and precision_of(model, precision) != spec.precision:
            raise ManifestMismatch(collection, f"the precision of {spec.model},", spec.precision, precision)
        if sparsity is not None and _learned(model, spec.kind) and sparsity != spec.sparsity:
            raise ManifestMismatch(collection, f"the {leg} leg's limits", _told(spec.sparsity), _told(sparsity))


def fetch(models: ModelSet, settings: Settings, on_download: OnDownload | None = None) -> None:
    """Get the files of models that are not on this machine yet; `on_download(name, bytes done, bytes in all)`.

    Raises:
        ModelUnavailable: a file is missing and the hub does not answer.
    """
    for encoder in models.encoders.values():
        model = encoder.card
        if model.source and not hub.is_here(model, settings.cache_dir):
            tell = None if on_download is None else partial(on_download, model.name)
            hub.ensure(model, settings.cache_dir, on_progress=tell)


def encoder_of(
    model: ModelCard,
    kind: Kind,
    settings: Settings,
    loaded: dict[str, Encoder],
    precision: Precision | None = None,
    sparsity: Sparsity | None = None,
) -> Encoder:
    """The encoder of one leg: of a hybrid model the half that its kind says.

    Args:
        model: the leg's.
        kind: which of a hybrid model's vectors.
        settings: the model cache, the threads, the device, and the precision where none is given.
        loaded: models by name and precision, so that one which serves several legs is loaded once; this one is added.
        precision: of a model that has a choice.
        sparsity: what is kept of a learned sparse model's vectors.
    """
    if model.runtime == "engine":
        return Bm25Encoder(model)
    chosen = precision_of(model, precision or settings.precision)
    key = _key(model, chosen)
    if key not in loaded:
        cache, threads, device = settings.cache_dir, settings.threads, settings.device
        found = load(model, cache_dir=cache, threads=threads, precision=chosen, device=device)
        loaded[key] = cast(Encoder, found)
    whole = loaded[key]
    encoder = view_for(cast(HybridEncoder, whole), kind) if model.kind == "hybrid" else whole
    return prune(encoder, sparsity) if sparsity and _learned(model, kind) else encoder


def _key(model: ModelCard, precision: Precision) -> str:
    return f"{model.name} {precision}"


def spec_of(encoder: Encoder) -> LegSpec:
    """What a manifest records of a leg's encoder."""
    return LegSpec(
        model=encoder.card.name,
        fingerprint=encoder.fingerprint(),
        dim=encoder.card.dim if encoder.card.kind == "dense" else 0,
        needs_idf=encoder.card.needs_idf,
        max_tokens=encoder.card.max_tokens,
        average_tokens=encoder.average_tokens if isinstance(encoder, Bm25Encoder) else 0.0,
        precision=getattr(unwrap(encoder), "precision", "fp32"),
        sparsity=encoder.sparsity if isinstance(encoder, PrunedEncoder) else Sparsity(),
    )


def _learned(model: ModelCard, kind: Kind) -> bool:
    """Whether its sparse vectors may be cut: those of a network, not counts of words."""
    return kind == "sparse" and model.family not in ("bm25", "bm42", "minicoil")


def _told(sparsity: Sparsity) -> str:
    """The limits as the options are written.

    >>> _told(Sparsity((60, 250), (0.0, 0.1)))
    'max-active-dims queries=60,documents=250 min-weight documents=0.1'
    """
    told = []
    for name, pair in (("max-active-dims", sparsity.max_active_dims), ("min-weight", sparsity.min_weight)):
        parts = ",".join(f"{side}={number:g}" for side, number in zip(SIDES, pair, strict=True) if number)
        told += [f"{name} {parts}"] if parts else []
    return " ".join(told) or "none"
