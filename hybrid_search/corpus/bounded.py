"""Runs work of unknown cost in a separate process, limited in time and memory.

A bad file may crash that process, fill its memory or never end. The caller then gets the reason, and the next request
gets a new process. The limit is processor time, so a busy machine fails no file; a longer limit by the clock catches a
disk that stops answering. On Linux the kernel enforces both limits and ends the process with its parent, even while the
work holds the interpreter and no Python thread could look.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from signal import SIG_IGN, SIGINT, Signals, signal
from time import monotonic
from typing import IO, Any, NamedTuple, cast

import psutil

from hybrid_search._util import end_with
from hybrid_search._util.child_process import exit_reason, python_command
from hybrid_search.errors import HybridSearchError

SILENT_S = 120.0
"""Seconds by the clock without any answer, at most."""

_LOOK_S = 0.1
_LENGTH = struct.Struct("<Q")

_SERVE = "from hybrid_search.corpus.bounded import serve; serve(sys.argv[1], int(sys.argv[2]))"

Handler = Callable[[Any], Iterator[Any]]
"""Takes a request and yields its answers, all of which can be pickled."""


class Bound(NamedTuple):
    """What one request may use.

    Args:
        cpu_s: seconds of processor time.
        memory_bytes: memory of the process, without mapped files.
        silent_s: seconds by the clock between two answers, counted while the caller waits.
    """

    cpu_s: float
    memory_bytes: int
    silent_s: float = SILENT_S


class Exceeded(Exception):
    """A request went beyond its bound or brought the process down; the message is the reason."""


class BoundedProcess:
    """A process that answers requests one after another; started with the first one, ended by `close`.

    Args:
        opener: `package.module:function`; called once in the process with `argument`, it returns the request handler.
        argument: any value that can be pickled.
    """

    def __init__(self, opener: str, argument: Any = None) -> None:
        self._opener, self._argument = opener, argument
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Any, bound: Bound) -> Iterator[Any]:
        """Yield the answers to a request as they come.

        Raises:
            Exceeded: the request went beyond its bound or brought the process down.
            HybridSearchError: the handler raised it.
        """
        process = self.start()
        watched = _Watched(process, bound)
        complete = False
        try:
            _send(cast("IO[bytes]", process.stdin), (request, bound))
            while True:
                kind, answer = watched.received()
                if kind == "answer":
                    yield answer
                    continue
                if kind == "failure":
                    raise Exceeded(answer)
                complete = True
                if kind == "error":
                    raise answer
                return
        except (OSError, EOFError):
            raise Exceeded(watched.why_it_ended()) from None
        finally:
            watched.over.set()
            # It has ended, or has more to say that nobody wants, or holds what the next request has no room beside.
            if not complete or watched.is_large():
                self.close()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process if it is not running, without waiting until it can answer."""
        if self._process is None:
            command = python_command(_SERVE, self._opener, os.getpid())
            pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
            started = _starter(os.getpid()).submit(subprocess.Popen, command, stdin=pipe, stdout=pipe, stderr=nothing)
            self._process = process = started.result()
            with suppress(OSError):  # it has ended already: the first request will say so
                _send(cast("IO[bytes]", process.stdin), self._argument)
        return self._process

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # it may have something to write that nobody can read any more
                cast("IO[bytes]", pipe).close()

    def __enter__(self) -> BoundedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watched:
    """A running request, and the thread that kills the process if it exceeds its bound."""

    def __init__(self, process: subprocess.Popen[bytes], bound: Bound) -> None:
        self._process, self._bound = process, bound
        self._waiting_since: float | None = None
        self._reason = ""
        self.over = threading.Event()
        self._watcher: threading.Thread | None = None

    def received(self) -> tuple[str, Any]:
        """Wait for the next message.

        Raises:
            EOFError: the process has ended.
        """
        self._waiting_since = monotonic()
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="bound", daemon=True)
            self._watcher.start()
        try:
            message: tuple[str, Any] = _receive(cast("IO[bytes]", self._process.stdout))
        finally:
            self._waiting_since = None
        return message

    def why_it_ended(self) -> str:
        code = self._process.wait()
        if self._reason:
            return self._reason
        if os.name == "posix" and code == -getattr(Signals, "SIGXCPU", 0):
            return self._too_long()
        return f"the process that worked on it ended with {exit_reason(code)}; it may have needed too much memory"

    def is_large(self) -> bool:
        """Return whether the process has grown so much that the next request could fail because of this one."""
        with suppress(psutil.Error):
            return int(psutil.Process(self._process.pid).memory_info().rss) > self._bound.memory_bytes // 2
        return False

    def _watch(self) -> None:
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            begun = _cpu_s(process)
            while not self.over.wait(_LOOK_S):
                reason = self._beyond(process, begun)
                if reason and not self.over.is_set():
                    self._reason = reason
                    self._process.kill()
                    return

    def _beyond(self, process: psutil.Process, begun: float) -> str:
        if _cpu_s(process) - begun > self._bound.cpu_s:
            return self._too_long()
        if process.memory_info().rss > 1.5 * self._bound.memory_bytes:
            return _too_much(self._bound)
        since = self._waiting_since
        if since is not None and monotonic() - since > self._bound.silent_s:
            return f"gives nothing within {self._bound.silent_s:g} s"
        return ""

    def _too_long(self) -> str:
        return f"takes more than {self._bound.cpu_s:g} s of processor time"


def serve(opener: str, parent: int) -> None:
    """Answer requests until there are no more, or until the parent process is gone."""
    if not end_with(parent):
        return
    signal(SIGINT, SIG_IGN)  # Ctrl-C goes to every process of a terminal; the one that asks decides
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed here is no answer
    warnings.simplefilter("ignore")
    with suppress(EOFError):
        handle = _opened(opener, _receive(requests))
        while True:
            request, bound = _receive(requests)
            _hold_back(bound)
            _answer(handle, request, bound, answers)


def _opened(opener: str, argument: Any) -> Handler:
    """Return the request handler, or one that raises the reason why there is none."""
    module, _, function = opener.partition(":")
    try:
        handle: Handler = getattr(import_module(module), function)(argument)
    except Exception as error:
        fault = error

        def handle(_: Any) -> Iterator[Any]:
            raise fault

    return handle


def _answer(handle: Handler, request: Any, bound: Bound, answers: IO[bytes]) -> None:
    try:
        for answer in handle(request):
            _send(answers, ("answer", answer))
        _send(answers, ("end", None))
    except MemoryError:
        _send(answers, ("failure", _too_much(bound)))
    except HybridSearchError as error:
        _send(answers, ("error", error))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _send(answers, ("failure", reason[:300]))


def _hold_back(bound: Bound) -> None:
    """Let the kernel enforce the bound if it can; that also ends work whose caller was killed."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + bound.cpu_s) + 2
        for limit, value in ((resource.RLIMIT_CPU, allowed), (resource.RLIMIT_DATA, bound.memory_bytes)):
            _, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))


@lru_cache(maxsize=1)
def _starter(_pid: int) -> ThreadPoolExecutor:
    """Return the thread that starts processes.

    Linux kills a child when the thread that started it ends, and this thread lives on. The key is the process id, so a
    fork starts a thread of its own.
    """
    return ThreadPoolExecutor(1, "starter")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _too_much(bound: Bound) -> str:
    return f"takes more than {bound.memory_bytes / 1e6:,.0f} MB of memory"


def _send(stream: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """Read the next value; raises EOFError at the end, or within a value."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(_LENGTH.unpack(head)[0])
    if len(data) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return pickle.loads(data)
