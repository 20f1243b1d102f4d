"""`hybrid-search doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli import completion, options
from hybrid_search.cli.command import SOME_FAILED, global_options
from hybrid_search.cli.console import note, out
from hybrid_search.cli.options import choice
from hybrid_search.cli.streams import print_json

if TYPE_CHECKING:
    from hybrid_search.diagnostics.diagnosis import Diagnosis

_COLOURS = {"problem": "bold red", "warning": "yellow", "unchecked": "cyan", "ok": "green"}
_PROGRAM = "hybrid-search"


def doctor(
    name: Annotated[
        str | None,
        typer.Argument(help="The collection; all of them where none is named.", autocompletion=completion.collections),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and every point, and every cached model.")
    ] = False,
    format: options.Format = "table",
) -> None:
    """Check the install, the models, the store and its collections, and say what mends what is found.

    Example: `hybrid-search doctor`

    Nothing is changed by it. The exit code is 4 where a problem or a warning was found.
    """
    from hybrid_search.diagnostics.diagnosis import Report
    from hybrid_search.diagnostics.doctor import doctor

    choice(format, ("table", "json"), "--format")
    report = doctor(name, store=global_options.store, config=global_options.config, deep=deep)
    report = Report([one._replace(command=_typed(one.command)) for one in report.diagnoses])
    if format == "json":
        print_json(report.to_dict(), indent=2)
    else:
        out.print(_table(report.diagnoses), soft_wrap=True)
        note(_summary(report.diagnoses))
    if report.found:
        raise typer.Exit(SOME_FAILED)


def _typed(command: str) -> str:
    """Return a command with the store and the config in use, as it has to be typed."""
    if not command.startswith(f"{_PROGRAM} ") or "--store" in command:
        return command
    return global_options.program() + command.removeprefix(_PROGRAM)


def _table(diagnoses: list[Diagnosis]) -> Text:
    """Return the findings by subject, each subject's problems first, with the command that mends them below."""
    order = list(_COLOURS)
    lines = []
    for subject in dict.fromkeys(one.subject for one in diagnoses):
        lines.append(Text(one_line(subject), style="bold"))
        for one in sorted((one for one in diagnoses if one.subject == subject), key=lambda one: order.index(one.state)):
            said = one_line(f"{one.check}: {one.text}")
            lines.append(Text.assemble((f"  {one.state:<9}  ", _COLOURS[one.state]), said))
            if one.command:
                lines.append(Text.assemble((" " * 13 + "-> ", "dim"), one_line(one.command)))
    return Text("\n").join(lines)


def _summary(diagnoses: list[Diagnosis]) -> str:
    counts = {state: sum(one.state == state for one in diagnoses) for state in _COLOURS}
    return ", ".join(
        f"{count:,} {state}" for state, count in counts.items() if count or state in ("problem", "warning")
    )
