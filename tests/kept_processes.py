"""Processes that read and cut, kept from one test to the next: one takes longer to start than most tests to run."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Iterator
from typing import Any

from hybrid_search._util.child_process import python_command
from hybrid_search.corpus.bounded import Bound, BoundedProcess

MOST = 4
"""Processes that wait for the next test at a time."""

SEEN = ("LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "TZ")
"""What may change how a file is read, of what a process takes over from the one that starts it."""

waiting: list[tuple[object, subprocess.Popen[bytes]]] = []
"""Those that wait, and what each was started with; the one that has waited longest first."""


class KeptProcess(BoundedProcess):
    """A bounded process that starts as one which waits, where one was started the same way; closed, it waits itself.

    One that broke off, or is too large, ends, as it does without this.
    """

    def __init__(self, opener: str, argument: Any = None) -> None:
        super().__init__(opener, argument)
        self._made_of = pickle.dumps((opener, argument))
        self._started_with: object = None
        self._asked = False

    def ask(self, request: Any, bound: Bound) -> Iterator[Any]:
        self._asked = True
        yield from super().ask(request, bound)
        self._asked = False  # not where it broke off: then it ends

    def start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._started_with = (self._made_of, python_command(""), [os.environ.get(name) for name in SEEN])
            self._process = taken(self._started_with)
        return super().start()

    def close(self) -> None:
        process = self._process
        if self._asked or process is None or process.poll() is not None:
            super().close()
            return
        self._process = None
        waiting.append((self._started_with, process))
        end_all_but(MOST)


def taken(started_with: object) -> subprocess.Popen[bytes] | None:
    """Return one that waits and still runs, and was started with the same."""
    for one in [one for one in waiting if one[0] == started_with]:
        waiting.remove(one)
        if one[1].poll() is None:
            return one[1]
        end(one[1])
    return None


def end_all_but(most: int) -> None:
    while len(waiting) > most:
        end(waiting.pop(0)[1])


def end(process: subprocess.Popen[bytes]) -> None:
    ended = BoundedProcess("")
    ended._process = process
    ended.close()
