"""The seal of a writer's folder: the mark of a clean shutdown, with a checksum of every file.

work/shard/         the engine's files; the engine's own log is off
work/manifest.json  what is being built
work/changed        the log of unpublished writes (see `write_log`); none where there are none
work/base/          a saved state of the shard, with which the log begins (see `recovery_bases`)
work/seal.json      a checksum of every file outside base/; says "open" while the shard is open, or after a kill
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_search.store.edge.files import (
    Damage,
    Sum,
    checksum,
    damages,
    read_checked,
    sums_in,
    sums_of,
    sums_out,
    write_checked,
)

SEAL, LOG, BASE, RECORD = "seal.json", "changed", "base", "manifest.json"


def read_seal(work: Path) -> dict[str, Sum] | None:
    """Return the checksums of a sealed folder; None if it was left open, or the seal is unreadable or another's."""
    try:
        said = read_checked(work / SEAL)
        builds = {said.get("build", ""), _build_of(work)} - {""}
        return None if said.get("open") or len(builds) > 1 else sums_in(said)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def was_left_open(work: Path) -> bool:
    """Say whether a writer opened the shard and has not closed it: it is writing, was killed, or failed."""
    return _read_open_seal(work) is not None


def is_of_other_build(work: Path) -> bool:
    """Say whether that writer was on another build than the folder's record."""
    builds = {(_read_open_seal(work) or {}).get("build", ""), _build_of(work)}
    return len(builds - {""}) > 1


def lacks_log(work: Path) -> bool:
    """Say whether that writer had a log that is now missing."""
    left = _read_open_seal(work) or {}
    return bool(left.get("logged")) and not ((work / LOG).is_file() and (work / LOG).stat().st_size)


def damages_since(work: Path, sealed: Mapping[str, Sum]) -> list[Damage]:
    """Return the differences from what the last writer left."""
    found = damages(work, sealed, whole="shard")
    if (work / LOG).exists() and LOG not in sealed:
        found.append(Damage(LOG, "does not belong there"))
    return found


def seal(work: Path, shard: Mapping[str, Sum] | None = None) -> None:
    """Record the checksums of a closed shard's files, so that the next writer can compare.

    Args:
        work: the writer's folder.
        shard: checksums of the shard's files, by their paths in it, if they are known; computed when not given.
    """
    made = sums_of(work, "shard") if shard is None else {f"shard/{name}": sum_ for name, sum_ in shard.items()}
    made |= {file: checksum(work / file) for file in (LOG, RECORD) if (work / file).is_file()}
    # Lost with the power, it is as if left open.
    write_checked(work / SEAL, {"build": _build_of(work), **sums_out(made)}, durable=False)


def unseal(work: Path, *, logged: bool) -> None:
    """Record that the shard is open, and whether there is a log. Must precede any change of its files."""
    try:
        said = {"open": True, "logged": logged, "build": _build_of(work)}
        write_checked(work / SEAL, said, durable=False)
    except OSError:  # a full disk
        (work / SEAL).unlink(missing_ok=True)


def _read_open_seal(work: Path) -> dict[str, Any] | None:
    """Return the seal of a folder that was left open; None where it was closed."""
    try:
        said = read_checked(work / SEAL)
    except (OSError, ValueError):
        return None
    return said if said.get("open") else None


def _build_of(work: Path) -> str:
    """Return the build in the folder's record; empty where it cannot be read."""
    try:
        return str(read_checked(work / RECORD).get("build", ""))
    except (OSError, ValueError):
        return ""
