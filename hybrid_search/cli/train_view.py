"""How a training is shown: its progress on stderr, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.console import err, note
from hybrid_search.cli.index_view import listed
from hybrid_search.cli.options import choice
from hybrid_search.cli.streams import print_json

if TYPE_CHECKING:
    from hybrid_search.training.callbacks import Progress as TrainingProgress
    from hybrid_search.training.report import Report
    from hybrid_search.types import Failure

_STAGES = {
    "data": "reading",
    "base": "loading the base",
    "mine": "mining negatives",
    "teach": "asking teachers",
    "train": "training",
    "judge": "judging",
    "export": "exporting",
}


@contextmanager
def training_display(kind: str) -> Iterator[tuple[Callable[[TrainingProgress], None], Callable[[str, int, int], None]]]:
    kind = choice(kind, ("auto", "bar", "json", "none"), "--progress")
    if kind == "json":
        yield _print_event, _print_download
    elif kind == "none" or (kind == "auto" and not err.is_terminal):
        yield _print_evaluation if kind == "auto" else (lambda _: None), lambda *_: None
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[more]}", markup=False),
        )
        with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bars:
            yield _bars(bars)


def _bars(bars: Progress) -> tuple[Callable[[TrainingProgress], None], Callable[[str, int, int], None]]:
    tasks: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int, more: str = "") -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=None, more="")
        bars.update(tasks[name], completed=done, total=total or None, more=more)

    def tell(now: TrainingProgress) -> None:
        # One stage follows another; the training alone stays in sight, for it is the one that is waited for.
        for name, task in tasks.items():
            bars.update(task, visible=name in (_STAGES[now.stage], _STAGES["train"]))
        show(_STAGES[now.stage], now.done, now.total, now.note if now.loss is None else f"loss {now.loss:.4f}")
        _print_evaluation(now)

    return tell, lambda name, done, total: show(f"fetching {name}", done, total)


def _print_evaluation(now: TrainingProgress) -> None:
    if now.evaluation is not None:
        one = now.evaluation
        note(
            f"step {one.step:,}: nDCG@10 {one.ndcg:.4f}, active dims {one.query_dims:.0f} (queries) "
            f"{one.document_dims:.0f} (documents), FLOPS {one.flops:.1f}"
        )
    elif now.stage == "train" and now.note:
        note(now.note)


def _print_event(now: TrainingProgress) -> None:
    event = {**now._asdict(), "event": "progress", "evaluation": now.evaluation and now.evaluation._asdict()}
    print_json({name: value for name, value in event.items() if value not in (None, "")}, sys.stderr)


def _print_download(name: str, done: int, total: int) -> None:
    print_json({"event": "download", "model": name, "bytes": done, "total_bytes": total}, sys.stderr)


def summary(report: Report) -> RenderableType:
    head = Text.assemble((one_line(report.out), "bold"), (f"  {report.made:,} steps in {report.seconds:,.0f} s", "dim"))
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "nDCG@10", "query dims", "document dims", "FLOPS"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    full, int8 = report.exported.full, report.exported.int8
    for name, one in (("before", report.before), ("trained", report.after), ("exported", full), ("int8", int8)):
        if one is not None:
            cells = (f"{one.ndcg:.4f}", f"{one.query_dims:.1f}", f"{one.document_dims:.1f}", f"{one.flops:.1f}")
            table.add_row(name, *cells)
    lines: list[RenderableType] = [head]
    lines += [table] if table.rows else [Text("nothing was held out, so nothing was measured", style="yellow")]
    if report.improved is False:
        lines.append(Text("The trained model is not better than its base on the held-out queries.", style="yellow"))
    use = f"hybrid-search index SOURCE -c NAME --sparse {report.out}"
    lines.append(
        Text(f"use it: {use}\nint8: --sparse {report.out}/int8; report: {report.out}/report.html", style="dim")
    )
    return Group(*lines)


def left_out(failures: list[Failure]) -> RenderableType:
    return listed(f"{len(failures):,} rows were left out:", failures, len(failures))
