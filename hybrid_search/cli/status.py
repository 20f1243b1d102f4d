"""`hybrid-search status`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli import options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note, out
from hybrid_search.cli.options import choice
from hybrid_search.cli.origins import seen_from_here
from hybrid_search.cli.progress_bar import spoken
from hybrid_search.cli.streams import print_json

if TYPE_CHECKING:
    from hybrid_search.indexing.journal import Job

_KINDS = {"ray": "index on a Ray cluster", "add-leg": "add a leg", "load": "load encodings", "move": "move"}
_COLOURS = {"running": "cyan", "finished": "green", "failed": "red", "interrupted": "yellow"}


def status(
    collection: Annotated[
        str | None,
        options.collection_option("Show only the jobs of this collection, all that are kept."),
    ] = None,
    format: options.Format = "table",
) -> None:
    """Show how far jobs are, and how the last ones ended: of each collection the last one.

    Example: `hybrid-search status -c notes`
    """
    from hybrid_search.collection.models import open_store_for
    from hybrid_search.indexing.journal import recent_jobs

    choice(format, ("table", "json"), "--format")
    location = open_store_for(None, global_options.settings()).location
    jobs = recent_jobs(location, collection)
    if format == "json":
        print_json([asdict(job) for job in jobs])
    for job in jobs if format == "table" else ():
        out.print(_job_text(job), soft_wrap=True)
    if not jobs:
        of = f" of {collection!r}" if collection else ""
        note(f"No job{of} has been recorded in {location}.")


def _job_text(job: Job) -> Text:
    """Return a few lines on one job."""
    done = job.documents + job.unchanged + job.failed
    of = "" if job.total is None else f" of {job.total:,} ({min(1.0, done / max(1, job.total)):.0%})"
    lines = [
        f"{done:,}{of} documents, {job.chunks:,} chunks written, {job.unchanged:,} unchanged, {job.failed:,} failed"
    ]
    if job.state == "running":
        pace = f"{job.tokens / job.seconds:,.0f} tokens/s" if job.tokens and job.seconds else ""
        left = "" if job.eta_s is None else f"{spoken(job.eta_s)} left"
        parts = (f"at work for {spoken(job.seconds)}", pace, left, seen_from_here(job.current))
        lines.append(", ".join(filter(None, parts)))
        lines.append(f"process {job.pid} on {job.host}, last heard of {_ago(job.updated)}")
    else:
        lines.append(f"began {_ago(job.started)}, took {spoken(job.seconds)}: {job.command}")
    if job.message:
        lines.append(job.message)
    if job.state == "interrupted":
        lines.append(f"{job.saved:,} documents were saved by then. The same command goes on where it stopped.")
    kind = "" if job.kind == "index" else f"  {_KINDS.get(job.kind, job.kind)}"
    head = Text.assemble((one_line(job.collection), "bold"), "  ", (job.state, _COLOURS[job.state]), (kind, "dim"))
    return Text("\n").join([head, *(Text(f"  {one_line(line)}") for line in lines)])


def _ago(moment: str) -> str:
    try:
        seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds()
    except ValueError:
        return "at an unknown time"
    return f"{spoken(max(0.0, seconds))} ago"
