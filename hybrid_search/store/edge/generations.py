"""The folder of one embedded collection: one writer's working shard, immutable published copies, and who uses what.

    NAME/
      work/             the writer's own shard and what brings it back after a kill (see `working`)
      rebuild/          as `work`: a replacement that is being built, or was given up
      g000007/          a published generation: `shard/`, `names/`, and `manifest.json` with what it must hold
      CURRENT           the name of the generation that readers open, replaced atomically
      leases/           a held lock file for each reader, by generation
      writer.lock       held by the writer; `writer.json` says who that is, while there is one

How readers are kept whole while somebody writes: they never open the working shard. They open the generation that
CURRENT names, with the log off, so any number of processes may have it open; the writer copies, syncs and then moves
CURRENT. An old generation is removed only when no lease on it is held. A reader takes its lease first and then looks at
CURRENT again, so a generation cannot vanish between the two. A writer that dies leaves CURRENT as it was, and its locks
are dropped by the operating system.

The engine has no checksums: a file cut short may end the process, and other damage may silently change answers. So the
manifest of a generation has one of every file. Readers compare the lengths when they open it, which takes
microseconds; whoever makes another generation of one, or verifies it, compares everything.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hybrid_search.errors import CollectionDamaged, StoreError
from hybrid_search.store.edge.disk import cannot_write, real_size, require_space
from hybrid_search.store.edge.files import (
    Damage,
    Sum,
    copy_tree,
    damages,
    read_checked,
    sums_in,
    sums_of,
    sums_out,
    sync,
    write_checked,
    write_text,
)
from hybrid_search.store.edge.locks import Lease, hold, hold_copy, is_held

DEADLY = "mutable_id_tracker.mappings"
"""A short file that the engine reads as it loads a segment. It takes wrong bytes for sizes, and ends the process."""


def folder_names(folder: Path) -> list[str]:
    """The collections in a folder: what has a published generation."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / "CURRENT").is_file())


def current(root: Path) -> Path | None:
    """The published generation's folder, or None where nothing has been published.

    Raises:
        CollectionDamaged: CURRENT does not hold the name of a generation.
        StoreError: the folder cannot be read.
    """
    try:
        name = (root / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"Cannot read {root}: {error.strerror or error}. Check who may read it.") from error
    if not re.fullmatch(r"g\d+", name):
        raise CollectionDamaged(
            f"{root / 'CURRENT'} holds {name[:40]!r}, expected the name of a generation such as 'g000001'. "
            f"Build the collection again from its sources: {rebuilding(root.name)}"
        )
    return root / name


def lease(root: Path) -> Lease | None:
    """Hold the current generation; None where nothing has been published.

    A folder that this process may not write gets a private copy instead: the engine writes to what it opens.
    """
    while True:
        folder = current(root)
        if folder is None:
            return None
        try:
            held = hold(root, folder) if os.access(root, os.W_OK) else hold_copy(folder)
        except StoreError:
            if current(root) == folder:
                raise
            continue  # it was removed meanwhile, and CURRENT names another one
        if current(root) == folder:
            return held
        held.release()


def mark(file: Path) -> tuple[int, int, int]:
    """What tells a file from the one that replaces it, without reading it (2 µs); zeros where there is none."""
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def publish(
    root: Path, shard: Path, settle: Callable[[Path], Mapping[str, Any]], frozen: Mapping[str, Sum]
) -> dict[str, Sum]:
    """Copy a closed shard into a new generation and point CURRENT at it. Interrupted, it leaves CURRENT as it was.

    Args:
        root: the collection's folder.
        shard: to copy.
        settle: gets the new generation's folder before anybody else can see it, and returns what its manifest says.
            The engine finishes a copy's files (it merges journals) the first time it opens them, which two readers
            must not do at once.
        frozen: files that cannot have changed, by their paths in `shard`.

    Returns:
        The checksums of the files of `shard`, by their paths in it.

    Raises:
        CollectionDamaged: a file that cannot have changed has.
        StoreFull: the copy would not leave enough room.
        StoreError: the folder cannot be written.
    """
    require_space(root, real_size(shard))
    try:
        return _publish(root, shard, settle, frozen)
    except OSError as error:
        raise cannot_write(root, error) from error


