"""Write a collection for another engine, count what is lost, and say whether the rankings survived.

    report = export_collection("movies", "anserini", "out", queries="queries.jsonl", verify=True)

The folder holds the files of the format, a `README.md` with the commands that load and search them, and `report.json`,
which is what is returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from hybrid_search import __version__
from hybrid_search.errors import InvalidArgument
from hybrid_search.indexing.progress import JobProgress, Progress
from hybrid_search.interop.export.escaping import export_id
from hybrid_search.interop.export.folder import README, REPORT, check_target, export_folder
from hybrid_search.interop.export.formats import format_of
from hybrid_search.interop.export.job import ExportJob, ExportOptions, Format
from hybrid_search.interop.export.quantization import NONE, check_idf, check_quantization
from hybrid_search.interop.export.source import ExportSource, open_source
from hybrid_search.interop.export.verify import overlap
from hybrid_search.protocols import Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LegName


def export_collection(
    collection: str,
    format: str,
    out: str | Path,
    *,
    options: ExportOptions | None = None,
    leg: LegName | None = None,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Write a collection's sparse leg, and what else the format holds, to a folder. Memory stays bounded.

    The folder appears, or replaces an earlier export, when it is whole. An export that was cut short goes on where it
    stopped when it is asked for again.

    Args:
        collection: its name.
        format: one of `FORMATS`.
        out: the folder.
        options: see `ExportOptions`.
        leg: the sparse leg; `sparse`, or the only one, when not given.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        on_progress: called at the beginning and while it runs.

    Returns:
        What the report says: what was exported and how, counts, what was lost, and the overlap where it was asked for.

    Raises:
        InvalidArgument: no such format or leg, an option out of range, or a folder that cannot be written.
        EvaluationError: the queries cannot be read.
        StoreFull, StoreError, CollectionNotFound, CollectionDamaged, StoreUnavailable: see there.
    """
    wanted, asked, path = format_of(format), options or ExportOptions(), Path(out).expanduser()
    check_quantization(asked.quantize)
    check_idf(asked.idf)
    if wanted.whole and asked.quantize == NONE:
        raise InvalidArgument(f"quantize is {NONE!r}, and {format} holds whole numbers only; leave it out for 8 bits.")
    if asked.verify and asked.queries is None:
        raise InvalidArgument("verify compares the rankings of queries, and there are none; name a file with queries.")
    check_target(path)
    chosen = settings or load_settings()
    with (
        closing(open_source(collection, chosen, store=store, leg=leg, dense=wanted.dense)) as source,
        ExitStack() as held,
    ):
        wanted.check(source, asked)
        folder = held.enter_context(export_folder(path, _identity(wanted, source, asked)))
        manifest, documents = source.reader.manifest, source.reader.info().documents
        progress = JobProgress(collection, manifest.profile, "", documents, on_progress)
        return _export(ExportJob(wanted, source, folder, asked, progress))


def _export(job: ExportJob) -> dict[str, Any]:
    job.progress.emit()
    job.format.write(job)
    report = _report(job)
    if job.options.verify:
        report["verify"] = _verify(job)
    job.folder.write_json(REPORT, report)
    job.folder.write(README, job.format.readme(job).encode())
    job.progress.emit()
    return report


def _identity(wanted: Format, source: ExportSource, options: ExportOptions) -> dict[str, Any]:
    """Return what must be equal for an interrupted export to go on: what is exported, how, and by which version."""
    manifest, statistics = source.reader.manifest, source.statistics
    peaks = [float(statistics.peaks.sum()), int(statistics.frequencies.sum()), statistics.chunks, statistics.empty]
    read = options.queries.read_bytes() if options.queries and options.queries.is_file() else b""
    queries = hashlib.blake2b(read, digest_size=16).hexdigest()
    asked = {**options._asdict(), "queries": queries}
    return {
        "format": wanted.name,
        "leg": source.leg,
        "manifest": manifest.to_dict(),
        "statistics": peaks,
        "options": asked,
        "version": __version__,
    }


def _report(job: ExportJob) -> dict[str, Any]:
    spec, statistics, factors = job.source.spec, job.statistics, job.factors
    return {
        "format": job.format.name,
        "collection": job.source.collection,
        "leg": job.source.leg,
        "model": spec.model,
        "fingerprint": spec.fingerprint,
        "version": __version__,
        "idf": job.options.idf if spec.needs_idf else NONE,
        "quantize": factors.name,
        "scale": factors.documents or 1.0,
        "query_scale": factors.queries or 1.0,
        "passages": statistics.passages,
        "escaped": True,
        "documents": job.source.reader.info().documents,
        "chunks": statistics.chunks,
        "chunks_without_terms": statistics.empty,
        "weights": statistics.weights,
        "terms": len(statistics.dimensions),
        "queries": len(job.queries),
        "lost": dict(sorted(job.tally.lost.items())),
        "named": {kind: list(names) for kind, names in sorted(job.tally.named.items())},
        **job.facts,
    }


def _verify(job: ExportJob) -> dict[str, Any]:
    """Compare the rankings of the files with the store's."""
    exported = job.format.queries(job.folder.partial)
    aligned = [exported.get(export_id(query.query_id, 0, 1), {}) for query in job.queries]
    found = overlap(job.source, job.queries, aligned, lambda: job.format.documents(job.folder.partial))
    return {"queries": found.queries, "overlap@10": found.mean, "worst": found.worst, "perfect": found.perfect}
