"""Recovery of a writer's shard that was not closed cleanly, or was damaged.

Damaged engine files cannot be recognized: a kill leaves them half written, and the engine has no checksums. So a shard
is opened only if its last writer closed it, and if every file is as that writer left it (see `clean_shutdown`). Any
other shard is rebuilt from parts that are known to be whole: a base with checksums (see `recovery_bases`), and the log
of the writes since, each with a checksum (see `write_log`). So a kill loses nothing, and damage never reaches the next
generation.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hybrid_search.errors import CollectionDamaged, StoreError, StoreFull
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.clean_shutdown import BASE, LOG, damages_since, lacks_log, read_seal, seal, unseal
from hybrid_search.store.edge.disk import cannot_write, real_size, require_space
from hybrid_search.store.edge.files import Damage, copy_tree, write_json
from hybrid_search.store.edge.inspection import inspect_in_child
from hybrid_search.store.edge.manifest_file import read_record
from hybrid_search.store.edge.recovery_bases import Base, list_bases, published_base, save_base
from hybrid_search.store.edge.shard_process import create_shard, open_shard
from hybrid_search.store.edge.write_log import LogScan, WriteLog, read_writes, scan

log = logging.getLogger(__name__)


def make_ready(name: str, root: Path, work: Path, handles: Sequence[int] = ()) -> None:
    """Bring the shard in `work` into a closed and whole state; recover it where it is not.

    Args:
        name: of the collection.
        root: its folder.
        work: the writer's folder in it, with a manifest.
        handles: of the writer's lock, for children.

    Raises:
        CollectionDamaged: there is nothing whole to recover it from.
        StoreError: the folder cannot be written.
    """
    sealed = read_seal(work)
    if sealed is None and is_early(work):
        _convert_early(name, root, work, handles)
        return
    found = [] if sealed is None else damages_since(work, sealed)
    if found and all(damage.name == LOG for damage in found):
        _warn(name, found, False)  # the shard itself is whole, and so is a base
        _save_as_base(root, work)
    elif sealed is None or found:
        restore(name, root, work, found, handles)


def restore(name: str, root: Path, work: Path, found: Sequence[Damage] = (), handles: Sequence[int] = ()) -> None:
    """Rebuild a shard from the newest whole base and the log of the writes since.

    Args:
        name: of the collection.
        root: its folder.
        work: the writer's folder in it.
        found: the damage, for the warning.
        handles: of the writer's lock, for children.

    Raises:
        CollectionDamaged: no base is whole, or the log cannot be applied.
        StoreError: the folder cannot be written.
    """
    base, newest = _newest_whole_base(name, root, work)
    lost = lacks_log(work) or any(damage.name == LOG for damage in found)
    known = scan(work / LOG) if (work / LOG).is_file() else None
    fits = known is not None and newest and known.after == base.token
    if base.folder is None and not fits:
        raise _beyond_repair(name, "what was written to it is gone or damaged, and nothing of it has been published")
    spent = known is None or known.after == base.after
    lost = lost or not newest or not (fits or spent) or (known is not None and (known.damaged or known.cut_off))
    lost = lost or (known is None and base.folder == work / BASE)
    try:
        _replay(name, work, base, known if fits else None, handles)
        if not fits and base.folder == work / BASE:
            WriteLog.begin(work / LOG, base.token).close()
        elif not fits:
            (work / LOG).unlink(missing_ok=True)
            generations.remove_folder(work / BASE)
        seal(work)
    except OSError as error:
        raise cannot_write(root, error) from error
    _warn(name, found, lost)


def _newest_whole_base(name: str, root: Path, work: Path) -> tuple[Base, bool]:
    """Return the newest whole base, and whether it is the newest of all."""
    problems = []
    for place, base in enumerate(list_bases(root, work)):
        problem = "" if base.folder is None else _problem_of(base.folder)
        if not problem:
            return base, place == 0
        problems.append(problem)
    raise _beyond_repair(
        name, f"its working files were left open or damaged, and so is what they are made of ({'; '.join(problems)})"
    )


def _problem_of(folder: Path) -> str:
    """Return what is wrong with a base, in words; empty for nothing. Early generations have no checksums."""
    for damage in generations.damages_of(folder):
        return f"{damage.name} in {folder} {damage.reason}"
    if all(sum_.checksum for sum_ in generations.published_sums(folder).values()):
        return ""
    return "; ".join(inspect_in_child(folder).problems)


def _beyond_repair(name: str, why: str) -> CollectionDamaged:
    return CollectionDamaged(
        f"Collection {name!r} cannot be written to: {why}. Build it again from its sources: "
        f"{generations.rebuild_command(name)}"
    )


def _replay(name: str, work: Path, base: Base, known: LogScan | None, handles: Sequence[int]) -> None:
    """Copy a base and apply a log to it. A last write that the engine refuses is dropped: it never took effect."""
    while True:
        _copy_base(work, base, handles)
        if known is None or len(known.ends) < 2:
            return
        applied = 0
        shard = open_shard(work / "shard", handles)
        try:
            for write in read_writes(work / LOG, known):
                write.apply(shard)
                applied += 1
            shard.close()
            return
        except StoreFull:
            raise
        except StoreError as error:
            with suppress(StoreError):
                shard.close()
            if applied != len(known.ends) - 2:
                raise _beyond_repair(name, f"what was written to it cannot be applied again ({error})") from error
            known = known._replace(ends=known.ends[:-1])
            os.truncate(work / LOG, known.ends[-1])


def _copy_base(work: Path, base: Base, handles: Sequence[int]) -> None:
    """Replace the shard by a copy of a base."""
    unseal(work, logged=(work / LOG).is_file())
    generations.remove_folder(work / "shard")
    if base.folder is None:
        create_shard(work / "shard", read_record(work).manifest, handles).close()
        return
    require_space(work, real_size(base.folder))
    sums = generations.published_sums(base.folder)
    made = copy_tree(base.folder / "shard", work / "shard")
    for file, sum_ in made.items():
        if sums[f"shard/{file}"].checksum not in ("", sum_.checksum):
            raise CollectionDamaged(f"{base.folder / 'shard' / file} changed while it was copied. Run it again.")


def is_early(work: Path) -> bool:
    """Say whether an early version made a shard, with the engine's own log on."""
    try:
        config = json.loads((work / "shard" / "edge_config.json").read_text(encoding="utf-8"))
        return config.get("wal_enabled") is not False
    except (OSError, ValueError, AttributeError):
        return False


