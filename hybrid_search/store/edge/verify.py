"""Verifying an embedded collection: comparing every byte of every file, and every point, with what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hybrid_search.errors import StoreError, StoreFull
from hybrid_search.protocols import Finding, Verification
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.clean_shutdown import (
    LOG,
    RECORD,
    SEAL,
    damages_since,
    is_of_other_build,
    lacks_log,
    read_seal,
    was_left_open,
)
from hybrid_search.store.edge.files import Damage
from hybrid_search.store.edge.inspection import inspect_in_child
from hybrid_search.store.edge.locks import Lease, current_writer
from hybrid_search.store.edge.manifest_file import read_record, writer_record
from hybrid_search.store.edge.recovery import is_early
from hybrid_search.store.edge.recovery_bases import list_bases
from hybrid_search.store.edge.write_log import scan
from hybrid_search.store.point_checks import SHOWN

State = Literal["whole", "damaged", "unchecked"]


def is_ours(root: Path) -> bool:
    """Say whether a folder belongs to a collection, whatever is left of it."""
    marks = ("CURRENT", "work/manifest.json", "rebuild/manifest.json", "work/shard", "writer.lock")
    return any((root / mark).exists() for mark in marks) or bool(generations.generations(root))


def verify_collection(root: Path) -> Verification:
    """Verify the collection in a folder. Files that a writer is working on are not checked."""
    writer = current_writer(root)
    beside = list(_check_small_files(root, bool(writer)))  # first: to read the rest is to take a lease
    findings = list(_check_published(root))
    if writer:
        findings.append(Finding("working files", "unchecked", f"the collection is being written by {writer}"))
    else:
        for name, called in (("work", "working files"), ("rebuild", "files of an unfinished replacement")):
            findings += [] if not _is_expected(root, name) else _check_working(root, root / name, called)
    return Verification(root.name, findings + beside)


def verify_published(root: Path) -> list[Finding]:
    """Verify what readers have of the collection in a folder, which may be all that there is of it."""
    return list(_check_published(root))


def _check_published(root: Path) -> Iterator[Finding]:
    """Yield the findings on the published generation."""
    part = "published generation"
    try:
        lease = _lease(root)
    except StoreError as error:
        yield Finding(part, "damaged", str(error))
        return
    if lease is None:
        left = [folder.name for folder in generations.generations(root)]
        text = f"CURRENT is missing, but there is {', '.join(left)}" if left else "nothing has been published yet"
        yield Finding(part, "damaged" if left else "unchecked", text)
        return
    try:
        folder = root / lease.folder.name
        wanted = generations.published_sums(folder)
        read_record(folder)
        found = generations.damages_of(folder)
        unknown = sum(not sum_.checksum for sum_ in wanted.values())
        yield _files(f"{part} {folder.name}", found, len(wanted), unknown)
        if found:
            yield Finding("points", "unchecked", "the engine is not given damaged files")
        else:
            yield _points(lease.folder)
    except StoreError as error:
        yield Finding(part, "damaged", str(error))
    finally:
        lease.release()


def _lease(root: Path) -> Lease | None:
    """Lease a copy of the published generation, so that nothing changes; itself where there is no room for a copy."""
    try:
        return generations.lease(root, private=True)
    except StoreFull:
        return generations.lease(root)


def _points(folder: Path) -> Finding:
    found = inspect_in_child(folder)
    vectors = ", ".join(f"{count:,} {leg}" for leg, count in found.vectors.items())
    text = f"{found.points:,} chunks of {found.heads:,} documents, with their names and vectors ({vectors})"
    if found.unfinished:
        text += f"; {found.unfinished:,} documents are not there completely, for a job was cut short"
    return Finding("points", "damaged" if found.problems else "whole", "; ".join(found.problems) or text)


def _check_working(root: Path, work: Path, part: str) -> Iterator[Finding]:
    """Yield the findings on a writer's folder while nobody writes to it."""
    sealed = read_seal(work)
    if sealed is not None:
        yield _files(part, damages_since(work, sealed), len(sealed), 0)
    elif was_left_open(work):
        text = "left open by a writer that was killed or failed: made again of what follows when it is written to next"
        yield Finding(part, "unchecked", text)
        if lacks_log(work):
            yield Finding(f"{part}: log", "damaged", "is gone, with the writes that were not published yet")
    elif (work / SEAL).exists():
        yield Finding(part, "damaged", f"{SEAL} cannot be read; they are made again when it is written to next")
    elif is_early(work):
        yield Finding(part, "unchecked", "of an early version, without checksums: the next index job makes them anew")
    else:
        yield Finding(part, "damaged", f"{SEAL} is missing; they are made again when it is written to next")
    if sealed is None or RECORD not in sealed:
        problem = "cannot be read" if writer_record(work) is None else "is another's" if is_of_other_build(work) else ""
        state: State = "damaged" if problem else "whole"
        yield Finding(f"{part}: {RECORD}", state, problem or "what is being built")
    if writer_record(work) is not None:
        yield from _check_recovery(root, work, part)


