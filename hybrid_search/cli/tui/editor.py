"""From where a document was read to the command that opens it in an editor, at its line."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from hybrid_search.cli.origins import parted
from hybrid_search.errors import InvalidArgument

USUAL = ("nano", "vim", "vi", "notepad")
"""What is looked for where neither VISUAL nor EDITOR is set."""

_AT_COLON: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("code", "code-insiders", "codium", "cursor"), ("--wait", "--goto")),
    **dict.fromkeys(("zed", "subl"), ("--wait",)),
    **dict.fromkeys(("hx", "helix"), ()),
}
"""Editors that want `path:line`, and what else they need so that they open there and we wait."""

_NO_LINE = {"notepad"}


class FilePosition(NamedTuple):
    """A file, and a line of it from 1."""

    path: Path
    line: int = 1


def position_of(origin: str) -> FilePosition:
    """Return the file and the line of an origin, `path` or `path:line`.

    Raises:
        InvalidArgument: it names no file, or one that is not there.
    """
    if not origin:
        raise InvalidArgument("This document was made in memory: there is no file to open.")
    written, line = parted(origin)
    path = Path(written)
    if not path.is_file():
        raise InvalidArgument(f"{path} cannot be opened: no such file, seen from {Path.cwd()}.")
    return FilePosition(path, max(1, line))


def command(
    position: FilePosition,
    environment: Mapping[str, str] = os.environ,
    which: Callable[[str], str | None] = shutil.which,
) -> list[str]:
    """Return the command line that opens a file at a line: VISUAL, else EDITOR, else a usual editor.

    >>> command(FilePosition(Path("a b.md"), 7), {"EDITOR": "vim -R"})
    ['vim', '-R', '+7', 'a b.md']
    >>> command(FilePosition(Path("a.md"), 7), {"VISUAL": "code", "EDITOR": "vim"})
    ['code', '--wait', '--goto', 'a.md:7']

    Raises:
        InvalidArgument: no editor is set, and none of the usual ones is here.
    """
    editor = environment.get("VISUAL", "").strip() or environment.get("EDITOR", "").strip()
    words = shlex.split(editor, posix=os.name != "nt") or [name for name in USUAL if which(name)][:1]
    if not words:
        raise InvalidArgument("No editor is set. Set one before you start: export EDITOR=vim")
    name = Path(words[0]).stem.lower()
    if name in _AT_COLON:
        missing = [flag for flag in _AT_COLON[name] if flag not in words]
        return [*words, *missing, f"{position.path}:{position.line}"]
    return [*words, str(position.path)] if name in _NO_LINE else [*words, f"+{position.line}", str(position.path)]
