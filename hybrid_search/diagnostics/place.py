"""Checks of a store as a whole: what a server says of itself, leftovers of jobs, the journal, files and their room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from hybrid_search.diagnostics.diagnosis import Diagnosis
from hybrid_search.indexing.journal import journal_file, journal_problem
from hybrid_search.protocols import Finding, Store
from hybrid_search.store.survey import SurveyedStore

SPARE_BYTES = 100 * 1024 * 1024
"""Bytes that have to stay free beside a copy of the collection, which every publication makes."""

_STATES = {"whole": "ok", "damaged": "problem", "unchecked": "unchecked"}


def check_store(store: SurveyedStore, names: list[str] | None) -> Iterator[Diagnosis]:
    """Yield the findings on a store.

    Args:
        store: the store.
        names: the collections whose leftovers count; None for all of them.
    """
    yield Diagnosis("open", "store", "ok", f"{store.location} can be read")
    for notice in store.notices():
        yield Diagnosis(notice.subject, "store", notice.state, notice.text, notice.command)
    found = [left for left in store.leftovers() if names is None or left.collection in names]
    for left in found:
        yield Diagnosis("leftovers", "store", "warning", f"{left.collection}: {left.text}", left.command)
    if not found:
        yield Diagnosis("leftovers", "store", "ok", "nothing was left behind by jobs or readers")


def check_journal(location: str) -> Iterator[Diagnosis]:
    """Check the journal of the store's jobs. It is only looked at: no answer depends on it."""
    problem = journal_problem(location)
    file = journal_file(location)
    if problem:
        yield Diagnosis("journal", "store", "problem", problem, f"rm {file}")
    elif file is not None and file.exists():
        yield Diagnosis("journal", "store", "ok", f"{file} can be read")


def check_room(store: Store, name: str) -> Iterator[Diagnosis]:
    """Check that the next publication of a collection in a folder fits on its disk beside the present one."""
    if not Path(store.location).is_dir():
        return
    location, size = Path(store.location), store.info(name).bytes_on_disk or 0
    free = shutil.disk_usage(location).free
    text = f"it takes {size / 1e6:,.1f} MB, and its disk has {free / 1e6:,.0f} MB free"
    if free < size + SPARE_BYTES:
        text += f"; writing to it needs {(size + SPARE_BYTES) / 1e6:,.0f} MB"
        yield Diagnosis("room", f"collection {name}", "problem", text, "hybrid-search collections list")
    else:
        yield Diagnosis("room", f"collection {name}", "ok", text)


def check_content(store: Store, name: str) -> Iterator[Diagnosis]:
    """Compare every byte and every point of a collection with what was written, as `collections verify` does."""
    for verification in store.verify(name):
        for finding in verification.findings:
            yield _diagnosis(name, finding)


def _diagnosis(name: str, finding: Finding) -> Diagnosis:
    command = f"hybrid-search index SOURCE -c {name} --replace" if finding.state == "damaged" else ""
    state = _STATES[finding.state]
    return Diagnosis(finding.part, f"collection {name}", state, finding.text, command)  # type: ignore[arg-type]
