"""The one thread that searches: it answers what was asked last, and passes over what was asked in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from hybrid_search.cli.tui.state import SearchState
from hybrid_search.errors import HybridSearchError
from hybrid_search.ranking.fusion import Fusion
from hybrid_search.results import Results
from hybrid_search.search.defaults import own_fusion
from hybrid_search.search.request import FUSION, available_modes
from hybrid_search.searcher import Searcher
from hybrid_search.types import Mode


@dataclass(frozen=True)
class Ready:
    """The models are loaded; the modes that the collection can be searched in, and how it fuses its legs by itself."""

    modes: tuple[Mode, ...]
    fusion: Fusion = FUSION


@dataclass(frozen=True)
class Answered:
    state: SearchState
    results: Results


@dataclass(frozen=True)
class Refused:
    """What was asked cannot be answered, and why."""

    state: SearchState
    error: Exception


@dataclass(frozen=True)
class Broken:
    """There is no searcher, and there will be none."""

    error: Exception


SearchEvent = Ready | Answered | Refused | Broken


class Report(Protocol):
    """Takes what the thread has to say; called in that thread."""

    def __call__(self, event: SearchEvent, /) -> None: ...


class SearchThread:
    """Opens a searcher, loads its models, then answers. The searcher is closed by the thread that used it."""

    def __init__(self, open_searcher: Callable[[], Searcher], tell: Report) -> None:
        self._open, self._tell = open_searcher, tell
        self._changed = threading.Condition()
        self._last: SearchState | None = None
        self._closing = False
        # A daemon: leaving never waits for a model that is being fetched, or a server that does not answer.
        self._thread = threading.Thread(target=self._run, name="search", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, state: SearchState) -> None:
        """Have this answered next, instead of whatever was asked before and has not begun."""
        with self._changed:
            self._last = state
            self._changed.notify()

    def close(self, timeout_s: float = 3.0) -> bool:
        """Let the thread end, and wait for it as long; whether it has ended."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._open() as searcher:
                searcher.warm_up()
                with suppress(HybridSearchError):  # the first search and its evidence load things of their own
                    searcher.search("warm", k=1, explain=True)
                self._tell(Ready(available_modes(searcher.manifest), own_fusion(searcher.manifest)))
                while (state := self._next()) is not None:
                    self._tell(_answer(searcher, state))
        except Exception as error:
            self._tell(Broken(error))

    def _next(self) -> SearchState | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._last is not None)
            state, self._last = self._last, None
            return None if self._closing else state


def _answer(searcher: Searcher, state: SearchState) -> SearchEvent:
    try:
        return Answered(state, searcher.search(state.query, **state.options()))
    except Exception as error:  # a fault is told, and the next search is another one
        return Refused(state, error)


def error_text(error: Exception) -> str:
    """Return what to show of an error: ours as they are, others as faults of ours."""
    if isinstance(error, HybridSearchError):
        return str(error)
    return f"{type(error).__name__}: {error}. This is a fault of ours; `hybrid-search search --debug` shows more."
