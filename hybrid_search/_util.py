"""What several rooms need of the system, once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_SET_PDEATHSIG, _SIGKILL = 1, 9


def end_with(parent: int) -> bool:
    """Have this process killed when its parent ends, on Linux; say whether the parent is there still."""
    if sys.platform.startswith("linux"):
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_PDEATHSIG, _SIGKILL)
    return os.name != "posix" or os.getppid() == parent
