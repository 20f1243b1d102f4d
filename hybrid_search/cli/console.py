"""The two consoles that everything for people goes through, and what is said on them."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from hybrid_search._util.printable import printable


class _Console(Console):
    """A console that shows no sign which a terminal would obey, but those that it makes of styles itself."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # A control is a movement of the cursor that a bar asks for; texts come as segments without one.
            if segment.control or (shown := printable(segment.text)) == segment.text:
                yield segment
            else:
                yield Segment(shown, segment.style)


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


@contextlib.contextmanager
def paging() -> Iterator[None]:
    """Send what is printed inside through the pager where it is longer than the terminal is high."""
    if not (out.is_terminal and sys.stdin.isatty() and shutil.which((os.environ.get("PAGER") or "less").split()[0])):
        yield
        return
    with out.capture() as captured:
        yield
    text = captured.get()
    if text.count("\n") < out.height:
        out.file.write(text)
        return
    # R: colours and links as they are; F: leave at once where it fits after all; X: leave it on the screen.
    env = {**os.environ, "LESS": os.environ.get("LESS", "RFX")}
    command = shlex.split(os.environ.get("PAGER") or "less")
    encoded = text.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "replace")
    subprocess.run(command, input=encoded, env=env, check=False)


def complain(message: str) -> None:
    """Print an error on stderr."""
    err.print(Text.assemble(("error:", "bold red"), f" {_indented(message)}"), soft_wrap=True)


def note(message: str) -> None:
    """Print a remark on stderr."""
    err.print(Text(_indented(message), style="dim"), soft_wrap=True)


def warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning, as `warnings.showwarning` does."""
    sys.stderr.write(printable(warnings.formatwarning(message, category, filename, lineno, line)))


def _indented(message: str) -> str:
    """Indent all lines of a message but the first, so that none can pass for another message."""
    begin = len(message) - len(message.lstrip("\n"))
    first, *others = message[begin:].split("\n")
    return message[:begin] + "\n".join([first, *(line if line.startswith(" ") else f"  {line}" for line in others)])
