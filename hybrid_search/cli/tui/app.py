"""The screen of `hybrid-search tui`: its parts, its keys, and what happens when an answer comes in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Footer, Input, OptionList, Static

from hybrid_search.cli.tui import charts, editor, lines
from hybrid_search.cli.tui.asked import Asked
from hybrid_search.cli.tui.dialogs import Choose, Help
from hybrid_search.cli.tui.worker import Answered, Broken, Ready, Refused, Told, Worker, said
from hybrid_search.errors import FilterError, HybridSearchError, ModelError
from hybrid_search.results import DocumentHit
from hybrid_search.searcher import Searcher
from hybrid_search.types import Mode

DEBOUNCE_S = 0.02
"""How long a key waits for the next one before a search begins. Not more: a search takes few milliseconds."""

SLOW_S = 0.25
"""After which a search that still runs is told."""

KEYS = (
    ("↑ ↓", "the hit above, the hit below"),
    ("PgUp PgDn", "the hits before these, the hits after these"),
    ("Shift+↑ Shift+↓", "scroll the document"),
    ("Ctrl+L", "legs: all of them fused, then each alone"),
    ("Ctrl+G", "fusion: rrf, dbsf, minmax"),
    ("Ctrl+R", "re-ranking on or off"),
    ("Ctrl+F", "filter; Enter keeps it, Esc takes the last good one back"),
    ("Ctrl+O", "open the document in $VISUAL or $EDITOR, at its line"),
    ("Ctrl+Y", "copy the hit as a citation"),
    ("Esc", "clear the query"),
    ("Ctrl+P", "colours and more"),
    ("Ctrl+Q, Ctrl+C", "leave"),
)


class Heard(Message):
    """The worker said something."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self.told = told


class Drawing(Widget):
    """Draws itself anew for the room it has."""

    draw: Callable[[int, int], Content] = staticmethod(lambda width, height: Content(""))

    def show(self, draw: Callable[[int, int], Content]) -> None:
        self.draw = draw
        self.refresh()

    def render(self) -> Content:
        return self.draw(self.content_size.width, self.content_size.height)


