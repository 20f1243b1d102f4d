"""What a shard can be made of again: the published generation, or the shard as its writer kept it meanwhile.

Each base has a name for the state of the points that it is, and of the one that it was made of (tokens). A log says
which state its writes were made to, so that it is never applied to what has them already, nor to anything else.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hybrid_search.errors import CollectionDamaged
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.files import Sum, checksum, copy_file, linked, names_in, sums_out, sync, write_checked
from hybrid_search.store.edge.manifest_file import Record, read_record, same_building
from hybrid_search.store.edge.seals import BASE, RECORD

_READ_ONLY = re.compile(r"segments/([^/]+)/id_tracker\.i2e")
"""What only segments have that the engine has built and does not add to."""

_NEVER_WRITTEN = re.compile(
    r"page_\d+\.dat|matrix\.dat|inverted_index\.dat|indices_tracker\.json|graph\.bin|links.*\.bin|data\.bin|"
    r"point_to_values\.bin|values_to_points\.bin|id_tracker\.(i2e|e2i)"
)
"""Of such a segment. The engine removes these files, and writes others beside them; it never changes them."""


class Base(NamedTuple):
    """What a shard can be made of.

    Args:
        folder: with its `shard`; None for an empty one.
        token: the state of the points that it is.
        after: the state that it was made of.
    """

    folder: Path | None
    token: str
    after: str


EMPTY = Base(None, "empty", "")


def new_token() -> str:
    """Return the name of a state of the points that is new."""
    return uuid.uuid4().hex


def bases(root: Path, work: Path) -> list[Base]:
    """Return what the shard in `work` can be made of, the newest first.

    Raises:
        CollectionDamaged: a manifest cannot be read.
    """
    kept, published = _kept(work), published_base(root, work)
    if kept is None or published is None:
        return [kept or published or EMPTY]
    return [published] if published.after == kept.token else [kept, published]


def published_base(root: Path, work: Path) -> Base | None:
    """Return the published generation, where it is of the building in `work`.

    Where CURRENT is missing or damaged, that is the last one that was made.

    Raises:
        CollectionDamaged: a manifest cannot be read.
    """
    folder = None
    with suppress(CollectionDamaged):
        folder = generations.current(root)
    pointed = folder is not None
    folder = folder or max(generations.generations(root), default=None)
    if folder is None:
        return None
    record = read_record(folder)
    if not same_building(record, read_record(work)) or not (pointed or record.build):
        return None
    return Base(folder, record.token, record.after)


def keep(work: Path, record: Record, after: str, known: Mapping[str, Sum]) -> tuple[str, dict[str, Sum]]:
    """Keep a closed shard as it is now.

    Nothing is copied but what has changed since it was kept last: the other files get a second name. A keeping that
    is cut short leaves what was kept before.

    Args:
        work: the writer's folder.
        record: of what is being built.
        after: the state that was the base until now.
        known: checksums of files that cannot have changed.

    Returns:
        The token of the state that is kept, and the checksums of those of its files that will not change.
    """
    token = new_token()
    base, building = work / BASE, work / f"{BASE}.building"
    generations.remove_folder(building)
    names = names_in(work / "shard")
    unchanging, before = set(frozen(names)), _sums_of(base)
    sums: dict[str, Sum] = {}
    for name in names:
        target = building / "shard" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _shared(work / "shard" / name, target, known.get(name)) if name in unchanging else None
        sums[name] = made or _kept_again(work / "shard" / name, target, base / "shard" / name, before.get(name))
    facts = record._replace(counts={}, token=token, after=after).to_dict()
    write_checked(building / RECORD, facts | sums_out({f"shard/{name}": sum_ for name, sum_ in sums.items()}))
    for folder in (building / "shard").rglob("*/"):
        sync(folder)
    generations.remove_folder(base)
    building.rename(base)
    sync(work)
    return token, {name: sums[name] for name in unchanging}


def frozen(names: Iterable[str]) -> list[str]:
    """Return those files of a shard that nobody writes any more, by their paths from there."""
    listed = list(names)
    segments = {found[1] for name in listed if (found := _READ_ONLY.fullmatch(name))}

    def is_frozen(name: str) -> bool:
        parts = name.split("/")
        return len(parts) > 2 and parts[1] in segments and _NEVER_WRITTEN.fullmatch(parts[-1]) is not None

    return [name for name in listed if is_frozen(name)]


def _shared(file: Path, target: Path, known: Sum | None) -> Sum | None:
    """Give a file that nobody writes a second name; None where the file system knows no such thing."""
    if not linked(file, target):
        return None
    if known is None:
        sync(target)
    return known or checksum(target)


def _kept_again(file: Path, target: Path, before: Path, was: Sum | None) -> Sum:
    """Copy a file, or take the copy that was made of it before."""
    if was is not None and checksum(file) == was and linked(before, target):
        return was
    made = copy_file(file, target)
    sync(target)
    return made


def _kept(work: Path) -> Base | None:
    """What a writer kept of its shard. A keeping that was cut short is finished, or forgotten."""
    base, building = work / BASE, work / f"{BASE}.building"
    if not (base / RECORD).is_file() and (building / RECORD).is_file():
        generations.remove_folder(base)
        building.rename(base)
    if not (base / RECORD).is_file():
        return None
    record = read_record(base)
    return Base(base, record.token, record.after)


def _sums_of(base: Path) -> dict[str, Sum]:
    """The checksums of what was kept last; none where there is nothing."""
    try:
        return {name.removeprefix("shard/"): sum_ for name, sum_ in generations.published_sums(base).items()}
    except CollectionDamaged:
        return {}
