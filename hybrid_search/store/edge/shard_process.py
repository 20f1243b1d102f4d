"""The engine in a child process, for operations that may kill the process without an error.

The engine maps sparse files. If the disk is full when it writes to a hole, the system kills the process (SIGBUS). So
where little room is left, a writer's shard is opened in a child, and the child's death becomes an error here. Building
the engine's indexes, which holds the interpreter lock for minutes, always runs in a child.

A child inherits its writer's lock: if the writer is killed, nobody else writes before its children have ended.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast
from uuid import UUID

from hybrid_search._util import end_with
from hybrid_search._util.child_process import exit_reason, python_command
from hybrid_search.errors import StoreError, StoreFull
from hybrid_search.manifest import Manifest
from hybrid_search.store.edge.disk import is_low
from hybrid_search.store.edge.shard import Shard
from hybrid_search.store.schema import StoredPoint
from hybrid_search.types import Vector

_PATIENCE_S = 60.0


class ShardProcess:
    """A shard that is open in a child process, with the methods of `Shard` that a writer needs."""

    def __init__(self, path: Path, handles: Sequence[int] = ()) -> None:
        self._path, self._pid = path, os.getpid()
        self._turn = threading.Lock()
        self.is_lost = False
        command = python_command("from hybrid_search.store.edge.shard_process import serve; serve()")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._child: subprocess.Popen[bytes] | None = subprocess.Popen(command, pass_fds=tuple(handles), **pipes)

    @classmethod
    def load(cls, path: Path, handles: Sequence[int] = ()) -> ShardProcess:
        return cls(path, handles)._start("load", path)

    @classmethod
    def create(cls, path: Path, manifest: Manifest, handles: Sequence[int] = ()) -> ShardProcess:
        return cls(path, handles)._start("create", path, manifest)

    def upsert(self, points: Sequence[StoredPoint]) -> None:
        self._call("upsert", [point._replace(json=b"") for point in points])

    def set_vectors(self, name: str, vectors: Mapping[UUID, Vector]) -> None:
        self._call("set_vectors", name, vectors)

    def set_payload(self, ids: Sequence[UUID], payload: Mapping[str, Any]) -> None:
        self._call("set_payload", ids, payload)

    def delete(self, ids: Sequence[UUID]) -> None:
        self._call("delete", ids)

    def index_field(self, path: str, kind: str) -> None:
        self._call("index_field", path, kind)

    def add_vector(self, name: str, dim: int, needs_idf: bool) -> None:
        self._call("add_vector", name, dim, needs_idf)

    def drop_vector(self, name: str) -> None:
        self._call("drop_vector", name)

    def indexed_fields(self) -> dict[str, Any]:
        return dict(self._call("indexed_fields"))

    def vector_names(self) -> set[str]:
        return set(self._call("vector_names"))

    def retrieve(self, ids: Sequence[UUID], payload: bool | list[str]) -> dict[UUID, dict[str, Any]]:
        return dict(self._call("retrieve", ids, payload))

    def query(self, requests: Sequence[tuple[str, Vector]], limit: int) -> list[list[tuple[UUID, float]]]:
        return list(self._call("query", requests, limit))

    def vectors_of(self, name: str, ids: Sequence[UUID]) -> dict[UUID, Vector]:
        return dict(self._call("vectors_of", name, ids))

    def first(self, count: int) -> list[UUID]:
        return list(self._call("first", count))

    def fingerprints(self, ids: Sequence[UUID], bounded: bool) -> dict[UUID, str]:
        return dict(self._call("fingerprints", ids, bounded))

    def scroll(
        self, fields: bool | list[str], *, heads: bool = False, without: str = ""
    ) -> Iterator[tuple[UUID, dict[str, Any]]]:
        offset = None
        while True:
            some, offset = self._call("page", fields, heads, without, offset)
            yield from some
            if offset is None:
                return

    def count(self, *, heads: bool = False, vector: str = "") -> int:
        return int(self._call("count", heads=heads, vector=vector))

    def counts(self, manifest: Manifest) -> dict[str, int]:
        return dict(self._call("counts", manifest))

    def reopen(self) -> None:
        self._call("reopen")

    def close(self) -> None:
        """Close the shard and end the child. Raises the error with which the child closed."""
        if self._child is None or os.getpid() != self._pid:
            return
        try:
            self._call("close")
        finally:
            self._end()

    def _start(self, how: str, *arguments: Any) -> ShardProcess:
        try:
            self._call(how, *arguments)
        except BaseException:
            self._end()
            raise
        return self

    def _call(self, what: str, *arguments: Any, **options: Any) -> Any:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self._path} was opened by process {self._pid} and cannot be used in its fork {os.getpid()}. Open "
                "the collection inside the worker, or start workers with 'spawn'."
            )
        with self._turn:
            if self._child is None:
                raise StoreError(f"The collection in {self._path.parent} has been closed; open it again.")
            try:
                _send(cast("IO[bytes]", self._child.stdin), (what, arguments, options))
                answer, error = pickle.load(cast("IO[bytes]", self._child.stdout))
            except (EOFError, OSError, pickle.UnpicklingError):
                raise self._end_error() from None
            except BaseException:  # interrupted: the answer would be taken for that to the next question
                self._child.kill()
                self._end_error()
                raise
        if error is not None:
            self.is_lost = True
            raise error
        return answer

    def _end_error(self) -> StoreError:
        """Return the error for a child that has died."""
        self.is_lost = True
        code = self._end()
        full = f"What was written so far is kept, and is made whole when it is run again ({self._path})."
        if is_low(self._path.parent):
            return StoreFull(f"The disk under {self._path} became full while the engine wrote. Free some space. {full}")
        return StoreError(f"The engine's process ended by itself, with {exit_reason(code)}. {full}")

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        try:
            return child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


AnyShard = Shard | ShardProcess


def open_shard(path: Path, handles: Sequence[int] = ()) -> AnyShard:
    """Open a shard for writing: in this process, or in a child where little room is left."""
    return ShardProcess.load(path, handles) if is_low(path.parent) else Shard.load(path)


def create_shard(path: Path, manifest: Manifest, handles: Sequence[int] = ()) -> AnyShard:
    """Create a shard for writing (see `open_shard`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return ShardProcess.create(path, manifest, handles) if is_low(path.parent) else Shard.create(path, manifest)


def optimize_in_child(path: Path, handles: Sequence[int] = ()) -> str:
    """Build the indexes of a closed shard in a child. Returns why that failed, or an empty string."""
    done = run_in_child("hybrid_search.store.edge.shard_process.optimize", path, os.getpid(), handles=handles)
    return "" if done.returncode == 0 else last_words(done)


def run_in_child(function: str, *arguments: object, handles: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Call a function, given by its path, in a child process. The arguments reach it as strings."""
    module, _, name = function.rpartition(".")
    command = python_command(f"from {module} import {name}; {name}(*sys.argv[1:])", *arguments)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        errors="replace",
        pass_fds=tuple(handles),
    )


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a child wrote to stderr; how it ended where it wrote nothing."""
    return (done.stderr.strip().splitlines() or [exit_reason(done.returncode)])[-1]


def optimize(path: str, parent: str) -> None:
    """Build the indexes of a shard. Runs in a child of `optimize_in_child`, and ends with its parent."""
    if not end_with(int(parent)):
        sys.exit("its parent has ended")
    shard = Shard.load(Path(path))
    shard.optimize()
    shard.close()


def serve() -> None:
    """Run in a child of `ShardProcess`: answer calls until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    shard: Any = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            what, arguments, options = pickle.load(asked)
            found, problem = None, None
            try:
                if what in ("load", "create"):
                    shard = getattr(Shard, what)(*arguments)
                else:
                    found = getattr(shard, what)(*arguments, **options)
            except Exception as error:
                problem = error
            _send(answers, (found, problem))


def _send(pipe: IO[bytes], value: Any) -> None:
    pickle.dump(value, pipe, protocol=5)
    pipe.flush()