class SearchApp(App[None]):
    """Search as you type.

    Args:
        names: the collections to choose from; the only one is taken.
        open_searcher: opens one; called in the thread that searches.
        k: hits a page.
    """

    CSS_PATH = "app.tcss"
    TITLE = "hybrid-search"
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-short"), (34, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+l", "legs", "Legs"),
        Binding("ctrl+g", "fusion", "Fusion"),
        Binding("ctrl+r", "rerank", "Re-rank"),
        Binding("ctrl+f", "filter", "Filter"),
        Binding("ctrl+o", "open", "Open"),
        Binding("ctrl+y", "cite", "Cite"),
        Binding("pagedown", "page(1)", "More"),
        Binding("pageup", "page(-1)", "Back", show=False),
        Binding("f1", "help", "Help"),
        Binding("up", "select(-1)", show=False),
        Binding("down", "select(1)", show=False),
        Binding("shift+up", "scroll_text(-1)", show=False),
        Binding("shift+down", "scroll_text(1)", show=False),
        Binding("escape", "escape", show=False),
        Binding("ctrl+c,ctrl+q", "quit", "Leave", show=False, priority=True),
    ]

    def __init__(self, names: Sequence[str], open_searcher: Callable[[str], Searcher], *, k: int = 20) -> None:
        super().__init__()
        self.asked = Asked(k=k)
        self.shown: Answered | None = None
        self._names, self._open = tuple(names), open_searcher
        self._ways: tuple[Mode, ...] = ()
        self._worker: Worker | None = None
        self._good_filter = ""
        self._pending: Timer | None = None
        self._slow: Timer | None = None

    def compose(self) -> ComposeResult:
        query = Input(placeholder="What are you looking for?", id="query")
        query.border_title = "hybrid-search"
        yield query
        with Horizontal(id="filter-row"):
            yield Static("filter", id="filter-label")
            yield Input(placeholder="year >= 1990 and title ~ 'love'", id="filter", compact=True)
        yield Static(id="fault", markup=False)
        with Horizontal(id="status"):
            yield Static(id="controls")
            yield Static(id="outcome")
        yield Static(id="message", markup=False)
        with Widget(id="panes"):
            with Vertical(id="left"):
                hits = OptionList(id="hits", markup=False)
                hits.can_focus = False
                hits.border_title = "hits"
                yield hits
                yield Static(id="nothing")
            with _unfocused(VerticalScroll(id="right")):
                with _unfocused(VerticalScroll(id="preview", classes="pane")) as preview:
                    preview.border_title = "document"
                    preview.border_subtitle = f"[{lines.LITERAL}]in the query[/]  [{lines.EXPANSION}]by expansion[/]"
                    yield Static(id="text")
                with Vertical(id="evidence", classes="pane") as evidence:
                    evidence.border_title = "evidence"
                    yield Static(id="path")
                    with Widget(id="drawings"):
                        yield Drawing(id="bars")
                        yield Drawing(id="plot")
        yield Footer()

    def on_mount(self) -> None:
        if "TEXTUAL_THEME" not in os.environ:
            self.theme = "tokyo-night"
        self.query_one("#query").focus()
        self._blank("")
        if len(self._names) == 1:
            self._begin(self._names[0])
        else:
            self.push_screen(Choose(self._names), lambda name: self._begin(name or self._names[0]))

    def on_unmount(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _begin(self, name: str) -> None:
        self.query_one("#query").border_title = f"hybrid-search · {lines.one_line(name)}"
        self.query_one("#outcome", Static).update(Content.styled("loading the models …", "$warning"))
        self._blank("Loading the models. You can type already.")
        self._worker = Worker(lambda: self._open(name), self._tell)
        self._worker.start()
        self._draw_controls()
        self._ask(self.asked)

    def _tell(self, told: Told) -> None:
        with suppress(RuntimeError):  # the screen is gone
            self.post_message(Heard(told))

    # ------------------------------------------------------------ asking

    @on(Input.Changed, "#query")
    def _typed(self, event: Input.Changed) -> None:
        if event.value != self.asked.query:
            self._ask(self.asked.typed(event.value), DEBOUNCE_S)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        if event.value != self.asked.where:
            self._ask(self.asked.filtered(event.value), DEBOUNCE_S)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        self._ask(self.asked)
        if event.input.id == "filter":
            self._leave_filter()

    def _ask(self, asked: Asked, wait_s: float = 0.0) -> None:
        """Have it answered, once no other key has followed for a moment."""
        self.asked = asked
        self._say("")
        self._draw_controls()
        for timer in (self._pending, self._slow):
            if timer is not None:
                timer.stop()
        if not asked.query.strip():
            self.shown = None
            self._blank(self._hint())
        elif wait_s:
            self._pending = self.set_timer(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._worker is not None:
            self._worker.ask(self.asked)
            self._slow = self.set_timer(SLOW_S, self._still_running)

    def _still_running(self) -> None:
        what = "loading the models" if not self._ways else "re-ranking" if self.asked.rerank else "searching"
        self.query_one("#outcome", Static).update(Content.styled(f"{what} …", "$warning"))

    # ------------------------------------------------------------ hearing

    @on(Heard)
    def _heard(self, event: Heard) -> None:
        match event.told:
            case Ready(modes):
                self._ways = modes
                if self.asked.mode not in modes:
                    self.asked = Asked(self.asked.query, modes[0], where=self.asked.where, k=self.asked.k)
                self._draw_controls()
                self.query_one("#outcome", Static).update("")
                self._ask(self.asked)
            case Broken(error):
                self._worker = None
                self.query_one("#outcome", Static).update("")
                self._blank("There is nothing to search. Ctrl+Q leaves.")
                self._say(said(error), bad=True)
            case Answered() as answered if answered.asked == self.asked:
                self._answered(answered)
            case Refused(asked, error) if asked == self.asked:
                self._refused(asked, error)
            case _:
                pass  # an answer to what is no longer asked

    def _answered(self, answered: Answered) -> None:
        if self._slow is not None:
            self._slow.stop()
        asked, results, last = answered.asked, answered.results, self.shown
        if not len(results) and asked.offset and last is not None:
            self.asked = last.asked
            self._say("These were all hits.")
            return
        self._fault("")
        self._good_filter = asked.where
        same_query = last is not None and last.asked.query == asked.query
        before: Mapping[str, int] = {}
        if last is not None and same_query and asked.offset == last.asked.offset and asked != last.asked:
            before = {hit.doc_id: hit.rank for hit in last.results}
        moved = lines.moves(results, before)
        chosen = self.selected.doc_id if same_query and self.selected is not None else ""
        self.shown = answered
        self.query_one("#outcome", Static).update(lines.outcome(results))
        if not len(results):
            narrow = f"\n\nThe filter may be too narrow: {asked.where}" if asked.where.strip() else ""
            self._blank(f"Nothing was found for “{asked.query.strip()}”.{narrow}")
            return
        self.query_one("#nothing").display = False
        hits = self.query_one("#hits", OptionList)
        hits.display = True
        hits.set_options([lines.hit_lines(hit, moved.get(hit.doc_id), bool(moved)) for hit in results])
        hits.border_subtitle = "PgDn for more" if len(results) == asked.k else ""
        ids = [hit.doc_id for hit in results]
        hits.highlighted = ids.index(chosen) if chosen in ids else 0
        self._draw_hit()

    def _refused(self, asked: Asked, error: Exception) -> None:
        if self._slow is not None:
            self._slow.stop()
        if isinstance(error, FilterError):
            self._fault(error.reason, error.column)
        elif asked.rerank and isinstance(error, ModelError):
            self._ask(asked.reranked(False))
            self._say(said(error), bad=True)
        else:
            self._say(said(error), bad=True)
        self.query_one("#outcome", Static).update(lines.outcome(self.shown.results) if self.shown else "")

    # ------------------------------------------------------------ drawing

    @property
    def selected(self) -> DocumentHit | None:
        """The hit that the list stands on."""
        at = self.query_one("#hits", OptionList).highlighted
        if self.shown is None or at is None or at >= len(self.shown.results):
            return None
        return self.shown.results[at]

    @on(OptionList.OptionHighlighted, "#hits")
    def _draw_hit(self) -> None:
        hit, at = self.selected, self.query_one("#hits", OptionList).highlighted
        if hit is None or at is None or self.shown is None:
            return
        results = self.shown.results
        self.query_one("#right").display = True
        self.query_one("#text", Static).update(lines.preview(hit))
        self.query_one("#path", Static).update(lines.path_line(hit, results))
        terms = hit.matched_terms or ()
        self.query_one("#bars", Drawing).show(lambda width, height: charts.bars(terms, width, height))
        self.query_one("#plot", Drawing).show(lambda width, height: charts.legs_plot(results, at, width, height))
        for scroll in ("#right", "#preview"):
            self.query_one(scroll).scroll_home(animate=False)

    def _draw_controls(self) -> None:
        self.query_one("#controls", Static).update(lines.controls(self.asked, self._ways))

    def _blank(self, why: str) -> None:
        """No hits, and why."""
        self.query_one("#hits", OptionList).clear_options().display = False
        self.query_one("#right").display = False
        nothing = self.query_one("#nothing", Static)
        nothing.update(Content(why))
        nothing.display = True

    def _hint(self) -> str:
        if not self._ways:
            return "Loading the models. You can type already."
        return "Type to search, in any words.\n\nF1 shows all keys."

    def _say(self, message: str, *, bad: bool = False) -> None:
        line = self.query_one("#message", Static)
        line.update(lines.printable(message))
        line.set_class(bad, "bad")
        line.display = bool(message)

    def _fault(self, reason: str, column: int | None = None) -> None:
        """What is wrong with the filter, below the column where it is."""
        line = self.query_one("#fault", Static)
        line.display = bool(reason)
        if column is None:
            line.update(reason)
            return
        field = self.query_one("#filter", Input)
        label = self.query_one("#filter-label").size.width
        at = max(0, label + cell_len(field.value[: column - 1]) - round(field.scroll_x))
        wide = at + 2 + cell_len(reason) > max(20, self.size.width - 4)
        line.update(f"{' ' * at}▲\n{reason}" if wide else f"{' ' * at}▲ {reason}")

    # ------------------------------------------------------------ keys

    def action_legs(self) -> None:
        if len(self._ways) > 1:
            self._ask(self.asked.next_mode(self._ways))
        elif self._ways:
            self._say(f"This collection has one leg: {self._ways[0]}.")

    def action_fusion(self) -> None:
        if self.asked.mode == "hybrid":
            self._ask(self.asked.next_fusion())
        else:
            self._say("One leg alone is searched, so nothing is fused. Ctrl+L goes on to all of them.")

    def action_rerank(self) -> None:
        self._ask(self.asked.reranked(not self.asked.rerank))

    def action_filter(self) -> None:
        self.query_one("#filter-row").add_class("open")
        self.query_one("#filter").focus()

    def _leave_filter(self) -> None:
        self.query_one("#filter-row").set_class(bool(self.asked.where.strip()), "open")
        self.query_one("#query").focus()

    def action_escape(self) -> None:
        field = self.query_one("#filter", Input)
        if not field.has_focus:
            self.query_one("#query", Input).value = ""
            return
        field.value = self._good_filter
        self._fault("")
        self._ask(self.asked.filtered(self._good_filter))
        self._leave_filter()

    def action_select(self, by: int) -> None:
        hits = self.query_one("#hits", OptionList)
        if hits.highlighted is not None:
            hits.highlighted = min(max(0, hits.highlighted + by), hits.option_count - 1)

    def action_page(self, by: int) -> None:
        if self.shown is None or self.shown.asked != self.asked:
            return
        if by > 0 and len(self.shown.results) < self.asked.k:
            self._say("These were all hits.")
        elif (asked := self.asked.page(by)) != self.asked:
            self._ask(asked)

    def action_scroll_text(self, by: int) -> None:
        for scroll in ("#preview", "#right"):
            self.query_one(scroll).scroll_relative(y=by * 2, animate=False)

    def action_open(self) -> None:
        if (hit := self.selected) is None:
            return
        try:
            command = editor.command(editor.place_of(hit.origin))
            with self.suspend():
                subprocess.run(command, check=False)
        except HybridSearchError as error:
            self._say(str(error), bad=True)
        except (OSError, ValueError) as error:
            self._say(f"The editor cannot be started: {error}", bad=True)
        self.refresh(layout=True)

    def action_cite(self) -> None:
        if (hit := self.selected) is not None:
            self.copy_to_clipboard(lines.citation(hit))
            self._say(f"Copied as a citation: {lines.one_line(hit.title) or hit.doc_id}")

    def action_help(self) -> None:
        self.push_screen(Help(KEYS, lines.legend()))


def _unfocused(scroll: VerticalScroll) -> VerticalScroll:
    scroll.can_focus = False
    return scroll
