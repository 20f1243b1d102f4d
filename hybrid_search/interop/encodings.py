"""Encode once: what a collection holds goes to a file, and a collection is filled from one, without any model.

    save_encodings("movies", "movies.parquet")
    load_encodings("movies-2", "movies.parquet", store="http://localhost:6333")

The file is Parquet, one row a chunk, with the manifest inside; `layout` says what its columns are. A collection that
was filled from it is the one that was saved: searches give the same, and indexing the same sources finds everything
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from hybrid_search._util import batched
from hybrid_search.collection.models import open_store_for
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.errors import CorpusError, ManifestMismatch, StoreError
from hybrid_search.indexing.job import index_job
from hybrid_search.indexing.progress import IndexReport, JobProgress, Progress
from hybrid_search.interop.chunks import iter_chunk_ids, unfinished
from hybrid_search.interop.filling import fill
from hybrid_search.interop.reader import EncodedFile
from hybrid_search.interop.writer import EncodedRows, writing
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.types import in_order

READ_BATCH = 64


class Saved(NamedTuple):
    """What was written: where, how many documents and chunks of them, how long the file is and how long it took."""

    file: Path
    documents: int
    chunks: int
    bytes: int
    seconds: float


def save_encodings(
    collection: str,
    file: str | Path,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Saved:
    """Write every document of a collection, with its vectors, to a file. Memory stays bounded.

    The file appears, or replaces one of that name, when it is whole; a save that is cut short leaves what was there.

    Args:
        collection: its name; what is published of it is saved, whoever writes to it meanwhile.
        file: to write, Parquet.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        on_progress: called at the beginning and while it runs.

    Raises:
        InvalidArgument: the file is a folder, or its folder is not there or may not be written.
        MissingExtra: pyarrow is not installed.
        CollectionNotFound, CollectionDamaged, StoreUnavailable, StoreFull: see there.
        StoreError: the file cannot be written, a job on the collection, on a server, is not at its end, or it was
            adopted.
    """
    begun, path = perf_counter(), Path(file).expanduser()
    reader = open_store_for(store, settings or load_settings()).reader(collection)
    try:
        manifest = reader.manifest
        if manifest.adopted:
            raise StoreError(
                f"Collection {collection!r} was adopted: its points are somebody else's, and cannot be saved. Index "
                "its documents into a collection of your own, and save that."
            )
        progress = JobProgress(collection, manifest.profile, "", reader.info().documents, on_progress)
        progress.emit()
        with writing(path, manifest) as write:
            for chunk_ids in batched(iter_chunk_ids(collection, reader), READ_BATCH):
                payloads = reader.payloads(chunk_ids)
                if len(payloads) < len(chunk_ids):
                    raise unfinished(collection, next(name for name in chunk_ids if name not in payloads))
                vectors = {leg: reader.vectors(leg, chunk_ids) for leg in manifest.legs}
                write(EncodedRows([payloads[chunk_id] for chunk_id in chunk_ids], vectors))
                progress.add(sum(payload["number"] == 0 for payload in payloads.values()), len(chunk_ids))
        return Saved(path, progress.documents, progress.chunks, path.stat().st_size, perf_counter() - begun)
    finally:
        reader.close()


def load_encodings(
    collection: str,
    file: str | Path,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    replace: bool = False,
    prune: bool = False,
    wait_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> IndexReport:
    """Fill a collection from a file that `save_encodings` wrote. No model is loaded, nor need it be on this machine.

    What is there already and has not changed is left alone, what has changed is replaced. Cut short, it goes on where
    it stopped when it is called again. A document whose row cannot be stored is listed as a failure, and the others go
    in; such a one with more than `WRITE_BATCH` chunks is taken out of the collection, a smaller one stays as it was.

    Args:
        collection: made with the manifest of the file where it is not there.
        file: to read.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        replace: build the collection anew beside the old one, which answers until the new one is complete.
        prune: delete documents that the file does not hold. Skipped when a document failed.
        wait_s: seconds to wait for another process that writes to the collection.
        on_progress: called at the beginning and after every batch.

    Raises:
        CorpusError: the file is not there, no Parquet, cut short, of a newer format, or does not hold what its manifest
            says. Nothing was written then, but where a page in the middle of the file turns out to be damaged.
        ManifestMismatch: the collection was built with other models or chunking than the file.
        MissingExtra: pyarrow is not installed.
        StoreBusy, StoreFull, StoreUnavailable: see there. What was written before is kept; run it again to go on.
    """
    check_name(collection)
    opened = open_store_for(store, settings or load_settings())
    with closing(EncodedFile(Path(file).expanduser())) as encoded, Ledger() as ledger:
        existing = None if replace else opened.manifest(collection)
        if existing is not None:
            _check_same(collection, existing, encoded.manifest)
        progress = JobProgress(collection, encoded.manifest.profile, "", encoded.outline(ledger), on_progress)
        if not progress.total:
            raise CorpusError(f"{file} holds no document. Nothing was written.")
        progress.emit()
        writer = opened.writer(collection, existing or encoded.manifest, replace=replace, wait_s=wait_s)
        with closing(writer), index_job("load", opened, writer, progress) as job:
            fill(writer, encoded.rows(), progress, str(encoded.path))
            return job.conclude(ledger, prune=prune, replace=replace)


def _check_same(collection: str, existing: Manifest, offered: Manifest) -> None:
    """Refuse, by name, a file that was encoded with other models or chunking than the collection.

    Raises:
        ManifestMismatch: it was.
    """
    if existing.fingerprint() == offered.fingerprint():
        return
    pairs: list[tuple[str, object, object]] = [
        ("the legs", ",".join(in_order(existing.legs)), ",".join(in_order(offered.legs))),
        ("--chunk-tokens", existing.chunk_tokens, offered.chunk_tokens),
        ("--overlap-tokens", existing.overlap_tokens, offered.overlap_tokens),
        ("the expansion", existing.expansion or "none", offered.expansion or "none"),
    ]
    for leg in in_order(set(existing.legs) & set(offered.legs)):
        pairs += [(f"the {leg} {what}", old, new) for what, old, new in _facts(existing.legs[leg], offered.legs[leg])]
    pairs.append(("the manifest", existing.fingerprint(), offered.fingerprint()))
    what, have, want = next(pair for pair in pairs if pair[1] != pair[2])
    raise ManifestMismatch(collection, what, have, want, "Load the file into another collection, -c NEW_NAME")


def _facts(old: LegSpec, new: LegSpec) -> list[tuple[str, object, object]]:
    return [
        ("model", repr(old.model), repr(new.model)),
        ("leg's mean length", old.average_tokens, new.average_tokens),
        ("model's files or settings", old.fingerprint[:12], new.fingerprint[:12]),
    ]
