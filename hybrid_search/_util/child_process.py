"""Starting another Python that finds the same modules, and saying how a process ended."""

from __future__ import annotations

import sys
from contextlib import suppress
from signal import Signals


def python_command(code: str, *arguments: object) -> list[str]:
    """Return a command that runs code in another Python with this process's `sys.path`.

    The child can import what this process can, and nothing else: neither from the working folder nor by environment
    variables. It encodes file names as this process does. The code may use `sys`; arguments are texts in `sys.argv`.

    Args:
        code: one line of Python.
        arguments: reach the code as `sys.argv[1:]`.
    """
    flags = ["-I", "-X", f"utf8={sys.flags.utf8_mode}"]
    return [sys.executable, *flags, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}", *map(str, arguments)]


def exit_reason(code: int) -> str:
    """Say how a process ended, from its return code; a negative one is the signal that killed it.

    >>> exit_reason(3), exit_reason(-9)
    ('exit code 3', 'signal SIGKILL')
    """
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {Signals(-code).name}"
    return f"signal {-code}"
