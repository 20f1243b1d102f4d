"""The folder of one embedded collection: the writer's working shard, immutable published copies, and their locks.

    NAME/
      work/             the writer's own shard, and what recovers it after a kill (see `clean_shutdown`)
      rebuild/          as `work`: a replacement that is being built, or was given up
      g000007/          a published generation: `shard/`, `names/`, and `manifest.json` with what it must hold
      CURRENT           the name of the generation that readers open, replaced atomically
      leases/           a held lock file for each reader, by generation
      writer.lock       held by the writer; `writer.json` says who that is, while there is one

Readers never open the working shard, so a writer cannot disturb them. They open the generation that CURRENT names, with
the engine's log off, so any number of processes may have it open. The writer copies its shard, syncs the copy, and then
moves CURRENT. An old generation is removed only when no lease on it is held. A reader first takes its lease and then
reads CURRENT again, so a generation cannot vanish between the two. A writer that dies leaves CURRENT as it was, and the
operating system releases its locks.

The engine has no checksums: a truncated file may kill the process, and other damage may silently change answers. So the
manifest of a generation has a checksum of every file. Readers compare the lengths when they open it, which takes
microseconds; whoever copies a generation, or verifies it, compares everything.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hybrid_search._util import sync
from hybrid_search.errors import CollectionDamaged, StoreError, StoreFull
from hybrid_search.store.edge.disk import SPARE_BYTES, cannot_write, real_size, require_space
from hybrid_search.store.edge.files import (
    Damage,
    Sum,
    copy_tree,
    damages,
    read_checked,
    sums_in,
    sums_of,
    sums_out,
    write_checked,
    write_text,
)
from hybrid_search.store.edge.locks import Lease, hold, hold_copy, hold_unchanged, is_held

DEADLY = "mutable_id_tracker.mappings"
"""A short file that the engine reads when it loads a segment. It takes wrong bytes for sizes, and kills the process."""


def folder_names(folder: Path) -> list[str]:
    """List the collections in a folder that have a published generation."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / "CURRENT").is_file())


def current(root: Path) -> Path | None:
    """Return the folder of the published generation; None where nothing has been published.

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
            f"Build the collection again from its sources: {rebuild_command(root.name)}"
        )
    return root / name


def lease(root: Path, *, private: bool = False) -> Lease | None:
    """Lease the current generation; None where nothing has been published.

    Args:
        root: the collection's folder.
        private: lease a private copy, so that nothing in the folder changes: the engine writes to what it opens. A
            folder that this process may not write to is always read from one.

    Raises:
        CollectionDamaged: CURRENT does not hold the name of a generation.
        StoreFull: there is no room for the copy.
        StoreError: the folder cannot be read, or no lease be made.
    """
    take = _lease_copy if private else _lease_in_place
    while True:
        folder = current(root)
        if folder is None:
            return None
        try:
            held = take(root, folder)
        except StoreError:
            if current(root) == folder:
                raise
            continue  # it was removed meanwhile, and CURRENT names another one
        if current(root) == folder:
            return held
        held.release()


def _lease_in_place(root: Path, folder: Path) -> Lease:
    return hold(root, folder) if os.access(root, os.W_OK) else hold_copy(folder)


def _lease_copy(root: Path, folder: Path) -> Lease:
    """Lease a private copy, and keep its original from removal without writing anything."""
    place, size = Path(tempfile.gettempdir()), real_size(folder)
    if shutil.disk_usage(place).free < size + SPARE_BYTES:
        raise StoreFull(
            f"{place} has no room for a copy of {folder}, {size / 1e6:,.0f} MB, and without one it would change: the "
            "engine writes to what it opens. Free some space, or name a folder with some in TMPDIR."
        )
    lock = hold_unchanged(folder)
    try:
        return hold_copy(folder)._replace(shared=lock)
    except BaseException:
        lock.release()
        raise


def file_identity(file: Path) -> tuple[int, int, int]:
    """Return what tells a file from its replacement, without reading it (2 µs); zeros where there is no file."""
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def publish(
    root: Path, shard: Path, settle: Callable[[Path], Mapping[str, Any]], frozen: Mapping[str, Sum]
) -> dict[str, Sum]:
    """Copy a closed shard into a new generation and point CURRENT at it. If it is interrupted, CURRENT stays as it was.

    Args:
        root: the collection's folder.
        shard: to copy.
        settle: is called with the new generation's folder before any reader can see it, and returns the manifest's
            content. The engine rewrites a copy's files (it merges journals) when it first opens them, which two readers
            must not do at once.
        frozen: files that cannot have changed, by their paths in `shard`.

    Returns:
        The checksums of the files of `shard`, by their paths in it.

    Raises:
        CollectionDamaged: a frozen file has changed.
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
    """Raise CollectionDamaged where a file that nobody writes has changed."""
    for file, sum_ in frozen.items():
        if found.get(file, sum_) != sum_:
            raise CollectionDamaged(
                f"{folder / file} has changed, and nobody writes to it. Readers keep what they have; run it again, and "
                "what is damaged is made anew."
            )


def damaged_files(folder: Path) -> list[str]:
    """List the files of a generation that are missing, have the wrong length, or would kill the engine.

    The bytes of the others are not compared: that would take as long as reading them all.
    """
    wanted = {
        name: sum_ if name.endswith(DEADLY) else Sum(sum_.length, "") for name, sum_ in published_sums(folder).items()
    }
    return [damage.name for damage in damages(folder, wanted)]


def damages_of(folder: Path) -> list[Damage]:
    """Compare every byte of a generation with what was published, and return the differences.

    Raises:
        CollectionDamaged: its manifest cannot be read.
    """
    return damages(folder, published_sums(folder), whole="shard")


def published_sums(folder: Path) -> dict[str, Sum]:
    """Return the checksum of each file of a generation from its manifest.

    Raises:
        CollectionDamaged: the manifest cannot be read.
    """
    try:
        return sums_in(read_checked(folder / "manifest.json"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise unreadable_manifest(folder / "manifest.json", error) from error


def unreadable_manifest(file: Path, error: Exception) -> CollectionDamaged:
    """Return the error for a manifest that cannot be read."""
    return CollectionDamaged(
        f"{file} cannot be read ({error}). Build the collection again from its sources: "
        f"{rebuild_command(file.parent.parent.name)}"
    )


def rebuild_command(name: str) -> str:
    """Return the command that builds a collection anew."""
    return f"hybrid-search index SOURCE -c {name} --replace"


def sweep(root: Path) -> None:
    """Remove generations, complete or not, that no reader has leased and CURRENT does not name."""
    keep = current(root)
    for folder in [*generations(root), *root.glob("g*.building")]:
        if folder != keep and not is_held(root, folder):
            shutil.rmtree(folder, ignore_errors=True)


def generations(root: Path) -> list[Path]:
    """List the folders of all generations, published or not."""
    return [folder for folder in root.glob("g[0-9]*") if folder.name[1:].isdigit()]


def remove(root: Path) -> None:
    """Unpublish a collection and remove everything but its lock. Readers that have it open keep what they mapped."""
    (root / "CURRENT").unlink(missing_ok=True)
    for name in ("work", "rebuild"):
        (root / name / "manifest.json").unlink(missing_ok=True)
    for entry in root.iterdir():
        if entry.name not in ("writer.lock", "writer.json"):
            remove_folder(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
