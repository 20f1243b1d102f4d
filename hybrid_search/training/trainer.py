"""Trains with sentence-transformers' trainer, our own batches and checkpoints, and a check for NaN."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.errors import HybridSearchError, TrainingError
from hybrid_search.training import checkpoints
from hybrid_search.training.batches import Batches, batches_of, collator
from hybrid_search.training.callbacks import (
    JOURNAL,
    Journal,
    OnProgress,
    Progress,
    Watcher,
    best_folder,
    callback,
    check_finite,
    resume_hint,
)
from hybrid_search.training.examples import TrainingSet
from hybrid_search.training.losses import loss_of
from hybrid_search.training.models import Base, is_inference_free, quiet_libraries
from hybrid_search.training.pooling import parts
from hybrid_search.training.recipe import Recipe

REPORTS = 200
"""The approximate number of points of the curve."""

WARM_UP = 0.1
# A word's own weight in the vocabulary is one number, and has far to go: times the rate of a new head.
_BIAS_RATE = 10
_DECAY = 0.01


class Fitted(NamedTuple):
    """A finished training.

    Args:
        journal: what happened.
        best: the folder with the best weights, in the layout of sentence-transformers.
        steps: planned steps; `journal.curve` shows fewer if patience ended it.
    """

    journal: Journal
    best: Path
    steps: int


def fit(base: Base, data: TrainingSet, recipe: Recipe, folder: Path, *, on_progress: OnProgress) -> Fitted:
    """Train a base, from the last whole checkpoint in `folder` if there is one.

    Args:
        base: the base; its model is changed.
        data: the data that the recipe's loss reads.
        recipe: everything that decides the outcome.
        folder: the folder of checkpoints and the best weights.
        on_progress: called for every report and evaluation.

    Raises:
        TrainingError: the loss is not finite, there is no room for a checkpoint or not enough memory, or a step failed.
            Checkpoints are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.drop_halves(folder)
    steps = recipe.step_count(len(data.vectors if recipe.loss == "vectors" else data.examples))
    last = checkpoints.last_whole(folder)
    journal = Journal.read(last / JOURNAL) if last else Journal()
    if last is None or not _is_over(journal, last, steps):
        with quiet_libraries():
            _run(base, data, recipe, folder, steps, journal, last, on_progress)
    best = best_folder(folder, journal.best)
    if not checkpoints.is_whole(best):
        raise TrainingError(
            f"The best weights, of step {journal.best}, are missing or damaged in {best}. "
            f"Train again from {folder} without its checkpoints, or into another folder."
        )
    return Fitted(journal, best, steps)


def _run(
    base: Base,
    data: TrainingSet,
    recipe: Recipe,
    folder: Path,
    steps: int,
    journal: Journal,
    last: Path | None,
    tell: OnProgress,
) -> None:
    watcher = Watcher(
        base.model,
        folder,
        data.held_out,
        journal,
        eval_every=recipe.evaluations_every(steps),
        checkpoint_every=recipe.checkpoints_every(steps),
        patience=recipe.patience,
        on_progress=tell,
    )
    loss, schedule = loss_of(base.model, recipe)
    datasets: Any = import_module("datasets")
    count = len(data.vectors if recipe.loss == "vectors" else data.examples)
    routes = _routes(data) if is_inference_free(base.model) else {}
    trainer = _trainer()(
        batches=batches_of(data, recipe, steps * recipe.accumulate),
        checkpoint_folder=folder,
        model=base.model,
        args=_arguments(recipe, folder, steps, routes),
        train_dataset=datasets.Dataset.from_dict({"place": list(range(count))}),
        loss=loss,
        data_collator=collator(base.model, data, recipe, routes),
        callbacks=[schedule, callback(watcher)],
        optimizers=(_optimizer(base, recipe), None),
    )
    for name in ("PrinterCallback", "ProgressCallback"):
        trainer.remove_callback(getattr(import_module("transformers.trainer_callback"), name))
    if last is not None:
        tell(
            Progress("train", checkpoints.step_of(last), steps, note=f"going on from step {checkpoints.step_of(last)}")
        )
    with _faults(folder, trainer, recipe):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))


def _is_over(journal: Journal, last: Path, steps: int) -> bool:
    return journal.stopped or checkpoints.step_of(last) >= steps


