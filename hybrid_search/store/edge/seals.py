"""A writer's folder, and the seal that says that its shard was closed in order, and what every file of it holds.

work/shard/         the engine's files; the engine's own log is off
work/manifest.json  what is being built
work/changed        the log of what no published generation has yet (see `writes`); none where there is nothing
work/base/          the shard as its writer kept it at one time, that the log begins with (see `bases`)
work/seal.json      a checksum of every file but those of the base; none while the shard is open, or after a kill
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


def seal_of(work: Path) -> dict[str, Sum] | None:
    """Return what each file must hold; None where the shard was left open, or that cannot be read or is another's."""
    try:
        said = read_checked(work / SEAL)
        builds = {said.get("build", ""), _build_of(work)} - {""}
        return None if said.get("open") or len(builds) > 1 else sums_in(said)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def was_left_open(work: Path) -> bool:
    """Whether a writer opened the shard and has not closed it: it writes just now, or was killed, or failed."""
    return _left_open(work) is not None


def is_of_another(work: Path) -> bool:
    """Whether what such a writer was building is not what the folder says that is being built."""
    builds = {(_left_open(work) or {}).get("build", ""), _build_of(work)}
    return len(builds - {""}) > 1


def lacks_log(work: Path) -> bool:
    """Whether such a writer had a log that is not there any more."""
    left = _left_open(work) or {}
    return bool(left.get("logged")) and not ((work / LOG).is_file() and (work / LOG).stat().st_size)


def damages_since(work: Path, sealed: Mapping[str, Sum]) -> list[Damage]:
    """Return what is not as its last writer left it."""
    found = damages(work, sealed, whole="shard")
    if (work / LOG).exists() and LOG not in sealed:
        found.append(Damage(LOG, "does not belong there"))
    return found


def seal(work: Path, shard: Mapping[str, Sum] | None = None) -> None:
    """Write down what the files of a closed shard hold, so that the next writer can tell.

    Args:
        work: the writer's folder.
        shard: checksums of the files of the shard, by their paths from there, where they are known.
    """
    made = sums_of(work, "shard") if shard is None else {f"shard/{name}": sum_ for name, sum_ in shard.items()}
    made |= {file: checksum(work / file) for file in (LOG, RECORD) if (work / file).is_file()}
    # Lost with the power, it is as if left open.
    write_checked(work / SEAL, {"build": _build_of(work), **sums_out(made)}, durable=False)


def unseal(work: Path, *, logged: bool) -> None:
    """Say that the shard is open, before one of its files is changed, and whether there is a log."""
    try:
        said = {"open": True, "logged": logged, "build": _build_of(work)}
        write_checked(work / SEAL, said, durable=False)
    except OSError:  # a full disk
        (work / SEAL).unlink(missing_ok=True)


def _left_open(work: Path) -> dict[str, Any] | None:
    """What the writer says that has not closed the shard; None where it has."""
    try:
        said = read_checked(work / SEAL)
    except (OSError, ValueError):
        return None
    return said if said.get("open") else None


def _build_of(work: Path) -> str:
    """Which building this is; empty where that cannot be read."""
    try:
        return str(read_checked(work / RECORD).get("build", ""))
    except (OSError, ValueError):
        return ""
