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


class Choose(ModalScreen[str]):
    """Asks which collection to search."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.can_focus = False
            dialog.border_title = "Which collection?"
            yield OptionList(*(Content(name) for name in self._names))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])


class Help(ModalScreen[None]):
    """All keys, and how to read the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,enter,q", "dismiss", "Back")]

    def __init__(self, keys: Sequence[tuple[str, str]], legend: Content) -> None:
        super().__init__()
        self._keys, self._legend = tuple(keys), legend

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            lines = [Content.assemble((f"{key:<16}", "bold $primary"), does) for key, does in self._keys]
            yield Static(Content("\n").join([*lines, Content(""), self._legend]))
