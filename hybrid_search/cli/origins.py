"""Where documents stand, as people read it: relative to the folder one is in, with the line."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_LINE = re.compile(r"(?P<path>.+):(?P<line>\d+)\Z", re.DOTALL)


def parted(origin: str) -> tuple[str, int]:
    """Split an origin, `path` or `path:line`, into its path and its line, 0 where it names none.

    >>> parted("notes/a.md:7"), parted("notes/a.md")
    (('notes/a.md', 7), ('notes/a.md', 0))
    """
    match = _LINE.match(origin)
    if match is None or _is_file(origin):  # a name may end like a line
        return origin, 0
    return match["path"], int(match["line"])


def seen_from_here(origin: str) -> str:
    """Return an origin whose path is relative to the working folder, if it lies below it."""
    path, line = parted(origin)
    with suppress(ValueError, OSError):
        path = str(Path(path).relative_to(Path.cwd()))
    return f"{path}:{line}" if line else path


def link_to(origin: str) -> str | None:
    """Return an address of the file that terminals open; None where there is no such file.

    Whatever signs stand in its name are percent-encoded, so that none ends the link.
    """
    path, line = parted(origin)
    if not _is_file(path):
        return None
    return Path(path).absolute().as_uri() + (f"#{line}" if line else "")


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
