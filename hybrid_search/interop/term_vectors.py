"""Fill a collection from documents that come with the weights of their terms. No document is encoded.

    def read():
        yield TermVectors("1", "A boxer rises.", weights={"boxer": 31, "rises": 7})

    fill_collection("impacts", read)

Whatever format weights come in, its reader yields `TermVectors`, and `fill_collection` does the rest. It reads twice:
first everything is checked, and nothing is written where a part of it is invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace as with_values
from pathlib import Path
from typing import TypedDict

from hybrid_search._util import batched, utc_now
from hybrid_search.collection.models import OnDownload, load_models, open_store_for
from hybrid_search.collection.profiles import check_growing, profile_of
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hybrid import encode
from hybrid_search.errors import CorpusError, ManifestMismatch
from hybrid_search.indexing.job import index_job
from hybrid_search.indexing.progress import IndexReport, JobProgress, Progress
from hybrid_search.interop.filling import Upsert, fill
from hybrid_search.interop.term_legs import AUTO, HashedVocabulary, ModelVocabulary, TermLeg, check_leg, leg_of
from hybrid_search.interop.term_rows import SPARSE, Read, Row, Source, TermVectors, duplicate, rows_of
from hybrid_search.manifest import SCHEMA, LegSpec, Manifest
from hybrid_search.protocols import CollectionWriter, Encoder, Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name, chunk_of
from hybrid_search.store.server.foreign import read_only
from hybrid_search.types import LegName, Point, in_order

__all__ = ["TermLeg", "TermVectors", "fill_collection"]

ROWS = 256
"""Documents that the store is asked for at once, and whose vectors are held."""

EMPTY, ZEROS = "empty vectors, which no sparse query finds", "weights of 0"
"""What a report counts of documents that are stored."""

_CHANGED = "the source changed while it was read; run the same command again"


class FillOptions(TypedDict, total=False):
    """The keywords of `fill_collection` that an import of files hands on as they are."""

    store: str | Path | Store | None
    settings: Settings | None
    replace: bool
    prune: bool
    wait_s: float
    on_progress: Callable[[Progress], None] | None
    on_download: OnDownload | None


def fill_collection(
    collection: str,
    read: Read,
    leg: TermLeg | None = None,
    *,
    dense: Mapping[LegName, str] | None = None,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    replace: bool = False,
    prune: bool = False,
    wait_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
    on_download: OnDownload | None = None,
) -> IndexReport:
    """Fill a collection from documents that come with the weights of their terms.

    What is there already and has not changed is left alone, what has changed is replaced. Cut short, it goes on where
    it stopped when it is called again. Legs that were added to the collection since are encoded by their models.

    Args:
        collection: made where it is not there. One that is keeps its models.
        read: reads all documents; it is called twice.
        leg: what the terms and their weights are; hashed terms of any vocabulary when not given.
        dense: the models of dense legs whose vectors come with the documents, by leg.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        replace: build the collection anew beside the old one, which answers until the new one is complete.
        prune: delete documents that are not among them.
        wait_s: seconds to wait for another process that writes to the collection.
        on_progress: called at the beginning and while it runs; the total is known when everything was checked.
        on_download: called with (model, bytes done, bytes in all) while a model is fetched.

    Returns:
        What was done. `passed_over` counts empty vectors, weights of 0, and terms that share a dimension.

    Raises:
        CorpusError: a document is invalid, comes twice, or there is none. Nothing was written.
        InvalidArgument: an invalid scale, or a model whose vocabulary is not known.
        UnknownModel, ModelUnavailable: a model cannot be used.
        ManifestMismatch: the collection was built with other models.
        StoreError: the collection was adopted, or a leg that was added to it encodes no documents.
        StoreBusy, StoreFull, StoreUnavailable: see there. What was written before is kept; run it again to go on.
    """
    check_name(collection)
    leg, settings = leg or TermLeg(), settings or load_settings()
    check_leg(leg)
    opened = open_store_for(store, settings)
    existing = None if replace else opened.manifest(collection)
    leg = _as_built(collection, leg, existing)
    specs = {name: leg_of(TermLeg(model), "dense", settings, on_download)[1] for name, model in (dense or {}).items()}
    progress = JobProgress(collection, existing.profile if existing else "", "", None, on_progress)
    with Ledger() as ledger, Ledger() as terms:
        vocabulary: HashedVocabulary | ModelVocabulary = HashedVocabulary(terms)
        if leg.model != AUTO:
            encoder, specs[SPARSE] = leg_of(leg, "sparse", settings, on_download)
            vocabulary = vocabulary if encoder.card.runtime == "terms" else ModelVocabulary(encoder)
        others = _other_legs(collection, existing, specs, settings, on_download)
        source = Source(read, vocabulary, leg.scale, {name: spec.dim for name, spec in specs.items() if spec.dim})
        progress.emit()
        progress.total = _survey(source, ledger, progress)
        if isinstance(vocabulary, HashedVocabulary) and leg.model == AUTO:
            _, specs[SPARSE] = leg_of(leg._replace(model=vocabulary.model()), "sparse", settings)
        manifest = existing or _manifest(specs)
        progress.profile = manifest.profile
        progress.emit()
        writer = opened.writer(collection, manifest, replace=replace, wait_s=wait_s)
        with closing(writer), index_job("load", opened, writer, progress) as job:
            rows = _known(rows_of(source, writer.manifest.stamp_base()), ledger)
            fill(writer, batched(rows, ROWS), progress, collection, _completing(writer, others))
            if progress.now().done != len(ledger):
                raise CorpusError(f"Collection {collection!r} was not filled: {_CHANGED}.")
            return job.conclude(ledger, prune=prune, replace=replace)


def _as_built(collection: str, leg: TermLeg, existing: Manifest | None) -> TermLeg:
    """Return the leg with the collection's own model where none is asked for.

    Raises:
        StoreError: the collection was adopted.
        ManifestMismatch: it has no such leg, or one of a model that has to be named.
    """
    if existing is None:
        return leg
    if existing.adopted:
        raise read_only(collection, existing)
    if SPARSE not in existing.legs:
        raise ManifestMismatch(
            collection, "the legs", ",".join(in_order(existing.legs)), SPARSE, "Import into another collection"
        )
    if leg.model != AUTO:
        return leg
    spec = existing.legs[SPARSE]
    if card(spec.model, "sparse").runtime != "terms":
        raise ManifestMismatch(
            collection, "the sparse model", repr(spec.model), "terms of any vocabulary", f"Say --model {spec.model}"
        )
    own: TermLeg = leg._replace(model=spec.model)
    return own if leg.idf or not spec.needs_idf else own._replace(idf="queries")


def _other_legs(
    collection: str,
    existing: Manifest | None,
    specs: Mapping[LegName, LegSpec],
    settings: Settings,
    on_download: OnDownload | None,
) -> Mapping[LegName, Encoder]:
    """Return what encodes the legs of an existing collection for which no vectors come.

    Raises:
        ManifestMismatch: a leg for which they come was built with another model.
        StoreError: one of the others encodes no documents.
    """
    if existing is None:
        return {}
    for leg, spec in specs.items():
        have = existing.legs.get(leg)
        if have is None or have.fingerprint != spec.fingerprint:
            built = repr(have.model) if have else "none"
            raise ManifestMismatch(collection, f"the {leg} model", built, repr(spec.model))
        if have.needs_idf != spec.needs_idf:
            sides = ("documents, or in neither", "queries")
            raise ManifestMismatch(
                collection, "the inverse document frequency in", sides[have.needs_idf], sides[spec.needs_idf]
            )
    others = {leg: spec for leg, spec in existing.legs.items() if leg not in specs}
    rest = with_values(existing, legs=others)
    models = load_models(collection, rest, settings, on_download)
    check_growing(collection, rest, models)
    return models.encoders


def _manifest(specs: Mapping[LegName, LegSpec]) -> Manifest:
    profile = profile_of({leg: spec.model for leg, spec in specs.items()})
    return Manifest(profile, {leg: specs[leg] for leg in in_order(specs)}, 0, 0, utc_now(), SCHEMA, roots={})


def _survey(source: Source, ledger: Ledger, progress: JobProgress) -> int:
    """Read and check everything, put each document down in the ledger, and count what is worth knowing.

    Raises:
        CorpusError: a document is invalid, or comes twice, or there is none.
    """
    empty = zeros = 0
    for row in rows_of(source, ""):
        progress.origin = row.origin
        empty += not row.vectors[SPARSE]
        zeros += row.zeros
        if row.number == 0:
            earlier = ledger.seen(row.doc_id, "", row.origin)
            if earlier is not None:
                raise duplicate(row.origin, row.doc_id, earlier[1])
            if len(ledger) % ROWS == 0:
                progress.emit()
    if not len(ledger):
        raise CorpusError("There is no document to import: the source is empty. Nothing was written.")
    vocabulary = source.vocabulary
    shared = len(vocabulary.shared) if isinstance(vocabulary, HashedVocabulary) else 0
    if shared and isinstance(vocabulary, HashedVocabulary):
        progress.passed_over(vocabulary.shared_kind(), shared)
    for kind, count in ((EMPTY, empty), (ZEROS, zeros)):
        if count:
            progress.passed_over(kind, count)
    return len(ledger)


def _known(rows: Iterator[Row], ledger: Ledger) -> Iterator[Row]:
    """Yield the rows again that were surveyed. Raises CorpusError for another one."""
    for row in rows:
        if row.number == 0 and row.doc_id not in ledger:
            raise CorpusError(f"{row.origin}: {row.doc_id!r} was not there before: {_CHANGED}.")
        yield row


def _completing(writer: CollectionWriter, others: Mapping[LegName, Encoder]) -> Upsert:
    """Return what writes points after encoding the legs for which no vectors came."""
    if not others:
        return writer.upsert

    def upsert(points: Sequence[Point]) -> None:
        vectors = encode(others, [chunk_of(point.payload).searchable for point in points])
        complete = [
            Point(
                point.chunk_id, {**point.vectors, **{leg: some[place] for leg, some in vectors.items()}}, point.payload
            )
            for place, point in enumerate(points)
        ]
        writer.upsert(complete)

    return upsert
