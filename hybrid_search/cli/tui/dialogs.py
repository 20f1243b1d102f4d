"""What comes up over the screen: the choice of a collection, and the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from hybrid_search._util.printable import one_line
from hybrid_search.cli.tui.format import legend

KEYS = (
    ("↑ ↓", "the hit above, the hit below"),
    ("PgUp PgDn", "the hits before these, the hits after these"),
    ("Shift+↑ ↓", "scroll the document"),
    ("Ctrl+L", "legs: all of them fused, then each alone"),
    ("Ctrl+G", "fusion: rrf, dbsf, minmax, convex"),
    ("Ctrl+R", "re-ranking on or off"),
    ("Ctrl+F", "filter; Enter keeps it, Esc goes back to the last good one"),
    ("Ctrl+O", "open the document in $VISUAL or $EDITOR, at its line"),
    ("Ctrl+Y", "copy the hit as a citation"),
    ("Esc", "clear the query"),
    ("Ctrl+P", "colours and more"),
    ("Ctrl+Q Ctrl+C", "leave"),
)


class Choose(ModalScreen[str]):
    """Asks which collection to search."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._collections = tuple(names)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = "Which collection?"
            yield OptionList(*(Content(one_line(name)) for name in self._collections))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._collections[event.option_index])


class Help(ModalScreen[None]):
    """All keys, and how to read the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,enter,q", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            keys = [Content.assemble((f"{key:<15}", "bold $primary"), does) for key, does in KEYS]
            yield Static(Content("\n").join([*keys, Content(""), legend()]))
