"""Which process a piece of work belongs to, and whether that has ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def owner() -> dict[str, Any]:
    """Return which process this is: its machine (or container), its number, and when it began."""
    return {"place": _place(), "pid": os.getpid(), "began": _began(os.getpid())}


def _place() -> str:
    space = ""
    with suppress(OSError):  # only Linux has it
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()} {space}".strip()


def _began(pid: int) -> float:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def is_dead(at: Mapping[str, Any], *, at_work: bool) -> bool:
    """Say whether the owner of a change is known to be gone: a process of this machine that has ended.

    Args:
        at: the owner.
        at_work: what to say of this process itself: whether it is in that change.
    """
    if at.get("place") != _place():
        return False
    if at.get("pid") == os.getpid() and at.get("began") == _began(os.getpid()):
        return not at_work
    return abs(_began(int(at.get("pid", 0))) - float(at.get("began", 0.0))) > 1.0
