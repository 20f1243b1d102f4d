"""From names to parts: the store a setting names, the models a new collection gets, and the same ones back later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from hybrid_search.encoders import hub, load
from hybrid_search.encoders.catalog import BM25_ENGINE, PROFILES, card, kind_of
from hybrid_search.encoders.halves import half
from hybrid_search.errors import InvalidArgument, ManifestMismatch, ModelError, UnknownModel
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import Encoder, HybridEncoder, Store
from hybrid_search.settings import Settings
from hybrid_search.store import open_store
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.types import LEGS, Kind, LegName, ModelCard, in_order

OnDownload = Callable[[str, int, int], None]
"""Told (model, bytes done, bytes in all) while a model is fetched."""

NO_LEG = "none"
"""Given for a model's name, it leaves the leg out."""

BM25_LEG = "bm25"
"""The leg that is the engine's BM25 in every profile."""

DEFAULT_LEGS: tuple[LegName, ...] = LEGS
"""The legs of a new collection where none are asked for."""


class Models(NamedTuple):
    """The encoders of a collection by leg, the profile they make up, and why that one where it was chosen."""

    profile: str
    encoders: Mapping[LegName, Encoder]
    reason: str = ""

    def manifest(self, chunk_tokens: int, overlap_tokens: int) -> Manifest:
        """What a new collection with them records. Hashes the models' files, once per file and machine."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        specs = {leg: spec_of(encoder) for leg, encoder in self.encoders.items()}
        return Manifest(self.profile, specs, chunk_tokens, overlap_tokens, created=now)

    @property
    def measuring(self) -> bool:
        """Whether one of them has to measure the corpus first, as BM25 does its mean length."""
        return any(isinstance(encoder, Bm25Encoder) for encoder in self.encoders.values())

    def fitted(self, texts: Iterable[str]) -> Models:
        """The same models, those that measure the corpus having measured these texts, which are read only for them."""
        measured = list(texts) if self.measuring else []
        fitted = {
            leg: encoder.fitted(measured) if isinstance(encoder, Bm25Encoder) else encoder
            for leg, encoder in self.encoders.items()
        }
        return self._replace(encoders=fitted)


def open_place(store: str | Path | Store | None, settings: Settings) -> Store:
    """The store itself, the one that a folder or URL names, or the settings'.

    Raises:
        ConfigError: an API key would travel unencrypted.
        StoreUnavailable: the server does not answer.
    """
    if store is not None and not isinstance(store, (str, Path)):
        return store
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return open_store(store or settings.store, api_key=key, timeout_s=settings.timeout_s)


def models_for(
    collection: str,
    found: Manifest | None,
    profile: str,
    names: Mapping[LegName, str | None],
    settings: Settings,
    on_download: OnDownload | None,
    legs: Sequence[LegName] | None = None,
) -> Models:
    """The models of an existing collection, which are those asked for or none is; or those for a new one. All are here.

    Raises:
        HybridSearchError: whatever `check_same`, `reopen`, `choose` and `fetch` raise.
    """
    if found is not None:
        check_same(collection, found, profile, names, legs)
        return reopen(collection, found, settings, on_download)
    models = choose(profile, names, settings, legs)
    fetch(models, settings, on_download)
    return models


def choose(
    profile: str, names: Mapping[LegName, str | None], settings: Settings, legs: Sequence[LegName] | None = None
) -> Models:
    """The models for a new collection.

    Args:
        profile: `splade`, `bundled`, or `auto`: the former where its files are here or the hub answers within three
            seconds, else the latter. Or the folder of a model, such as `hybrid-search train` leaves: it serves the legs
            that it can, and the bundled model the other one.
        names: a model or a folder instead of the profile's, by leg; `none` leaves the leg out.
        settings: where model files are kept.
        legs: of `sparse`, `dense` and `bm25`, which is the engine's BM25 whatever the profile; `DEFAULT_LEGS` when not
            given.

    Raises:
        InvalidArgument: no such profile or leg, a model for a leg that is not asked for, or no leg left.
        UnknownModel: a name is in no card.
    """
    given: dict[LegName, str] = {leg: name for leg, name in names.items() if name}
    if profile != "auto":
        _profile_names(profile)
    wanted = _legs_wanted(legs, given)
    reason = ""
    lacking = [leg for leg in wanted if leg not in given and leg in LEGS]
    if lacking and profile == "auto":
        profile, reason = _auto(settings.cache_dir)
    own = {BM25_LEG: BM25_ENGINE, **(_profile_names(profile) if lacking else {})}
    chosen = {leg: given.get(leg) or own[leg] for leg in wanted}
    chosen = {leg: name for leg, name in chosen.items() if name != NO_LEG}
    if not chosen:
        raise InvalidArgument("Both legs are 'none'; keep at least one of --sparse and --dense.")
    return Models(profile_of(chosen), _encoders(chosen, settings), reason)


def profile_of(names: Mapping[LegName, str]) -> str:
    """The profile whose models the legs `sparse` and `dense` have, by the models' names; `custom` where it is none."""
    own = {leg: name for leg, name in names.items() if leg in LEGS}
    return next((profile for profile in PROFILES if _profile_names(profile) == own), "custom")


def reopen(
    collection: str,
    manifest: Manifest,
    settings: Settings,
    on_download: OnDownload | None = None,
) -> Models:
    """The models that a collection was built with.

    Raises:
        ModelError: this version has no card for one of them.
        ModelUnavailable: a model's files are not here and cannot be fetched.
        ManifestMismatch: the files of a model have changed since.
    """
    encoders: dict[LegName, Encoder] = {}
    loaded: dict[str, Encoder] = {}
    for leg in in_order(manifest.legs):
        spec = manifest.legs[leg]
        try:
            encoder = encoder_of(card(spec.model, spec.kind), spec.kind, settings, loaded)
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
    models = Models(manifest.profile, encoders)
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


