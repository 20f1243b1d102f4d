"""The test server in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[1] / "qdrant_over_http.py"


@contextmanager
def child() -> Iterator[str]:
    """A server in a process of its own, which outlives whatever happens to this one's threads; gives its URL."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def send_away(url: str, seconds: float, how: str = "close") -> None:
    """Tell a server, in whatever process, to be away."""
    urllib.request.urlopen(f"{url}/away?seconds={seconds}&how={how}", data=b"").close()
