"""Remembers the folders a collection's files come from, so that a file has one id from wherever it is named.

A collection keeps each folder that was a source, or held one, together with a prefix for the ids of its files: empty
for the first folder, `name//` for the others. A file belongs to the deepest of these folders that holds it. If a folder
is gone and its files are found elsewhere under the same names, the source has moved and keeps its ids.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hybrid_search._util.printable import storable
from hybrid_search.corpus.walk import STDIN, FoundFile, find, real_path

SEPARATOR = "//"
"""Stands between a root's name and the path below it; no path contains it."""

_LINE = re.compile(r":\d+\Z")

SAMPLED_FILES = 64
"""How many files of a source are looked up in the collection to tell whether it has moved."""

Have = Callable[[Sequence[str]], int]
"""Takes ids and returns how many of them a collection has."""


class Roots(NamedTuple):
    """The folders a collection's files come from.

    Args:
        prefixes: folder (absolute, with `/`) -> what stands before the ids of the files below it.
        moved: folder -> the folder that replaces it in this run.
    """

    prefixes: Mapping[str, str]
    moved: Mapping[str, str]

    def named(self, found: FoundFile) -> FoundFile:
        """Return the file with the name the collection has for it, and with its absolute path as the origin."""
        if found.origin == STDIN:
            return found
        path = absolute(found)
        origin = storable(str(path))
        written = as_written(origin)
        root = self.above(written)
        name = found.name if root is None else self.prefixes[root] + written[len(root) :].lstrip("/")
        return found._replace(path=path, origin=origin, name=name)

    def above(self, path: str) -> str | None:
        """Return the deepest root that holds a file or folder, or is it; None for none."""
        holding = [root for root in self.prefixes if holds(root, path)]
        return max(holding, key=len, default=None)

    def origin_now(self, origin: str) -> str:
        """Return where a document that was read at this origin is now, if its root has moved."""
        for old, new in self.moved.items():
            if holds(old, as_written(origin)):
                return new + origin[len(old) :]
        return origin


NO_ROOTS = Roots({}, {})


def resolve(
    sources: Sequence[str | Path], known: Mapping[str, str] | None, have: Have, globs: Sequence[str] = ()
) -> Roots:
    """Return a collection's roots once these sources belong to it.

    Args:
        sources: as for `read`; all exist.
        known: the prefixes that the collection remembers; None if it was built before there were any. Such ids are
            kept: paths relative to the source, behind the folder's name if there were several sources.
        have: called only if a source lies in no known root.
        globs: as for `read`.
    """
    prefixes = dict(known or {})
    moved: dict[str, str] = {}
    for source in sources:
        if str(source) == STDIN:
            continue
        folder = _folder_of(source)
        if Roots(prefixes, moved).above(folder) is not None:
            continue
        name = PurePosixPath(folder).name or "root"
        gone = {prefix: root for root, prefix in prefixes.items() if not Path(root).is_dir()}
        candidates = [*gone, *(("", f"{name}/") if known is None else ())]
        prefix = next((each for each in candidates if _was_indexed(source, folder, each, have, globs)), None)
        if prefix in gone:
            moved[gone[prefix]] = folder
            del prefixes[gone[prefix]]
        prefixes[folder] = _new_prefix(name, prefixes, first=known is not None) if prefix is None else prefix
    return Roots(prefixes, moved)


def holds(root: str, path: str) -> bool:
    """Return whether a path is this folder or lies below it; both are absolute, with `/`."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def is_same_place(before: str, now: str) -> bool:
    """Return whether two origins name one file, on any line; earlier versions stored origins as the user wrote them.

    >>> is_same_place("notes/a.md", "/home/me/notes/a.md:7"), is_same_place("/tmp/a.md", "/home/me/a.md")
    (True, False)
    """
    before, now = (_LINE.sub("", origin).replace("\\", "/") for origin in (before, now))
    return before == now or now.endswith("/" + before.removeprefix("./"))


def path_below(name: str) -> str:
    """Return the path below its root that a file's name contains.

    >>> path_below("docs//guide/a.md"), path_below("guide/a.md")
    ('guide/a.md', 'guide/a.md')
    """
    return name.rpartition(SEPARATOR)[2]


def _folder_of(source: str | Path) -> str:
    path = real_path(source)
    return as_written(storable(str(path if path.is_dir() else path.parent)))


def absolute(found: FoundFile) -> Path:
    """Return the absolute path of a file; inside a source folder, links below that folder are not resolved."""
    if not found.folder:
        return real_path(found.path)
    return real_path(found.folder) / found.path.relative_to(found.folder)


def as_written(origin: str) -> str:
    """Return a path with `/`, as collections store it on every system."""
    return origin.replace(os.sep, "/")


def _was_indexed(source: str | Path, folder: str, prefix: str, have: Have, globs: Sequence[str]) -> bool:
    """Return whether at least half of a source's first files have ids in the collection under a prefix."""
    files = [as_written(storable(str(absolute(found)))) for found in islice(_files(source, globs), SAMPLED_FILES)]
    if not files:
        return False
    names = [prefix + path[len(folder) :].lstrip("/") for path in files]
    # Rows without ids are called after their file and line; the first line of a table is its header.
    return 2 * have([f"{name}{row}" for name in names for row in ("", ":1", ":2")]) >= len(names)


def _files(source: str | Path, globs: Sequence[str]) -> Iterator[FoundFile]:
    return (found for found in find([source], globs) if isinstance(found, FoundFile))


def _new_prefix(name: str, prefixes: Mapping[str, str], *, first: bool) -> str:
    if first and not prefixes:
        return ""
    taken, number = set(prefixes.values()), 1
    while (prefix := f"{name}{f'-{number}' if number > 1 else ''}{SEPARATOR}") in taken:
        number += 1
    return prefix
