"""The README of an export: what it is, and the commands that load and search it."""

from __future__ import annotations

from hybrid_search.interop.export.job import ExportJob


def readme(job: ExportJob, engine: str, body: str) -> str:
    """Return the page of one export.

    Args:
        job: it.
        engine: whom it is for.
        body: the commands, as Markdown.
    """
    source, statistics = job.source, job.statistics
    lines = [
        f"# {source.collection}, for {engine}",
        "",
        f"{statistics.chunks:,} {'passages' if statistics.passages else 'documents'} with the words and weights of the "
        f"leg `{source.leg}` (`{source.spec.model}`), {statistics.empty:,} of them without any.",
    ]
    if statistics.passages:
        lines += ["", "A document of several passages has an id for each: `ID#0`, `ID#1` and so on."]
    lines += ["", "Ids are escaped as in a URL where they hold blanks. `report.json` counts what was lost.", "", ""]
    return "\n".join(lines) + f"{body.strip()}\n"
