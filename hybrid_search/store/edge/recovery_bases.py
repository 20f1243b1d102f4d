"""Recovery bases: the states from which a writer's shard can be rebuilt.

These are the published generation, and a copy of the shard that its writer saved in between. Each base has a token for
its state of the points, and the token of the state it was made from. A log names the state that its writes apply to, so
it is never applied twice, nor to anything else.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hybrid_search._util import sync
from hybrid_search.errors import CollectionDamaged
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.clean_shutdown import BASE, RECORD
from hybrid_search.store.edge.files import Sum, checksum, copy_file, hard_link, names_in, sums_out, write_checked
from hybrid_search.store.edge.manifest_file import Record, read_record, same_building

_READ_ONLY = re.compile(r"segments/([^/]+)/id_tracker\.i2e")
"""A file that only read-only segments have: those that the engine has built and does not append to."""

_NEVER_WRITTEN = re.compile(
    r"page_\d+\.dat|matrix\.dat|inverted_index\.dat|indices_tracker\.json|graph\.bin|links.*\.bin|data\.bin|"
    r"point_to_values\.bin|values_to_points\.bin|id_tracker\.(i2e|e2i)"
)
"""Files of such a segment that the engine never changes. It removes them, and writes others beside them."""


class Base(NamedTuple):
    """A state from which a shard can be rebuilt.

    Args:
        folder: with its `shard`; None for an empty shard.
        token: of this state of the points.
        after: of the state that this one was made from.
    """

    folder: Path | None
    token: str
    after: str


EMPTY = Base(None, "empty", "")


def new_token() -> str:
    """Return a new, unique token for a state of the points."""
    return uuid.uuid4().hex


def list_bases(root: Path, work: Path) -> list[Base]:
    """Return the bases of the shard in `work`, the newest first.

    Raises:
        CollectionDamaged: a manifest cannot be read.
    """
    kept, published = _saved_base(work), published_base(root, work)
    if kept is None or published is None:
        return [kept or published or EMPTY]
    return [published] if published.after == kept.token else [kept, published]


def published_base(root: Path, work: Path) -> Base | None:
    """Return the published generation as a base, if it belongs to the build in `work`.

    Where CURRENT is missing or damaged, the last generation counts as published.

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


def save_base(work: Path, record: Record, after: str, known: Mapping[str, Sum]) -> tuple[str, dict[str, Sum]]:
    """Save a closed shard as a base.

    Only files that have changed since the last save are copied; the others get a hard link. If it is interrupted, the
    last base stays.

    Args:
        work: the writer's folder.
        record: of what is being built.
        after: the token of the base until now.
        known: checksums of files that cannot have changed.

    Returns:
        The token of the saved state, and the checksums of those of its files that will not change.
    """
    token = new_token()
    base, building = work / BASE, work / f"{BASE}.building"
    generations.remove_folder(building)
    names = names_in(work / "shard")
    unchanging, before = set(frozen_files(names)), _sums_of(base)
    sums: dict[str, Sum] = {}
    for name in names:
        target = building / "shard" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _link_frozen(work / "shard" / name, target, known.get(name)) if name in unchanging else None
        sums[name] = made or _copy_or_link(work / "shard" / name, target, base / "shard" / name, before.get(name))
    facts = record._replace(counts={}, token=token, after=after).to_dict()
    write_checked(building / RECORD, facts | sums_out({f"shard/{name}": sum_ for name, sum_ in sums.items()}))
    for folder in (building / "shard").rglob("*/"):
        sync(folder)
    generations.remove_folder(base)
    building.rename(base)
    sync(work)
    return token, {name: sums[name] for name in unchanging}


def frozen_files(names: Iterable[str]) -> list[str]:
    """Return the files of a shard that nobody writes any more, by their paths in it."""
    listed = list(names)
    segments = {found[1] for name in listed if (found := _READ_ONLY.fullmatch(name))}

    def is_frozen(name: str) -> bool:
        parts = name.split("/")
        return len(parts) > 2 and parts[1] in segments and _NEVER_WRITTEN.fullmatch(parts[-1]) is not None

    return [name for name in listed if is_frozen(name)]


def _link_frozen(file: Path, target: Path, known: Sum | None) -> Sum | None:
    """Hard-link a file that nobody writes and return its checksum; None where the file system has no hard links."""
    if not hard_link(file, target):
        return None
    if known is None:
        sync(target)
    return known or checksum(target)


def _copy_or_link(file: Path, target: Path, before: Path, was: Sum | None) -> Sum:
    """Link the earlier copy of a file if it is unchanged; otherwise copy it. Returns its checksum."""
    if was is not None and checksum(file) == was and hard_link(before, target):
        return was
    made = copy_file(file, target)
    sync(target)
    return made


def _saved_base(work: Path) -> Base | None:
    """Return the base that a writer saved; None for none. Finishes or discards an interrupted save."""
    base, building = work / BASE, work / f"{BASE}.building"
    if not (base / RECORD).is_file() and (building / RECORD).is_file():
        generations.remove_folder(base)
        building.rename(base)
    if not (base / RECORD).is_file():
        return None
    record = read_record(base)
    return Base(base, record.token, record.after)


def _sums_of(base: Path) -> dict[str, Sum]:
    """Return the checksums of the last saved base; none where there is no base."""
    try:
        return {name.removeprefix("shard/"): sum_ for name, sum_ in generations.published_sums(base).items()}
    except CollectionDamaged:
        return {}