def check_same(
    collection: str,
    manifest: Manifest,
    profile: str,
    names: Mapping[LegName, str | None],
    legs: Sequence[LegName] | None = None,
) -> None:
    """Refuse, by name, other models or legs than a collection was built with. `auto` and None ask for nothing.

    Raises:
        ManifestMismatch: a model or a set of legs asked for is not the manifest's.
        InvalidArgument: no such profile.
    """
    asked: dict[LegName, str | None] = {} if profile == "auto" else dict(_profile_names(profile))
    asked.update({leg: name for leg, name in names.items() if name})
    for leg, name in asked.items():
        have = manifest.legs[leg].model if leg in manifest.legs else NO_LEG
        want = NO_LEG if name == NO_LEG or name is None else card(name, _KINDS[leg]).name
        if have.lower() != want.lower():
            raise ManifestMismatch(collection, f"the {leg} model", repr(have), repr(want))
    if legs is not None and set(legs) != set(manifest.fused()):
        raise ManifestMismatch(collection, "the legs", ",".join(manifest.fused()), ",".join(in_order(legs)))


def fetch(models: Models, settings: Settings, on_download: OnDownload | None = None) -> None:
    """Get the files of models that are not on this machine yet; `on_download(name, bytes done, bytes in all)`.

    Raises:
        ModelUnavailable: a file is missing and the hub does not answer.
    """
    for encoder in models.encoders.values():
        model = encoder.card
        if model.source and not hub.is_here(model, settings.cache_dir):
            tell = None if on_download is None else partial(on_download, model.name)
            hub.ensure(model, settings.cache_dir, on_progress=tell)


def encoder_of(model: ModelCard, kind: Kind, settings: Settings, loaded: dict[str, Encoder]) -> Encoder:
    """The encoder of one leg: of a hybrid model the half that its kind says.

    `loaded` holds models by name, so that one which serves several legs is loaded once; this one is added.
    """
    if model.runtime == "engine":
        return Bm25Encoder(model)
    if model.name not in loaded:
        loaded[model.name] = cast(Encoder, load(model, cache_dir=settings.cache_dir, threads=settings.threads))
    whole = loaded[model.name]
    return half(cast(HybridEncoder, whole), kind) if model.kind == "hybrid" else whole


def spec_of(encoder: Encoder) -> LegSpec:
    """What a manifest records of a leg's encoder."""
    return LegSpec(
        model=encoder.card.name,
        fingerprint=encoder.fingerprint(),
        dim=encoder.card.dim if encoder.card.kind == "dense" else 0,
        needs_idf=encoder.card.needs_idf,
        max_tokens=encoder.card.max_tokens,
        average_tokens=encoder.average_tokens if isinstance(encoder, Bm25Encoder) else 0.0,
    )


_KINDS: Mapping[LegName, Kind] = {"sparse": "sparse", "dense": "dense", BM25_LEG: "sparse"}


def _legs_wanted(legs: Sequence[LegName] | None, given: Mapping[LegName, str]) -> tuple[LegName, ...]:
    if legs is None:
        # A second BM25 beside the first would only count it twice.
        return tuple(leg for leg in DEFAULT_LEGS if leg != BM25_LEG or given.get("sparse") != BM25_ENGINE)
    unknown = [leg for leg in legs if leg not in _KINDS]
    if unknown or not legs:
        raise InvalidArgument(
            f"The legs of a new collection are {', '.join(_KINDS)}, or some of these; "
            f"{', '.join(map(repr, unknown)) or 'none'} cannot be one. "
            "Others are put beside them later: hybrid-search index --add-leg NAME=MODEL -c COLLECTION"
        )
    for leg, name in given.items():
        if leg not in legs and name != NO_LEG:
            raise InvalidArgument(f"There is a model for the leg {leg!r} ({name}), but the legs are {','.join(legs)}.")
    return in_order(set(legs))


def _encoders(names: Mapping[LegName, str], settings: Settings) -> dict[LegName, Encoder]:
    loaded: dict[str, Encoder] = {}
    return {leg: encoder_of(card(name, _KINDS[leg]), _KINDS[leg], settings, loaded) for leg, name in names.items()}


def _auto(cache_dir: Path) -> tuple[str, str]:
    if all(hub.is_here(card(name, _KINDS[leg]), cache_dir) for leg, name in _profile_names("splade").items()):
        return "splade", "profile splade: its files are on this machine"
    if hub.hub_answers():
        return "splade", "profile splade: its files come from the model hub"
    return "bundled", "profile bundled: the files of 'splade' are not here and the model hub does not answer"


def _profile_names(profile: str) -> dict[LegName, str]:
    """The models of a profile by leg. What a folder's model does not serve, the bundled one does."""
    if profile in PROFILES:
        return {"sparse": PROFILES[profile].sparse, "dense": PROFILES[profile].dense}
    if not Path(profile).expanduser().is_dir():
        known = ", ".join(PROFILES)
        raise InvalidArgument(f"Unknown profile {profile!r}. Take one of: auto, {known}, or the folder of a model.")
    kind = card(profile, kind_of(profile)).kind
    return {leg: profile if kind in (leg, "hybrid") else getattr(PROFILES["bundled"], leg) for leg in LEGS}