def _routes(data: TrainingSet) -> dict[str, str]:
    """Return which side of an inference-free model reads which column."""
    most = max((len(example.negatives) for example in data.examples), default=0)
    documents = ["positive", *(f"negative_{number}" for number in range(1, most + 1))]
    return {"query": "query", **dict.fromkeys(documents, "document")}


def _arguments(recipe: Recipe, folder: Path, steps: int, routes: dict[str, str]) -> Any:
    sentence_transformers: Any = import_module("sentence_transformers")
    arguments = sentence_transformers.SparseEncoderTrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.learning_rate,
        warmup_steps=int(WARM_UP * steps),
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        use_cpu=recipe.device == "cpu",
        seed=recipe.seed,
        logging_steps=max(1, steps // REPORTS),
        logging_nan_inf_filter=False,
        router_mapping=routes,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    # One process trains on one device; several GPUs would each see a part of a batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _optimizer(base: Base, recipe: Recipe) -> Any:
    """Return AdamW, with a rate of its own for what has to be learned from the start."""
    torch: Any = import_module("torch")
    mlm = parts(base.model)[0].auto_model
    body = {id(parameter) for parameter in mlm.base_model.parameters()}
    own = {id(parameter) for parameter in mlm.parameters()}
    bias = mlm.get_output_embeddings().bias
    rate = recipe.learning_rate
    groups: dict[tuple[float, float], list[Any]] = {}
    for parameter in base.model.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) not in own:  # the query side of an inference-free model
            key = (recipe.head_rate, 0.0)
        elif id(parameter) in body or not base.fresh:
            key = (rate, _DECAY if parameter.ndim > 1 else 0.0)
        else:
            key = (recipe.head_rate * (_BIAS_RATE if parameter is bias else 1), 0.0)
        groups.setdefault(key, []).append(parameter)
    listed = [{"params": group, "lr": key[0], "weight_decay": key[1]} for key, group in sorted(groups.items())]
    return torch.optim.AdamW(listed)


@cache
def _trainer() -> Any:
    torch: Any = import_module("torch")
    sentence_transformers: Any = import_module("sentence_transformers")

    class Trainer(sentence_transformers.SparseEncoderTrainer):  # type: ignore[misc]
        def __init__(self, *, batches: Batches, checkpoint_folder: Path, **options: Any) -> None:
            self._our_batches, self._our_folder = batches, checkpoint_folder
            super().__init__(**options)

        def get_batch_sampler(self, *_: Any, **__: Any) -> Any:
            return self._our_batches

        def add_model_card_callback(self, *_: Any) -> None:
            """Add nothing: the model card is ours, and theirs asks the hub."""

        def training_step(self, *arguments: Any, **options: Any) -> Any:
            loss = super().training_step(*arguments, **options)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The loss of step {self.state.global_step + 1} is {float(loss)}, not a number to learn from. "
                    f"{resume_hint(self._our_folder)} Start again, into another folder, with a smaller --learning-rate "
                    f"(now {self.args.learning_rate:g}), with --precision fp32, or with other data."
                )
            return loss

        def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
            check_finite(self.model, self.state.global_step, self._our_folder)
            super()._save_checkpoint(*arguments, **options)

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)

    return Trainer


@contextlib.contextmanager
def _faults(folder: Path, trainer: Any, recipe: Recipe) -> Iterator[None]:
    """Translate errors; remove what is half written, and keep what is whole."""
    try:
        yield
    except HybridSearchError:
        raise
    except Exception as fault:  # torch, safetensors, transformers and the file system share no error type
        checkpoints.drop_halves(folder)
        where, safe = f"after step {trainer.state.global_step}", resume_hint(folder)
        text = (str(fault).strip().splitlines() or [type(fault).__name__])[0].rstrip(" .") + "."
        if isinstance(fault, MemoryError) or "out of memory" in text.lower() or "not enough memory" in text.lower():
            raise TrainingError(
                f"There is not enough memory {where}: {text} {safe} Take a smaller --batch-size (now "
                f"{recipe.batch_size}) with a larger --accumulate (now {recipe.accumulate}), or fewer --max-tokens "
                f"(now {recipe.max_tokens})."
            ) from fault
        if checkpoints.could_not_write(fault):
            raise TrainingError(
                f"The training could not be written to {folder} {where}: {text} {safe} Make room, and go on with "
                "--resume."
            ) from fault
        raise TrainingError(f"The training failed {where}: {type(fault).__name__}: {text} {safe}") from fault
