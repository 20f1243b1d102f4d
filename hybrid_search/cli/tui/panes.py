"""The parts of the screen. Each is told what to show, and knows nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static

from hybrid_search._util.printable import printable
from hybrid_search.cli.tui import charts, format
from hybrid_search.results import Results


class OptionalText(Static):
    """Words that are there or not. Only what has changed is laid out again, for that draws the whole screen anew."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._said: str | Content = ""

    def say(self, what: str | Content) -> None:
        if what != self._said:
            self._said = what
            self.update(what)
        set_shown(self, bool(what))


def set_shown(part: Widget, shown: bool) -> None:
    """Show a part, or take it away."""
    if part.display != shown:
        part.display = shown


class Filter(Vertical):
    """The filter's field, and below it what is wrong with it."""

    LABEL = 8

    def __init__(self) -> None:
        super().__init__(id="filter")
        self.field = Input(placeholder="year >= 1990 and title ~ 'love'", id="filter-field", compact=True)
        self._fault = OptionalText("fault")

    def compose(self) -> ComposeResult:
        with Horizontal(id="filter-row"):
            yield Static("filter", id="filter-label")
            yield self.field
        yield self._fault

    def say(self, reason: str, column: int | None = None) -> None:
        """Show what is wrong below the column where it is, from 1; nothing where there is no reason."""
        reason = printable(reason)
        if column is None:
            self._fault.say(reason)
            return
        at = max(0, self.LABEL + cell_len(self.field.value[: column - 1]) - round(self.field.scroll_x))
        room = max(20, self.size.width - 4)
        self._fault.say(f"{' ' * at}▲{' ' if at + 2 + cell_len(reason) <= room else chr(10)}{reason}")


class Status(Vertical):
    """What the keys have set, what came of it, and below what there is to say."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self.controls, self.outcome, self._message = (
            OptionalText("controls"),
            Static(id="outcome"),
            OptionalText("message"),
        )

    def compose(self) -> ComposeResult:
        with Horizontal(id="status-row"):
            yield self.controls
            yield self.outcome
        yield self._message

    def say(self, message: str, *, bad: bool = False) -> None:
        self._message.say(printable(message))
        self._message.set_class(bad, "bad")

    def tell(self, outcome: Content | str) -> None:
        """Show what came of a search; its room stays the same, so nothing is laid out again."""
        self.outcome.update(outcome, layout=False)

    def busy(self, what: str) -> None:
        self.tell(Content.styled(f"{what} …", "$warning"))


class Hits(Vertical):
    """The list of hits, or why there are none."""

    def __init__(self) -> None:
        super().__init__(id="left")
        self._list = OptionList(id="hits", markup=False)
        self._list.can_focus = False  # the keys go to the query; up and down reach the list from there
        self._list.border_title = "hits"
        self._nothing = OptionalText("nothing")

    def compose(self) -> ComposeResult:
        yield self._list
        yield self._nothing

    @property
    def at(self) -> int | None:
        """The place of the selected hit among those shown, from 0."""
        return self._list.highlighted

    def show(self, results: Results, moved: Mapping[str, int | None], at: int, more: str) -> None:
        self._nothing.say("")
        set_shown(self._list, True)
        self._list.set_options([format.hit_lines(hit, moved.get(hit.doc_id), bool(moved)) for hit in results])
        self._list.border_subtitle = more
        self._list.highlighted = at

    def blank(self, why: str) -> None:
        self._list.clear_options()
        set_shown(self._list, False)
        self._nothing.say(printable(why))

    def move(self, by: int) -> None:
        if self._list.highlighted is not None:
            self._list.highlighted = min(max(0, self._list.highlighted + by), self._list.option_count - 1)


class Drawing(Widget):
    """Draws itself anew for the room that it has."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._draw: Callable[[int, int], Content] = lambda width, height: Content("")

    def show(self, draw: Callable[[int, int], Content]) -> None:
        self._draw = draw
        self.refresh()

    def render(self) -> Content:
        return self._draw(self.content_size.width, self.content_size.height)


class HitDetail(VerticalScroll, can_focus=False):
    """The selected hit: its document, and the evidence for it."""

    def __init__(self) -> None:
        super().__init__(id="right")
        self._preview = VerticalScroll(id="preview", classes="pane", can_focus=False)
        self._preview.border_title = "document"
        self._preview.border_subtitle = f"[{format.LITERAL}]in the query[/]  [{format.EXPANSION}]by expansion[/]"
        self._text, self._path = OptionalText("text"), OptionalText("path")
        self._bars, self._plot = Drawing("bars"), Drawing("plot")

    def compose(self) -> ComposeResult:
        with self._preview:
            yield self._text
        with Vertical(id="evidence", classes="pane") as evidence:
            evidence.border_title = "evidence"
            yield self._path
            with Widget(id="drawings"):
                yield self._bars
                yield self._plot

    def show(self, results: Results, at: int) -> None:
        hit = results[at]
        set_shown(self, True)
        self._text.say(format.preview(hit))
        self._path.say(format.path_line(hit, results))
        self._bars.show(lambda width, height: charts.bars(hit.matched_terms or (), width, height))
        self._plot.show(lambda width, height: charts.legs_plot(results, at, width, height))
        self._preview.scroll_home(animate=False)
        self.scroll_home(animate=False)

    def scroll_text(self, by: int) -> None:
        """Scroll by so many lines, whichever of the two has more to show than fits."""
        self._preview.scroll_relative(y=by, animate=False)
        self.scroll_relative(y=by, animate=False)
