"""A writer of an embedded collection in a process of its own, which can be killed: for `store/test_state_machine`.

    python -m tests.writer_driver SOCKET        one connection a writer; a line of JSON a request, one an answer

The writers are forked from a process that has imported everything and opened nothing, so that each costs milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from hybrid_search.manifest import Manifest
from tests.crash_driver import die_at
from tests.store.model_points import act
from tests.store.store_points import ROOT


class Forker:
    """The process that forks writers."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "socket"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUST_BACKTRACE": "0"}
        command = [sys.executable, "-m", "tests.writer_driver", str(self._path)]
        self._process = subprocess.Popen(command, env=environment, cwd=ROOT)
        end = time.monotonic() + 60
        while not self._path.exists() and time.monotonic() < end:
            time.sleep(0.02)

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(self._path))
        return made

    def close(self) -> None:
        self._process.kill()
        self._process.wait(30)


class KillableWriter:
    """Does what a `CollectionWriter` does of what `act` knows, over there."""

    def __init__(self, forker: Forker, folder: Path, name: str, manifest: Manifest, replace: bool) -> None:
        self._socket = forker.connect()
        self._stream = self._socket.makefile("rw")
        asked = {"folder": str(folder), "name": name, "manifest": manifest.to_dict(), "replace": replace}
        self.pid, self.resumed = self.ask(asked)

    def ask(self, asked):
        self._send(asked)
        told = json.loads(self._stream.readline())
        assert "raised" not in told, told["raised"]
        return told["gives"]

    def dies_of(self, asked) -> bool:
        """Ask for what it dies of, at the latest when it has answered; whether it has."""
        self._send(asked)
        answered = bool(self._stream.readline())
        self.kill()
        return answered

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.005)
        self._hang_up()

    def _send(self, asked) -> None:
        self._stream.write(json.dumps(asked) + "\n")
        self._stream.flush()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._stream.close()
        self._socket.close()

    def close(self) -> None:
        self.ask({"what": "close"})
        self._hang_up()


def serve(path: str) -> None:
    from hybrid_search.store.edge.store import EdgeStore

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that end are gone at once
    while True:
        connection, _ = listening.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        stream = connection.makefile("rw")
        writer = None
        for line in stream:
            asked = json.loads(line)
            try:
                if writer is None:
                    manifest = Manifest.from_dict(asked["manifest"])
                    writer = EdgeStore(asked["folder"]).writer(asked["name"], manifest, replace=asked["replace"])
                    gives = [os.getpid(), writer.resumed]
                else:
                    if step := asked.pop("step", 0):
                        die_at(step)
                    gives = act(writer, **asked)
                told = {"gives": gives}
            except BaseException:
                told = {"raised": traceback.format_exc()}
            stream.write(json.dumps(told) + "\n")
            stream.flush()
            if asked.get("what") == "close":
                break
        os._exit(0)


if __name__ == "__main__":
    import qdrant_edge  # noqa: F401

    import hybrid_search.store.edge.store  # noqa: F401

    serve(sys.argv[1])
