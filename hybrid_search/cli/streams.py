"""The three streams of the process: what they cannot encode, what is not there, and what happens where one breaks."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import json
import os
import re
import sys
from typing import Any, TextIO

from hybrid_search._util.printable import UNSEEN
from hybrid_search.errors import HybridSearchError

LEGIBLE = "hybrid-search-legible"
"""The name of the error handler of our streams, as `codecs` knows it."""

_ASCII = {
    **dict.fromkeys("─━╌╍┄┅┈┉╴╶╸╺╼╾═–—−‐‑", "-"),
    **dict.fromkeys("│┃╎╏┆┇┊┋╵╷╹╻╽╿║", "|"),
    **dict.fromkeys("█▉▊▋▌▍▎▏▐▀▄▁▂▃▅▆▇■▪", "#"),
    **dict.fromkeys("░▒▓", ":"),
    **dict.fromkeys("•●◉·⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’‚", "'"),
    **dict.fromkeys("↑▲", "^"),
    **dict.fromkeys("↓▼", "v"),
    **dict(zip("…×→←≥≤", ("...", "x", "->", "<-", ">=", "<="), strict=True)),
}
"""Signs of our own layout, and quotation marks, in ASCII."""


class OutputLost(HybridSearchError):
    """Standard output cannot be written: it is closed, or its disk is full."""


class ReaderGone(Exception):
    """Nobody reads our output any more (`| head`). That is no error, and there is nobody to be told."""


def prepare() -> None:
    """Make the streams of this process take any text. One that is closed is opened, and what it gets is lost."""
    codecs.register_error(LEGIBLE, _legible)
    _open_closed()
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    sys.stdout, sys.stderr = _Checked.over(sys.stdout), _Lossy.over(sys.stderr)


def finish() -> None:
    """Write what waits. Where it cannot be written, that has been said: Python must not say it again as it ends."""
    try:
        sys.stdout.flush()
    except (OutputLost, ReaderGone):
        drop_stdout()


def drop_stdout() -> None:
    """Let what is still to be printed vanish."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Print a line of a format for machines; what the encoding lacks is escaped, never changed into something alike.

    Args:
        line: without its end.
        stream: standard output when not given.
    """
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def print_json(value: Any, stream: TextIO | None = None, *, indent: int | None = None) -> None:
    """Print a value as JSON, in one line unless indented.

    Letters stay as they are where the stream takes them; what is not to be shown is `\\uXXXX` everywhere.
    """
    unicode = ((stream or sys.stdout).encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=not unicode, indent=indent)
    print_line(UNSEEN.sub(_json_escape, text), stream)


def _json_escape(match: re.Match[str]) -> str:
    """Return the JSON escape of a sign inside a string; line breaks are those of the indented layout and stay."""
    sign = match[0]
    # The standard library takes this one for ASCII like any other.
    return sign if sign == "\n" else "\\u007f" if sign == "\x7f" else json.dumps(sign)[1:-1]


def _legible(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    shown = "".join(_ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs)
    return shown, error.end


def _open_closed() -> None:
    """Open what was closed when the process began; else the next file that is opened would become its stdout."""
    for name, flags, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),  # not for writing: it fails, and that is said
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            # The lowest number that is free, which is that of the stream itself.
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: PTH123, SIM115


class _Stream(io.TextIOWrapper):
    """A standard stream that takes any text."""

    _same: TextIO

    @classmethod
    def over(cls, stream: TextIO) -> _Stream:
        """Wrap a stream; what is written to either goes the same way."""
        handler = getattr(stream, "errors", "strict")
        errors = LEGIBLE if handler in ("strict", "surrogateescape", "backslashreplace") else handler
        by_line = getattr(stream, "line_buffering", False)
        made = cls(stream.buffer, encoding=stream.encoding, errors=errors, line_buffering=by_line)
        made._same = stream  # the end of either would close the file
        return made


class _Checked(_Stream):
    """Standard output. Where it breaks, that is an error of its own, not one of whatever was at work."""

    def write(self, text: str) -> int:
        return int(self._tried(super().write, text))

    def flush(self) -> None:
        self._tried(super().flush)

    def _tried(self, act: Any, *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            why = "it is closed" if error.errno == errno.EBADF else error.strerror or error
            raise OutputLost(
                f"The output cannot be written: {why}. Whatever else was done is kept; run it again for what is lost."
            ) from None


class _Lossy(_Stream):
    """Standard error. What it does not take is lost: there is nobody else to be told, and the work goes on."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()
