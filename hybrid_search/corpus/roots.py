"""The folders that a collection's files come from, so that a file has one id however, and from wherever, it is named.

A collection remembers each folder that was a source, or held one, with what stands before the ids of the files in it:
nothing for the first, `name//` for the others. A file takes the deepest of these folders that holds it. A source whose
folder is gone and whose files are found elsewhere under the same names has moved: it keeps its ids.
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
"""Between a root's name and the path below it; no path has it."""

_LINE = re.compile(r":\d+\Z")

SAMPLED_FILES = 64
"""Of a source so many files are looked for in the collection, to tell whether it has moved."""

Have = Callable[[Sequence[str]], int]
"""Told ids, how many of them a collection has."""


class Roots(NamedTuple):
    """Where a collection's files come from.

    Args:
        prefixes: by folder, absolute and with `/`, what stands before the ids of the files below it.
        moved: by folder, the one that has taken its place in this run.
    """

    prefixes: Mapping[str, str]
    moved: Mapping[str, str]

    def named(self, found: FoundFile) -> FoundFile:
        """Give a file the name that the collection has for it, and its absolute path as the origin."""
        if found.origin == STDIN:
            return found
        path = absolute(found)
        origin = storable(str(path))
        written = as_written(origin)
        root = self.above(written)
        name = found.name if root is None else self.prefixes[root] + written[len(root) :].lstrip("/")
        return found._replace(path=path, origin=origin, name=name)

    def above(self, path: str) -> str | None:
        """The deepest root that holds a file or folder, or is it."""
        holding = [root for root in self.prefixes if holds(root, path)]
        return max(holding, key=len, default=None)

    def origin_now(self, origin: str) -> str:
        """Where a document that was read at this origin stands, if its root has moved."""
        for old, new in self.moved.items():
            if holds(old, as_written(origin)):
                return new + origin[len(old) :]
        return origin


NO_ROOTS = Roots({}, {})


def resolve(
    sources: Sequence[str | Path], known: Mapping[str, str] | None, have: Have, globs: Sequence[str] = ()
) -> Roots:
    """The roots of a collection once these sources belong to it.

    Args:
        sources: as for `read`; all there.
        known: the prefixes that the collection remembers; None where it was built before there were any. Its ids are
            kept: paths relative to the source, after the folder's name where there were several.
        have: asked only where a source lies in no known root.
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
    """Whether a path is a folder or lies below it; both absolute, with `/`."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def is_same_place(before: str, now: str) -> bool:
    """Whether two origins name one file, on whatever line; earlier versions kept them as they were written.

    >>> is_same_place("notes/a.md", "/home/me/notes/a.md:7"), is_same_place("/tmp/a.md", "/home/me/a.md")
    (True, False)
    """
    before, now = (_LINE.sub("", origin).replace("\\", "/") for origin in (before, now))
    return before == now or now.endswith("/" + before.removeprefix("./"))


def path_below(name: str) -> str:
    """The path below its root, of a file's name.

    >>> path_below("docs//guide/a.md"), path_below("guide/a.md")
    ('guide/a.md', 'guide/a.md')
    """
    return name.rpartition(SEPARATOR)[2]


def _folder_of(source: str | Path) -> str:
    path = real_path(source)
    return as_written(storable(str(path if path.is_dir() else path.parent)))


def absolute(found: FoundFile) -> Path:
    """The absolute path of a file; within a folder that was a source as it was found there, whatever links lead to."""
    if not found.folder:
        return real_path(found.path)
    return real_path(found.folder) / found.path.relative_to(found.folder)


def as_written(origin: str) -> str:
    """A path as a collection remembers it, the same on every system."""
    return origin.replace(os.sep, "/")


def _was_indexed(source: str | Path, folder: str, prefix: str, have: Have, globs: Sequence[str]) -> bool:
    """Whether at least half of the first files of a source have ids of the collection under a prefix."""
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
