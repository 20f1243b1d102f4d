"""Reports the result of a training: one value, as JSON and as a page."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hybrid_search._util import atomic_write
from hybrid_search.training.evaluation import MEASURE, Evaluation
from hybrid_search.training.export import Exported
from hybrid_search.training.recipe import Recipe
from hybrid_search.training.svg_chart import line_chart

REPORT_JSON, REPORT_HTML = "report.json", "report.html"
_PACKAGES = (
    "hybrid-search", "torch", "sentence-transformers", "transformers", "accelerate", "datasets", "tokenizers", "numpy",
    "onnx", "onnxruntime",
)  # fmt: skip

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1f2937}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;margin:.5rem 0}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #e5e7eb}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.charts{display:grid;gap:1.5rem;
grid-template-columns:repeat(auto-fit,minmax(26rem,1fr))}svg{width:100%;height:auto}code,pre{font-size:.85rem}
pre{background:#f3f4f6;padding:.6rem;overflow-x:auto}.title{font:600 13px system-ui,sans-serif}
.tick{font:11px system-ui,sans-serif;fill:#6b7280}.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:#e5e7eb}.warn{background:#fef3c7;padding:.5rem .8rem}
"""


@dataclass(frozen=True, slots=True)
class Report:
    """A finished training.

    Args:
        out: the folder with everything in it.
        command: the command that trains it again.
        recipe: the recipe that was used.
        data: what is counted -> count, including what mining and teachers did.
        hashes: file -> SHA-256 of the training data.
        base: `name`, `licence`, `head` (`fitted` or `its own`) and `weights` (a hash).
        environment: Python, machine, device and the versions of packages.
        steps: planned steps.
        made: steps made; fewer if patience ended it.
        seconds: time of training and evaluating.
        evaluations: in the order of their steps, the base's first; empty if nothing was held out.
        curve: the losses over the steps.
        best: the step whose weights were exported.
        exported: what the exported models do.
        created: ISO 8601, UTC.
    """

    out: str
    command: str
    recipe: Recipe
    data: Mapping[str, int]
    hashes: Mapping[str, str]
    base: Mapping[str, str]
    environment: Mapping[str, str]
    steps: int
    made: int
    seconds: float
    evaluations: tuple[Evaluation, ...]
    curve: tuple[Mapping[str, float], ...]
    best: int
    exported: Exported
    created: str

    @property
    def before(self) -> Evaluation | None:
        """The evaluation of the base, before the first step."""
        return next((one for one in self.evaluations if one.step == 0), None)

    @property
    def after(self) -> Evaluation | None:
        """The evaluation of the exported weights."""
        return next((one for one in self.evaluations if one.step == self.best), None)

    @property
    def improved(self) -> bool | None:
        """Whether the exported weights do better than the base; None if nothing was held out."""
        if self.before is None or self.after is None:
            return None
        return self.after.ndcg > self.before.ndcg

    def to_dict(self) -> dict[str, Any]:
        """Return the object that report.json holds and `train --format json` prints."""
        exported = self.exported._asdict()
        for name in ("full", "int8"):
            exported[name] = None if exported[name] is None else exported[name]._asdict()
        return {
            **{
                name: value for name, value in asdict(self).items() if name not in ("recipe", "evaluations", "exported")
            },
            "seconds": round(self.seconds, 1),
            "recipe": self.recipe.to_dict(),
            "evaluations": [one._asdict() for one in self.evaluations],
            "exported": exported,
            "improved": self.improved,
        }

    def write(self) -> None:
        """Write report.json and report.html. Raises OSError if that fails."""
        out = Path(self.out)
        atomic_write(out / REPORT_JSON, json.dumps(self.to_dict(), indent=1, ensure_ascii=False).encode())
        atomic_write(out / REPORT_HTML, page(self).encode("utf-8", "replace"))