def _check_recovery(root: Path, work: Path, part: str) -> Iterator[Finding]:
    """Yield the findings on what the working files can be recovered from."""
    tokens: set[str] = set()
    try:
        for base in list_bases(root, work):
            tokens |= {base.token, base.after}
            if base.folder is not None and work in base.folder.parents:
                sums = generations.published_sums(base.folder)
                yield _files(f"{part}: kept for after a kill", generations.damages_of(base.folder), len(sums), 0)
    except StoreError as error:
        yield Finding(f"{part}: kept for after a kill", "damaged", str(error))
    if (work / LOG).is_file() and (work / LOG).stat().st_size:
        found = scan(work / LOG)
        text = f"{len(found.ends) - 1:,} writes that are not published yet"
        if found.cut_off:
            yield Finding(f"{part}: log", "damaged", f"{text}, and a last one that was cut off, as by a kill")
        elif found.damaged or not found.after:
            yield Finding(f"{part}: log", "damaged", f"{text}, and damage behind")
        elif tokens and found.after not in tokens:
            yield Finding(f"{part}: log", "damaged", f"{text}, to a state of the points that is not there")
        else:
            yield Finding(f"{part}: log", "whole", text)


def _check_small_files(root: Path, is_being_written: bool) -> Iterator[Finding]:
    """Yield the findings on the small files beside them."""
    if not is_being_written and (root / "writer.json").exists():
        try:
            since = json.loads((root / "writer.json").read_text(encoding="utf-8"))["since"]
            yield Finding("writer.json", "unchecked", f"left by a writer of {since} that was killed")
        except (OSError, ValueError, KeyError, TypeError):
            yield Finding("writer.json", "damaged", "cannot be read; the next writer replaces it")
    leases = root / "leases"
    if leases.exists() and not leases.is_dir():
        yield Finding("leases", "damaged", "is no folder; the next reader replaces it")
    odd = [file.name for file in leases.glob("*")] if leases.is_dir() else []
    odd = [name for name in odd if not name.endswith(".lock") or (leases / name).stat().st_size]
    if odd:
        yield Finding("leases", "damaged", f"{odd[0]} is no lock of a reader; it may be removed")


def _files(part: str, found: list[Damage], count: int, unknown: int) -> Finding:
    if found:
        shown = [f"{damage.name} {damage.reason}" for damage in found[:SHOWN]]
        more = [f"and {len(found) - SHOWN:,} more files"] if len(found) > SHOWN else []
        return Finding(part, "damaged", "; ".join([*shown, *more]))
    if unknown:
        text = (
            f"{count:,} files are as long as they were written. {unknown:,} have no checksums yet: the next publication"
        )
        return Finding(part, "unchecked", f"{text} adds them")
    return Finding(part, "whole", f"{count:,} files, every byte compared")


def _is_expected(root: Path, name: str) -> bool:
    """Say whether a writer's folder exists, or should."""
    return (root / name).exists() or (name == "work" and (root / "CURRENT").exists())
