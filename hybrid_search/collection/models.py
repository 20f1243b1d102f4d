"""From names to parts: the store that a setting names, and the models that a collection was built with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

from hybrid_search._util import utc_now
from hybrid_search._util.extras import check_extra
from hybrid_search.collection.expansion import DocumentExpansion, ExpandWith
from hybrid_search.encoders import hub, load, precision_of
from hybrid_search.encoders.base import TABLE_QUERIES
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hybrid import unwrap, view_for
from hybrid_search.encoders.pruning import PrunedEncoder, prune
from hybrid_search.errors import ManifestMismatch, ModelError, UnknownModel
from hybrid_search.manifest import EXPANDED, LAID_OUT, SCHEMA, LegSpec, Manifest, Precision, Sparsity
from hybrid_search.protocols import Encoder, HybridEncoder, Store
from hybrid_search.settings import Settings
from hybrid_search.store import open_store
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.store.certificates import Certificates
from hybrid_search.store.server.payload_layouts import named_for
from hybrid_search.types import Kind, LegName, ModelCard, in_order

OnDownload = Callable[[str, int, int], None]
"""Called with (model, bytes done, bytes in all) while a model is fetched."""


class ModelRequest(NamedTuple):
    """What is asked of a collection's models. One that exists refuses what it has not; None and `auto` ask nothing.

    Args:
        profile: a name, `auto`, or a model's folder.
        names: a model instead of the profile's, by leg.
        legs: of a new collection.
        precision: of the models that have a choice; the settings' for a new collection when not given.
        sparsity: what is kept of learned sparse vectors.
        layout: whose readers, besides ours, can read the collection: one of `payload_layouts.FRAMEWORKS`.
        expand_with: what its sparse legs encode besides titles and texts.
    """

    profile: str = "auto"
    names: Mapping[LegName, str | None] = MappingProxyType({})
    legs: Sequence[LegName] | None = None
    precision: Precision | None = None
    sparsity: Sparsity | None = None
    layout: str | None = None
    expand_with: ExpandWith | None = None


class ModelSet(NamedTuple):
    """The encoders of a collection by leg, the profile they make up, and why that one where it was chosen.

    `layout` is that of a new collection with them; `expansion` is what its sparse legs encode besides.
    """

    profile: str
    encoders: Mapping[LegName, Encoder]
    reason: str = ""
    layout: str = ""
    expansion: DocumentExpansion | None = None

    def manifest(self, chunk_tokens: int, overlap_tokens: int, roots: Mapping[str, str] | None = None) -> Manifest:
        """Build what a new collection with them records. Hashes the models' files, once per file and machine."""
        specs = named_for(self.layout, {leg: spec_of(encoder) for leg, encoder in self.encoders.items()})
        expansion = self.expansion and self.expansion.spec
        schema = EXPANDED if expansion else LAID_OUT if self.layout else SCHEMA
        manifest = Manifest(self.profile, specs, chunk_tokens, overlap_tokens, utc_now(), schema, layout=self.layout)
        return replace(manifest, roots=roots or {}, expansion=expansion)

    @property
    def measuring(self) -> bool:
        """Whether one of them has to measure the corpus first, as BM25 does its mean length."""
        return any(isinstance(encoder, Bm25Encoder) for encoder in self.encoders.values())

    def fitted(self, texts: Iterable[str]) -> ModelSet:
        """Return the same models; those that measure the corpus have measured these texts, read only for them."""
        measured = list(texts) if self.measuring else []
        fitted = {
            leg: encoder.fitted(measured) if isinstance(encoder, Bm25Encoder) else encoder
            for leg, encoder in self.encoders.items()
        }
        return self._replace(encoders=fitted)


def open_store_for(store: str | Path | Store | None, settings: Settings, *, patient: bool = False) -> Store:
    """Return the store itself, or open the one that a folder or URL names, or the settings'.

    Args:
        store: an open one, or where it is.
        settings: for the rest.
        patient: wait for a server that does not answer yet, as jobs do.

    Raises:
        ConfigError: an API key would travel unencrypted.
        StoreUnavailable: the server does not answer.
    """
    if store is not None and not isinstance(store, (str, Path)):
        return store
    key = settings.api_key.get_secret_value() if settings.api_key else None
    place = store or settings.store
    return open_store(
        place,
        api_key=key,
        timeout_s=settings.timeout_s,
        retry_s=settings.retry_s,
        search_timeout_s=settings.search_timeout_s,
        certificates=Certificates(settings.tls_ca, settings.tls_cert, settings.tls_key),
        patient=patient,
    )


def load_models(
    collection: str,
    manifest: Manifest,
    settings: Settings,
    on_download: OnDownload | None = None,
    *,
    known: Iterable[Encoder] = (),
) -> ModelSet:
    """Load the models that a collection was built with.

    Args:
        collection: its name.
        manifest: what it was built with.
        settings: where model files are kept, and what they run on.
        on_download: called while files are fetched.
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
            instead = f", or leave it out: hybrid-search collections drop-leg {collection} {leg}" if spec.shadow else ""
            why = "which this version does not know. Use the version that built it"
            if Path(spec.model).is_absolute():
                why = "a folder that is no longer there. Bring it back"
            raise ModelError(
                f"Collection {collection!r} was built with the {leg} model {spec.model!r}, {why}, or rebuild it with "
                "another model: "
                f"hybrid-search index SOURCE -c {collection} --replace{instead}"
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
    """Say whether a collection was built with these models, as `load_models` would open them.

    Where the inverse document frequency is multiplied in is the collection's: its models are the same either way.
    """
    opened = {leg: replace(spec_of(encoder), needs_idf=False) for leg, encoder in models.encoders.items()}
    built = {leg: replace(spec, vector="", shadow=False, needs_idf=False) for leg, spec in manifest.legs.items()}
    return opened == built


def fetch(models: ModelSet, settings: Settings, on_download: OnDownload | None = None) -> None:
    """Get the files of models that are not on this machine yet; `on_download(name, bytes done, bytes in all)`.

    Raises:
        ModelUnavailable: a file is missing and the hub does not answer.
        MissingExtra: the model could not run, were its files here.
    """
    for encoder in models.encoders.values():
        model = encoder.card
        if model.source and not hub.is_here(model, settings.cache_dir):
            if model.runtime == "torch" and model.family not in TABLE_QUERIES:  # whose queries need no torch
                check_extra("torch", f"The model {model.name}")
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
    """Make the encoder of one leg; of a hybrid model, the view that gives the vectors of its kind.

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
    return prune(encoder, sparsity) if sparsity and is_learned(model, kind) else encoder


def _key(model: ModelCard, precision: Precision) -> str:
    return f"{model.name} {precision}"


def spec_of(encoder: Encoder) -> LegSpec:
    """Describe a leg's encoder as a manifest records it."""
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


def is_learned(model: ModelCard, kind: Kind) -> bool:
    """Say whether a model's sparse vectors may be cut: those of a network, not counts of words."""
    return kind == "sparse" and model.family not in ("bm25", "bm42", "minicoil", "term_weights")
