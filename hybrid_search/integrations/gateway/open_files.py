"""How many connections there can be beside the files that are open."""

from __future__ import annotations

import logging
import sys

import psutil

log = logging.getLogger(__name__)

WANTED = 8_192
"""Files that a server would like to have open at a time."""

RESERVE = 128
"""Of these, kept for collections, models and what else opens files."""


def room_for(connections: int) -> int:
    """Return how many connections there can be, at most so many; the process may have more files open afterwards.

    Every connection is an open file, and where no more can be opened, neither can a collection.
    """
    if sys.platform == "win32":  # it has no such limit
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < top:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
            soft = top
        except (OSError, ValueError) as error:  # macOS has another limit that is not told
            log.info("The limit of open files stays at %d: %s", soft, error)
    if soft == resource.RLIM_INFINITY:
        return connections
    left: int = soft - psutil.Process().num_fds() - RESERVE
    return max(min(16, connections), min(connections, left))