def environment(device: str) -> dict[str, str]:
    """Return what the outcome may depend on besides recipe and data."""
    found = {"python": platform.python_version(), "system": platform.platform(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "device": device}


def page(report: Report) -> str:
    """Return the report as one HTML page that needs nothing else: no script, no picture, no network."""
    body = [
        f"<h1>Training of {escape(report.out)}</h1>",
        f"<p>{escape(_summary(report))}</p>",
        *(['<p class="warn">' + escape(WORSE) + "</p>"] if report.improved is False else []),
        f'<div class="charts">{"".join(_charts(report))}</div>',
        "<h2>Evaluations</h2>",
        _evaluations(report),
        "<h2>Exported models</h2>",
        _table(_exported_rows(report.exported)),
        "<h2>Data</h2>",
        _table([*((name, f"{count:,}") for name, count in report.data.items()), *report.hashes.items()]),
        "<h2>Settings</h2>",
        _table([(name, _shown(value)) for name, value in report.recipe.to_dict().items()]),
        "<h2>Base</h2>",
        _table(report.base.items()),
        "<h2>Environment</h2>",
        _table(report.environment.items()),
        f"<h2>Again</h2><pre>{escape(report.command)}</pre>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Training report</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _charts(report: Report) -> list[str]:
    losses = _lines(report.curve, {"loss": "loss", "base_loss": "without regulariser"})
    weights = {"query_regularizer_weight": "on queries", "document_regularizer_weight": "on documents"}
    evaluations = report.evaluations
    return [
        line_chart(f"{MEASURE} on held-out queries", {MEASURE: [(one.step, one.ndcg) for one in evaluations]}),
        line_chart("Loss", losses),
        line_chart(
            "Mean active dims",
            {
                "queries": [(one.step, one.query_dims) for one in evaluations],
                "documents": [(one.step, one.document_dims) for one in evaluations],
            },
        ),
        line_chart(
            "Expected FLOPS of a query and a document", {"FLOPS": [(one.step, one.flops) for one in evaluations]}
        ),
        line_chart("Regulariser's weight", _lines(report.curve, weights)),
        line_chart("Learning rate", _lines(report.curve, {"learning_rate": "of the transformer"})),
    ]


WORSE = (
    "On the held-out queries the trained model is not better than the base. It was exported all the same, for it is "
    "what was asked for; try more data, other settings, or keep the base."
)


def _summary(report: Report) -> str:
    parts = [f"{report.made:,} of {report.steps:,} steps in {report.seconds:,.0f} s."]
    if report.before and report.after:
        parts.append(
            f"{MEASURE} on {report.data.get('held-out queries', 0):,} held-out queries: {report.before.ndcg:.4f} "
            f"before, {report.after.ndcg:.4f} after, with the weights of step {report.best:,}."
        )
    return " ".join(parts)


def _lines(curve: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    return {shown: [(row["step"], row[name]) for row in curve if name in row] for name, shown in names.items()}


def _evaluations(report: Report) -> str:
    heads = ("step", MEASURE, "query dims", "document dims", "FLOPS")
    rows = []
    for one in report.evaluations:
        cells = (
            f"{one.step:,}",
            f"{one.ndcg:.4f}",
            f"{one.query_dims:.1f}",
            f"{one.document_dims:.1f}",
            f"{one.flops:.2f}",
        )
        note = "the base" if one.step == 0 else "exported" if one.step == report.best else ""
        rows.append("".join(f'<td class="n">{cell}</td>' for cell in cells) + f"<td>{note}</td>")
    head = "".join(f'<th class="n">{head}</th>' for head in heads) + "<th></th>"
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _exported_rows(exported: Exported) -> list[tuple[str, str]]:
    rows = [
        ("fp32 against torch", f"weights differ by at most {exported.difference:.1e}"),
        ("int8 against fp32", f"mean cosine {exported.int8_cosine:.4f}"),
        ("size", f"fp32 {exported.megabytes[0]:,.1f} MB, int8 {exported.megabytes[1]:,.1f} MB"),
    ]
    if exported.full and exported.int8:
        rows.append((MEASURE, f"fp32 {exported.full.ndcg:.4f}, int8 {exported.int8.ndcg:.4f}"))
    return rows


def _table(rows: Any) -> str:
    cells = (f"<tr><td>{escape(str(name))}</td><td><code>{escape(str(value))}</code></td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
