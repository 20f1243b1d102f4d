"""What several rooms need of the system, once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_SET_PDEATHSIG, _SIGKILL = 1, 9


def end_with(parent: int) -> bool:
    """Have this process killed when its parent ends, on Linux; say whether the parent is there still."""
    if sys.platform.startswith("linux"):
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_PDEATHSIG, _SIGKILL)
    return os.name != "posix" or os.getppid() == parent


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter. (`itertools.batched` is there from Python 3.12.)"""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