def _convert_early(name: str, root: Path, work: Path, handles: Sequence[int]) -> None:
    """Convert a shard of an early version.

    It has no checksums, so it may be damaged. Where a published generation exists, the shard is rebuilt from that;
    otherwise it is used as it is, if every point in it is whole.
    """
    if published_base(root, work) is not None:
        lost = (work / LOG).exists()
        (work / LOG).unlink(missing_ok=True)
        restore(name, root, work, handles=handles)
        _warn(name, [], lost)
        return
    if not any((work / "shard" / "wal").glob("open-*")):
        raise _beyond_repair(name, "it has never been finished, and the engine's log is gone")
    if problems := inspect_in_child(work, handles).problems:
        raise _beyond_repair(name, f"it has never been finished, and is damaged: {problems[0]}")
    config = work / "shard" / "edge_config.json"
    write_json(config, {**json.loads(config.read_text(encoding="utf-8")), "wal_enabled": False})
    generations.remove_folder(work / "shard" / "wal")
    _save_as_base(root, work)


def _save_as_base(root: Path, work: Path) -> None:
    """Save a closed and whole shard as the base of a new log."""
    try:
        token, _ = save_base(work, read_record(work), "", {})
        WriteLog.begin(work / LOG, token).close()
        seal(work)
    except OSError as error:
        raise cannot_write(root, error) from error


def _warn(name: str, found: Sequence[Damage], lost: bool) -> None:
    if found:
        log.warning(
            "Working files of collection %s were damaged (%d of them, first %s: it %s). They have been made again.",
            name,
            len(found),
            found[0].name,
            found[0].reason or "cannot be used",
        )
    if lost:
        log.warning(
            "What was written to collection %s and not published yet is lost, or a part of it. The index command that "
            "wrote it encodes it again.",
            name,
        )
