"""Measures what a precision costs: the same model over the same judged queries, in fp32 and in the other precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.collection.profiles import NO_LEG
from hybrid_search.encoders import precision_of
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.evaluation.job import Watch
from hybrid_search.manifest import Precision
from hybrid_search.settings import Settings
from hybrid_search.types import ModelCard

MEASURE = "nDCG@10"


class Cost(NamedTuple):
    """One dataset: the mean of the measure over its queries, in fp32 and in the other precision."""

    dataset: str
    queries: int
    fp32: float
    other: float

    @property
    def loss(self) -> float:
        """The loss of the other precision; negative if it is better."""
        return self.fp32 - self.other


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `compare`."""

    model: str
    precision: Precision
    costs: tuple[Cost, ...]

    @property
    def mean_loss(self) -> float:
        """The mean loss over the datasets, each counted once."""
        return sum(cost.loss for cost in self.costs) / len(self.costs)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `models verify --precision --format json` prints."""
        results = [
            {
                "dataset": cost.dataset,
                "queries": cost.queries,
                "fp32": cost.fp32,
                self.precision: cost.other,
                "loss": round(cost.loss, 4),
            }
            for cost in self.costs
        ]
        return {
            "model": self.model,
            "precision": self.precision,
            "measure": MEASURE,
            "results": results,
            "mean_loss": round(self.mean_loss, 4),
        }


def compare(
    model: ModelCard,
    precision: Precision,
    datasets: Sequence[str | Path],
    settings: Settings,
    watch: Watch | None = None,
) -> Comparison:
    """Search every dataset with a model in fp32 and in another precision.

    The collections are built in the cache folder and found there again.

    Args:
        model: a sparse or a dense model.
        precision: a precision other than fp32.
        datasets: BEIR folders.
        settings: name the cache folder.
        watch: callbacks of the index jobs.

    Raises:
        InvalidArgument: the model runs in one precision only, or there is no dataset.
        ModelError: the model cannot run in this precision here.
        EvaluationError: a folder is not a dataset.
    """
    if model.kind not in ("sparse", "dense") or precision_of(model, precision) != precision or precision == "fp32":
        raise InvalidArgument(
            f"{model.name} ({model.kind}, runtime {model.runtime}) cannot be compared in {precision} and fp32: only "
            "sparse and dense ONNX models have a choice; others are run as their files are."
        )
    if not datasets:
        raise InvalidArgument("There is no dataset to compare on. Name one: --dataset FOLDER")
    sparse, dense = (model.name if model.kind == kind else NO_LEG for kind in ("sparse", "dense"))
    both: tuple[Precision, Precision] = ("fp32", precision)
    costs = []
    for dataset in datasets:
        reports = [
            evaluate(
                dataset,
                settings=settings,
                sparse=sparse,
                dense=dense,
                precision=each,
                modes=[model.kind],
                measures=[MEASURE],
                watch=watch,
            )
            for each in both
        ]
        fp32, other = (report.results[0].measures[MEASURE] for report in reports)
        costs.append(Cost(reports[0].dataset, reports[0].queries, fp32, other))
    return Comparison(model.name, precision, tuple(costs))
