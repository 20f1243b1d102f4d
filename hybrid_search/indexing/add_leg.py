"""Adds a shadow leg with another model to a collection: the stored texts are encoded, no source is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from hybrid_search._util import batched
from hybrid_search.collection.legs import with_legs, writing
from hybrid_search.collection.models import ModelSet, OnDownload, encoder_of, fetch, open_store_for, spec_of
from hybrid_search.collection.profiles import check_encodes
from hybrid_search.encoders import precision_of
from hybrid_search.encoders.catalog import card, kind_of
from hybrid_search.encoders.devices import check_building
from hybrid_search.encoders.hybrid import encode
from hybrid_search.errors import InvalidArgument
from hybrid_search.indexing.chunker import count_cut, count_truncated, unread
from hybrid_search.indexing.expansion import LegTexts, leg_texts
from hybrid_search.indexing.job import IndexJob, index_job
from hybrid_search.indexing.progress import IndexReport, JobProgress, Progress
from hybrid_search.manifest import LegSpec, Manifest, Precision, Sparsity, check_leg_name
from hybrid_search.protocols import CollectionWriter, Encoder, Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.store.schema import chunk_of
from hybrid_search.types import Kind, LegName

ENCODE_BATCH = 64


def add_leg(
    collection: str,
    leg: LegName,
    model: str,
    *,
    kind: Kind | None = None,
    precision: Precision | None = None,
    sparsity: Sparsity | None = None,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    wait_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
    on_download: OnDownload | None = None,
) -> IndexReport:
    """Add a shadow leg with another model to a collection; no source is read.

    Where the documents are expanded, a sparse leg reads the same expansions as those that are there, from the file or
    the model that the collection was built with.

    Cut short, it leaves the collection as it was, and goes on where it stopped when it is called again with the same
    leg and model. Called once more after its end, it fills what lacks a vector, which is nothing as a rule. On a
    server, let no index job write to the collection meanwhile: it would not know of the new leg.

    Args:
        collection: its name.
        leg: the new leg's name.
        model: a card's name, or a folder.
        kind: which vectors to take of a model that gives both; `sparse` where it is not said.
        precision: of the model, where it has a choice; the settings' when not given.
        sparsity: what is kept of its vectors, where they are learned sparse ones.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        wait_s: seconds to wait for another process that writes to the collection.
        on_progress: called at the beginning and after every batch; `documents` counts those whose first chunk is done.
        on_download: called with (model, bytes done, bytes in all) while a model is fetched.

    Returns:
        What was done; `unchanged` are the documents that had the vector before.

    Raises:
        InvalidArgument: a name that cannot be one, or that another model has; or a model that another leg has.
        UnknownModel, ModelUnavailable: the model cannot be used.
        CollectionNotFound, StoreBusy, StoreFull, StoreUnavailable: see there.
        StoreError: the collection, or its replacement, has not been built to its end.
        ManifestMismatch: the file of its expansions is gone, or has changed.
    """
    settings = settings or load_settings()
    check_leg_name(leg)
    kind = kind or kind_of(model, leg)
    model_card = card(model, kind)
    check_encodes(model_card)
    check_building(model_card, precision_of(model_card, precision or settings.precision), settings.device)
    encoder = encoder_of(model_card, kind, settings, {}, precision, sparsity)
    fetch(ModelSet("custom", {leg: encoder}), settings, on_download)
    opened = open_store_for(store, settings, patient=True)
    with (
        writing(collection, opened, settings, wait_s) as writer,
        leg_texts(collection, writer.manifest, spec_of(encoder).kind, settings, on_download) as texts,
    ):
        encoder = _fitted(encoder, leg, writer, texts)
        spec = _spec(collection, leg, encoder, writer.manifest)
        manifest = writer.manifest
        if leg not in manifest.legs:
            manifest = with_legs(manifest, {**manifest.legs, leg: spec})
        documents = writer.info().documents
        progress = JobProgress(collection, manifest.profile, "", documents, on_progress)
        progress.emit()
        with index_job("add-leg", opened, writer, progress) as job:
            writer.add_vector(spec)
            for payloads in batched(writer.iter_payloads(without=spec.vector), ENCODE_BATCH):
                _encode_payloads(payloads, leg, encoder, spec, job, texts)
            progress.unchanged = max(0, documents - progress.documents)
            return job.finish(manifest)


def _encode_payloads(
    payloads: Sequence[Mapping[str, Any]],
    leg: LegName,
    encoder: Encoder,
    spec: LegSpec,
    job: IndexJob,
    leg_reads: LegTexts,
) -> None:
    """Give the chunks with these payloads the new leg's vectors, and count them."""
    chunks = [chunk_of(payload) for payload in payloads]
    texts, expanded = [chunk.searchable for chunk in chunks], leg_reads.of(chunks)
    vectors = encode({leg: encoder}, expanded)[leg]
    job.writer.set_vectors(spec, {chunk.chunk_id: vectors[place] for place, chunk in enumerate(chunks)})
    job.progress.cut_off(count_truncated({leg: encoder}, job.writer.manifest.chunk_tokens, texts))
    job.progress.cut_expansions(count_cut({leg: encoder}, texts, expanded))
    places = unread({leg: encoder}, texts, {leg: vectors})[leg]
    job.progress.leave_unread({leg: [payloads[place]["origin"] or chunks[place].doc_id for place in places]})
    job.progress.add(sum(chunk.number == 0 for chunk in chunks), len(chunks))


def _fitted(encoder: Encoder, leg: LegName, writer: CollectionWriter, texts: LegTexts) -> Encoder:
    """Fit BM25 to the mean length of what is stored, or to the one that its leg has already."""
    if not isinstance(encoder, Bm25Encoder):
        return encoder
    if leg in writer.manifest.legs and writer.manifest.legs[leg].average_tokens:
        return replace(encoder, average_tokens=writer.manifest.legs[leg].average_tokens)
    return encoder.fitted(texts.of([chunk_of(payload) for payload in islice(writer.iter_payloads(), texts.sample)]))


def _spec(collection: str, leg: LegName, encoder: Encoder, manifest: Manifest) -> LegSpec:
    """Describe the new leg. Its vector is named after leg and model: a job cut short goes on only with the same."""
    spec = spec_of(encoder)
    called = manifest.vectors()
    for name, other in manifest.legs.items():
        same = (other.fingerprint, other.kind) == (spec.fingerprint, spec.kind)
        if name == leg and same:
            return replace(other, vector=called[leg])
        if name == leg:
            raise InvalidArgument(
                f"Collection {collection!r} has a leg {leg!r} already, with {other.model!r} or other files of it. "
                f"Take another name, or drop that one first: hybrid-search collections drop-leg {collection} {leg}"
            )
        if same:
            raise InvalidArgument(
                f"Collection {collection!r} has the {spec.kind} vectors of {spec.model!r} already: its leg {name!r}."
            )
    return replace(spec, vector=f"{leg}.{spec.fingerprint[:8]}", shadow=True)