def _publish(
    root: Path, shard: Path, settle: Callable[[Path], Mapping[str, Any]], frozen: Mapping[str, Sum]
) -> dict[str, Sum]:
    last = max((int(folder.name[1:]) for folder in generations(root)), default=0)
    name = f"g{last + 1:06d}"
    building = root / f"{name}.building"
    shutil.rmtree(building, ignore_errors=True)
    sums = copy_tree(shard, building / "shard")
    _require_same(sums, frozen, shard)
    manifest = settle(building)
    copied = {f"shard/{file}": sum_ for file, sum_ in sums.items() if file in frozen}
    whole = sums_of(building)
    _require_same(whole, copied, building)
    write_checked(building / "manifest.json", {**manifest, **sums_out(whole)})
    for file in building.rglob("*"):
        sync(file)
    building.rename(root / name)
    write_text(root / "CURRENT", name)
    return sums


def _require_same(found: Mapping[str, Sum], frozen: Mapping[str, Sum], folder: Path) -> None:
    """Raise CollectionDamaged where a file that nobody writes holds something else."""
    for file, sum_ in frozen.items():
        if found.get(file, sum_) != sum_:
            raise CollectionDamaged(
                f"{folder / file} has changed, and nobody writes to it. Readers keep what they have; run it again, and "
                "what is damaged is made anew."
            )


def damaged_files(folder: Path) -> list[str]:
    """Files of a generation that are missing or not as long as they were published, or of which the engine would die.

    The bytes of the others are not compared: that takes as long as to read them all.
    """
    wanted = {
        name: sum_ if name.endswith(DEADLY) else Sum(sum_.length, "") for name, sum_ in published_sums(folder).items()
    }
    return [damage.name for damage in damages(folder, wanted)]


def damages_of(folder: Path) -> list[Damage]:
    """What of a generation is not as it was published, every byte compared.

    Raises:
        CollectionDamaged: its manifest cannot be read.
    """
    return damages(folder, published_sums(folder), whole="shard")


def published_sums(folder: Path) -> dict[str, Sum]:
    """What each file of a generation must hold.

    Raises:
        CollectionDamaged: its manifest cannot be read.
    """
    try:
        return sums_in(read_checked(folder / "manifest.json"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise unreadable(folder / "manifest.json", error) from error


def unreadable(file: Path, error: Exception) -> CollectionDamaged:
    """Return the error for a manifest that cannot be read."""
    return CollectionDamaged(
        f"{file} cannot be read ({error}). Build the collection again from its sources: "
        f"{rebuilding(file.parent.parent.name)}"
    )


def rebuilding(name: str) -> str:
    """Return the command that builds a collection anew."""
    return f"hybrid-search index SOURCE -c {name} --replace"


def sweep(root: Path) -> None:
    """Remove generations, and half-made ones, that nobody reads and CURRENT does not name."""
    keep = current(root)
    for folder in [*generations(root), *root.glob("g*.building")]:
        if folder != keep and not is_held(root, folder):
            shutil.rmtree(folder, ignore_errors=True)


def generations(root: Path) -> list[Path]:
    """The folders of all generations, published or not."""
    return [folder for folder in root.glob("g[0-9]*") if folder.name[1:].isdigit()]


def remove(root: Path) -> None:
    """Unpublish a collection and remove everything but its lock; readers that have it open keep what they mapped."""
    (root / "CURRENT").unlink(missing_ok=True)
    for name in ("work", "rebuild"):
        (root / name / "manifest.json").unlink(missing_ok=True)
    for entry in root.iterdir():
        if entry.name not in ("writer.lock", "writer.json"):
            remove_folder(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
