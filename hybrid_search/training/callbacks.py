"""Watches a training: its losses, its quality on held-out queries, and which weights were the best."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hybrid_search._util import atomic_write
from hybrid_search.errors import TrainingError
from hybrid_search.training import checkpoints
from hybrid_search.training.evaluation import Evaluation, encoding, judge
from hybrid_search.training.examples import HeldOut

JOURNAL = "journal.json"
_BEST = "best-"

Stage = Literal["data", "mine", "teach", "base", "train", "judge", "export"]


class Progress(NamedTuple):
    """How far a training is.

    Args:
        stage: the current step: reading, mining, scoring, loading the base, training, judging the held-out queries,
            exporting.
        done: how many of `total` queries, texts, or optimiser steps are done.
        total: 0 if unknown.
        loss: the mean since the last report, if there is one.
        evaluation: the evaluation just made, if there is one.
        note: more to show: the teacher that scores, or the step a resumed training continues from.
    """

    stage: Stage
    done: int = 0
    total: int = 0
    loss: float | None = None
    evaluation: Evaluation | None = None
    note: str = ""


OnProgress = Callable[[Progress], None]


class Journal:
    """What has happened so far; stored in every checkpoint.

    Attributes:
        evaluations: in the order of their steps, the base's first.
        curve: the numbers of each report of the losses, including `step`.
        best: the evaluated step with the highest nDCG@10 after the first step, the earliest of equals; -1 for none.
        waited: evaluations since then.
        stopped: whether patience ended the training.
        seconds: time spent on training and evaluating, over all runs.
    """

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self.curve: list[dict[str, float]] = []
        self.best = -1
        self.waited = 0
        self.stopped = False
        self.seconds = 0.0

    def add(self, evaluation: Evaluation) -> bool:
        """Add an evaluation; return whether it is the best of a trained model so far."""
        before = [one.ndcg for one in self.evaluations if one.step > 0]
        self.evaluations.append(evaluation)
        if evaluation.step == 0:
            return False
        better = not before or evaluation.ndcg > max(before)
        self.best = evaluation.step if better else self.best
        self.waited = 0 if better else self.waited + 1
        return better

    def write(self, file: Path) -> None:
        """Write the journal as JSON. Raises OSError if that fails."""
        content = {**vars(self), "evaluations": [one._asdict() for one in self.evaluations]}
        atomic_write(file, json.dumps(content).encode())

    @classmethod
    def read(cls, file: Path) -> Journal:
        """Read a journal. Raises OSError or ValueError if it cannot be read."""
        content: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
        journal = cls()
        vars(journal).update(content)
        journal.evaluations = [Evaluation(**one) for one in content["evaluations"]]
        return journal


class Watcher:
    """Evaluates, keeps the best weights, and decides when to write a checkpoint and when to stop.

    Args:
        model: the model in training.
        folder: the folder of the checkpoints; the best weights lie beside them, as `best-STEP`.
        held_out: the queries to judge; if there are none, the last weights are the best.
        journal: the training so far.
        eval_every: steps between evaluations.
        checkpoint_every: steps between checkpoints.
        patience: evaluations without a better one after which training stops; 0 for never.
        on_progress: called for every report of a step and every evaluation.
    """

    def __init__(
        self,
        model: Any,
        folder: Path,
        held_out: HeldOut,
        journal: Journal,
        *,
        eval_every: int,
        checkpoint_every: int,
        patience: int,
        on_progress: OnProgress,
    ) -> None:
        self.journal, self.folder = journal, folder
        self._model, self._held_out, self._tell = model, held_out, on_progress
        self._eval_every, self._checkpoint_every, self._patience = eval_every, checkpoint_every, patience
        self._since = time.monotonic()

    def begin(self, total: int) -> None:
        """Judge the base before the first step, unless that was done."""
        self._since = time.monotonic()
        if not self.journal.evaluations and self._held_out.queries:
            self._evaluate(0, total)

    def step(self, step: int, total: int) -> tuple[bool, bool]:
        """Return after each step whether a checkpoint is due, and whether training ends before its last step.

        Raises:
            TrainingError: an evaluation is due, and the model has weights that are not finite.
        """
        last = step >= total
        if last or step % self._eval_every == 0:
            check_finite(self._model, step, self.folder)
            if not self._held_out.queries:
                if last:
                    self.journal.best = step
                    self._keep(step)
            elif self._evaluate(step, total):
                self._keep(step)
            self.journal.stopped = not last and 0 < self._patience <= self.journal.waited
        return last or self.journal.stopped or step % self._checkpoint_every == 0, self.journal.stopped

    def report(self, step: int, total: int, numbers: Mapping[str, float]) -> None:
        """Record the losses since the last report."""
        self.journal.curve.append({"step": step, **numbers})
        self._tell(Progress("train", step, total, loss=numbers.get("loss")))

    def finish_checkpoint(self, checkpoint: Path) -> None:
        """Complete a written checkpoint: add the journal, seal it, and remove what it replaces."""
        self.journal.seconds += time.monotonic() - self._since
        self._since = time.monotonic()
        self.journal.write(checkpoint / JOURNAL)
        checkpoints.seal(checkpoint)
        checkpoints.prune(self.folder)
        forget_others(self.folder)

    def _evaluate(self, step: int, total: int) -> bool:
        self._tell(Progress("judge"))
        evaluation = judge(encoding(self._model, "query"), encoding(self._model, "document"), self._held_out, step)
        self._model.train()
        better = self.journal.add(evaluation)
        self._tell(Progress("train", step, total, evaluation=evaluation))
        return better

    def _keep(self, step: int) -> None:
        with checkpoints.replacing(best_folder(self.folder, step)) as new:
            self._model.save_pretrained(str(new), create_model_card=False)
            checkpoints.seal(new)


def check_finite(model: Any, step: int, folder: Path) -> None:
    """Refuse to judge or keep a model with weights that are NaN or infinite.

    Raises:
        TrainingError: it has such weights.
    """
    torch: Any = import_module("torch")
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        raise TrainingError(
            f"After step {step} the model has weights that are not finite, and is not kept. {resume_hint(folder)} "
            "Start again, into another folder, with a smaller --learning-rate."
        )


def resume_hint(folder: Path) -> str:
    """Say in words which checkpoint a training can continue from."""
    last = checkpoints.last_whole(folder)
    return f"The last checkpoint is {last}." if last else "There is no checkpoint yet."


def best_folder(folder: Path, step: int) -> Path:
    """Return where the weights of the best step lie."""
    return folder / f"{_BEST}{step}"


def forget_others(folder: Path) -> None:
    """Remove the weights of every best step that no checkpoint refers to any more."""
    referenced = {best_folder(folder, Journal.read(path / JOURNAL).best) for path in checkpoints.all_in(folder)}
    for path in folder.glob(f"{_BEST}*"):
        if path not in referenced:
            checkpoints.remove(path)


def callback(watcher: Watcher) -> Any:
    """Return the watcher as a callback of the Trainer of transformers."""
    return _callback()(watcher)


@cache
def _callback() -> Any:
    transformers: Any = import_module("transformers")

    class Callback(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self, watcher: Watcher) -> None:
            self._watcher = watcher

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._watcher.begin(state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            save, stop = self._watcher.step(state.global_step, state.max_steps)
            # Losses are averaged between reports, so a report at each checkpoint makes a resumed curve the same.
            control.should_save, control.should_log = save, control.should_log or save
            control.should_training_stop = control.should_training_stop or stop

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                numbers = {name: float(value) for name, value in logs.items() if name not in ("epoch", "step")}
                self._watcher.report(state.global_step, state.max_steps, numbers)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._watcher.finish_checkpoint(self._watcher.folder / f"checkpoint-{state.global_step}")

    return Callback
