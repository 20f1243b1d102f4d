"""The screen of `hybrid-search tui`: its keys, what they ask for, and what happens when an answer comes in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Footer, Input, OptionList

from hybrid_search._util.printable import one_line
from hybrid_search.cli.tui import editor, format
from hybrid_search.cli.tui.dialogs import Choose, Help
from hybrid_search.cli.tui.panes import Filter, HitDetail, Hits, Status
from hybrid_search.cli.tui.search_thread import Answered, Broken, Ready, Refused, SearchEvent, SearchThread, error_text
from hybrid_search.cli.tui.state import SearchState
from hybrid_search.errors import FilterError, HybridSearchError, ModelError, PastTheEnd
from hybrid_search.results import DocumentHit
from hybrid_search.search.request import HYBRID
from hybrid_search.searcher import Searcher
from hybrid_search.types import Mode

DEBOUNCE_S = 0.02
"""How long a key that follows another at once waits for the next one. Not more: a search takes few milliseconds."""

AT_ONCE_S = 0.06
"""Keys nearer than this follow at once, as where one is held down or a text is pasted. Others do not wait at all."""

SLOW_S = 0.25
"""After which a search that still runs is told."""

WIDE, TALL = 100, 34
"""Columns from which the document stands beside the list, not below it; rows from which it scrolls by itself."""

THEME = "tokyo-night"
"""Unless TEXTUAL_THEME names another."""

LOADING = "Loading the models. You can type already."
HINT = "Type to search, in any words.\n\nF1 shows all keys."
NO_MORE = "There are no more hits."


class Notice(Message):
    """The worker said something."""

    def __init__(self, search_event: SearchEvent) -> None:
        super().__init__()
        self.search_event = search_event


class SearchApp(App[None]):
    """Search as you type.

    Args:
        names: the collections to choose from; the only one is taken.
        open_searcher: opens one; called in the thread that searches, which closes it too.
        k: hits a page.
    """

    CSS_PATH = Path(__file__).with_name("app.tcss")
    TITLE = "hybrid-search"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012  as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+l", "legs", "Legs"),
        Binding("ctrl+g", "fusion", "Fusion"),
        Binding("ctrl+r", "rerank", "Re-rank"),
        Binding("ctrl+f", "filter", "Filter"),
        Binding("ctrl+o", "open", "Open"),
        Binding("ctrl+y", "cite", "Cite"),
        Binding("f1", "help", "Help"),
        Binding("pagedown", "page(1)", "More"),
        Binding("pageup", "page(-1)", show=False),
        Binding("up", "select(-1)", show=False),
        Binding("down", "select(1)", show=False),
        Binding("shift+up", "scroll_text(-2)", show=False),
        Binding("shift+down", "scroll_text(2)", show=False),
        Binding("escape", "escape", show=False),
        Binding("ctrl+c,ctrl+q", "quit", "Leave", show=False, priority=True),
    ]

    def __init__(self, names: Sequence[str], open_searcher: Callable[[str], Searcher], *, k: int = 20) -> None:
        super().__init__()
        self.state = SearchState(k=k)
        self.shown: Answered | None = None
        self.search_modes: tuple[Mode, ...] = ()
        self.field = Input(placeholder="What are you looking for?", id="query")
        self.field.border_title = self.TITLE
        self.filter, self.status, self.hits, self.sight = Filter(), Status(), Hits(), HitDetail()
        self._names, self._open = tuple(names), open_searcher
        self._worker: SearchThread | None = None
        self._good_filter = ""
        self._last_key = float("-inf")
        self._waiting: Timer | None = None
        self._slow: Timer | None = None

    def compose(self) -> ComposeResult:
        yield self.field
        yield self.filter
        yield self.status
        with Widget(id="panes"):
            yield self.hits
            yield self.sight
        yield Footer()

    def on_mount(self) -> None:
        if "TEXTUAL_THEME" not in os.environ:
            self.theme = THEME
        self.field.focus()
        self._blank("")
        if len(self._names) == 1:
            self._begin(self._names[0])
        else:
            self.push_screen(Choose(self._names), lambda name: self._begin(name or self._names[0]))

    def on_resize(self) -> None:
        self._draw_controls()

    def on_unmount(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _begin(self, name: str) -> None:
        self.field.border_title = Content(f"{self.TITLE} · {one_line(name)}")
        self.status.busy("loading the models")
        self._worker = SearchThread(lambda: self._open(name), self._tell)
        self._worker.start()
        self._ask(self.state)

    def _tell(self, search_event: SearchEvent) -> None:
        with suppress(RuntimeError):  # the screen is gone
            self.post_message(Notice(search_event))

    # ------------------------------------------------------------ asking

    @on(Input.Changed, "#query")
    def _typed(self, event: Input.Changed) -> None:
        if event.value != self.state.query:
            self._ask(self.state.typed(event.value), self._pause())

    @on(Input.Changed, "#filter-field")
    def _filtered(self, event: Input.Changed) -> None:
        if event.value != self.state.where:
            self._ask(self.state.filtered(event.value), self._pause())

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        self._ask(self.state)
        if event.input is self.filter.field:
            self._leave_filter()

    def _pause(self) -> float:
        """Return how long to wait for another key, in seconds."""
        before, self._last_key = self._last_key, monotonic()
        return DEBOUNCE_S if self._last_key - before < AT_ONCE_S else 0.0

    def _ask(self, state: SearchState, wait_s: float = 0.0) -> None:
        """Have it answered, once no other key has followed for a moment."""
        self.state = state
        self.status.say("")
        self._draw_controls()
        self._stop_clocks()
        if not state.query.strip():
            self.shown = None
            self._blank(HINT if self.search_modes else LOADING)
            if self.search_modes:
                self.status.tell("")
        elif wait_s:
            self._waiting = self.set_timer(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._worker is not None:
            self._worker.ask(self.state)
            self._slow = self.set_timer(SLOW_S, self._still_running)

    def _still_running(self) -> None:
        what = "re-ranking" if self.state.rerank else "searching"
        self.status.busy(what if self.search_modes else "loading the models")

    def _stop_clocks(self) -> None:
        for timer in (self._waiting, self._slow):
            if timer is not None:
                timer.stop()

    # ------------------------------------------------------------ hearing

    @on(Notice)
    def _heard(self, event: Notice) -> None:
        match event.search_event:
            case Ready(modes, fusion):
                self.state = self.state.loaded(fusion)
                self._loaded(modes)
            case Broken(error):
                self._worker = None
                self._stop_clocks()
                self.status.tell("")
                self._blank("There is nothing to search. Ctrl+Q leaves.")
                self.status.say(error_text(error), bad=True)
            case Answered() as answered if answered.state == self.state:
                self._stop_clocks()
                self._answered(answered)
            case Refused(state, error) if state == self.state:
                self._stop_clocks()
                self._refused(state, error)
            case _:
                pass  # an answer to what is no longer asked

    def _loaded(self, modes: tuple[Mode, ...]) -> None:
        self.search_modes = modes
        if self.state.mode not in modes or not self.state.query.strip():
            self._ask(self.state if self.state.mode in modes else self.state.next_mode(modes))
        self._draw_controls()

    def _answered(self, answered: Answered) -> None:
        state, results, last = answered.state, answered.results, self.shown
        same_query = last is not None and last.state.query == state.query
        before: Mapping[str, int] = {}
        if last is not None and same_query and state != last.state and state.offset == last.state.offset == 0:
            before = {hit.doc_id: hit.rank for hit in last.results}
        chosen = self.selected.doc_id if same_query and self.selected is not None else ""
        self.shown = answered
        self._good_filter = state.where
        self.filter.say("")
        self.status.tell(format.outcome(results))
        if not len(results):
            narrow = f"\n\nThe filter may leave too little: {state.where}" if state.where.strip() else ""
            why = "".join(f"\n\n{remark}" for remark in results.remarks())
            self._blank(f"Nothing was found for “{state.query.strip()}”.{why}{narrow}")
            return
        ids = [hit.doc_id for hit in results]
        at = ids.index(chosen) if chosen in ids else 0
        self.hits.show(results, format.moves(results, before), at, "PgDn for more" if len(results) == state.k else "")

    def _refused(self, state: SearchState, error: Exception) -> None:
        self.status.tell(format.outcome(self.shown.results) if self.shown else "")
        if isinstance(error, FilterError):
            self.filter.say(error.reason, error.column)
            return
        if isinstance(error, PastTheEnd) and self.shown is not None:
            self.state = self.shown.state
            self.status.say(NO_MORE)
            return
        if state.rerank and isinstance(error, ModelError):
            self._ask(state.reranked(False))
        self.status.say(error_text(error), bad=True)

    @property
    def selected(self) -> DocumentHit | None:
        """The hit that the list stands on."""
        at = self.hits.at
        return self.shown.results[at] if self.shown and at is not None and at < len(self.shown.results) else None

    @on(OptionList.OptionHighlighted, "#hits")
    def _selected(self) -> None:
        self.call_after_refresh(self._draw_selected)  # the list first

    def _draw_selected(self) -> None:
        if self.shown is not None and self.selected is not None and self.hits.at is not None:
            self.sight.show(self.shown.results, self.hits.at)

    def _draw_controls(self) -> None:
        brief = self.size.width < WIDE
        self.status.controls.say(format.controls(self.state, self.search_modes, brief=brief))

    def _blank(self, why: str) -> None:
        """Show that there are no hits, and why."""
        self.hits.blank(why)
        self.sight.display = False

    # ------------------------------------------------------------ keys

    def action_legs(self) -> None:
        if len(self.search_modes) > 1:
            self._ask(self.state.next_mode(self.search_modes))
        elif self.search_modes:
            self.status.say(f"This collection has one leg: {self.search_modes[0]}.")

    def action_fusion(self) -> None:
        if self.state.mode == HYBRID:
            self._ask(self.state.next_fusion())
        else:
            self.status.say(f"Only the {self.state.mode} leg is searched, so nothing is fused.")

    def action_rerank(self) -> None:
        self._ask(self.state.reranked(not self.state.rerank))

    def action_filter(self) -> None:
        self.filter.add_class("open")
        self.filter.field.focus()

    def _leave_filter(self) -> None:
        self.filter.set_class(bool(self.state.where.strip()), "open")
        self.field.focus()

    def action_escape(self) -> None:
        if not self.filter.field.has_focus:
            self.field.value = ""
            return
        self.filter.field.value = self._good_filter
        self.filter.say("")
        self._ask(self.state.filtered(self._good_filter))
        self._leave_filter()

    def action_select(self, by: int) -> None:
        self.hits.move(by)

    def action_page(self, by: int) -> None:
        if self.shown is None or self.shown.state != self.state:
            return
        if by > 0 and len(self.shown.results) < self.state.k:
            self.status.say(NO_MORE)
        elif (state := self.state.page(by)) != self.state:
            self._ask(state)

    def action_scroll_text(self, by: int) -> None:
        self.sight.scroll_text(by)

    def action_open(self) -> None:
        if (hit := self.selected) is None:
            return
        try:
            command = editor.command(editor.position_of(hit.location()))
            with self.suspend():
                subprocess.run(command, check=False)
        except HybridSearchError as error:
            self.status.say(str(error), bad=True)
        except (OSError, ValueError, SuspendNotSupported) as error:
            self.status.say(f"The editor cannot be started: {error}", bad=True)

    def action_cite(self) -> None:
        if (hit := self.selected) is not None:
            self.copy_to_clipboard(format.citation(hit))
            self.status.say(f"Copied as a citation: {format.squeezed(hit.title) or hit.doc_id}")

    def action_help(self) -> None:
        self.push_screen(Help())
