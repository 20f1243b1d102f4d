"""`hybrid-search train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import SOME_FAILED, global_options
from hybrid_search.cli.console import err, note, out
from hybrid_search.cli.options import choice
from hybrid_search.cli.streams import print_json
from hybrid_search.cli.train_view import left_out, summary, training_display
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.types import Failure

_DATA, _LOSS, _STEPS = "Data", "Loss", "Steps and machine"
_Float: TypeAlias = float | None
_Int: TypeAlias = int | None
_Text: TypeAlias = str | None


def _option(help: str, panel: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)


def train(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE...", help="BEIR folders, JSONL or CSV files.")
    ] = None,
    out_folder: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The folder for the model and its report: a new one, or that of the training to resume.",
        ),
    ] = ...,  # type: ignore[assignment]
    resume: Annotated[bool, typer.Option("--resume", help="Resume the training in --out.")] = False,
    base: Annotated[
        _Text, _option("The model to begin with: a folder or hub name.  [all-MiniLM-L6-v2]", _LOSS, "MODEL")
    ] = None,
    loss: Annotated[
        _Text, _option("The loss to minimise.  [contrastive]", _LOSS, "contrastive|margin-mse|kl|vectors")
    ] = None,
    regularizer: Annotated[
        _Text, _option("The regularizer, which keeps vectors sparse.  [flops]", _LOSS, "flops|l1")
    ] = None,
    query_weight: Annotated[_Float, _option("Weight of the regularizer on queries.", _LOSS)] = None,
    document_weight: Annotated[_Float, _option("Weight of the regularizer on documents.", _LOSS)] = None,
    warmup_fraction: Annotated[
        _Float, _option("Fraction of the steps in which both weights grow.  [0.33]", _LOSS)
    ] = None,
    inference_free: Annotated[
        bool | None, _option("Encode queries by a table, without a model.", _LOSS, None, "--inference-free")
    ] = None,
    mine_from: Annotated[_Text, _option("Mine hard negatives from this collection.", _DATA, "NAME")] = None,
    mine_depth: Annotated[_Int, _option("Ranks to mine from.  [100]", _DATA)] = None,
    mine_negatives: Annotated[_Int, _option("Negatives for each example, at most.  [4]", _DATA)] = None,
    mine_margin: Annotated[_Float, _option("How far below the answer a negative must score.  [0.05]", _DATA)] = None,
    teacher: Annotated[
        list[str] | None, _option("A model that scores the examples; may be repeated.", _DATA, "MODEL")
    ] = None,
    skip_bad_rows: Annotated[
        bool | None, _option("Leave out rows that cannot be used.", _DATA, None, "--skip-bad-rows")
    ] = None,
    held_out: Annotated[
        _Text, _option("What to keep back for evaluation; 0 for nothing.  [0.2]", _DATA, "PART|COUNT|DIR")
    ] = None,
    epochs: Annotated[_Float, _option("Passes over the data.  [4]", _STEPS)] = None,
    steps: Annotated[_Int, _option("Optimizer steps, instead of --epochs.", _STEPS)] = None,
    batch_size: Annotated[_Int, _option("Examples in a forward pass.  [16]", _STEPS)] = None,
    accumulate: Annotated[_Int, _option("Forward passes for each step.  [1]", _STEPS)] = None,
    learning_rate: Annotated[_Float, _option("Learning rate of the transformer.  [2e-5]", _STEPS)] = None,
    head_learning_rate: Annotated[_Float, _option("Learning rate of a new head.  [50 times that]", _STEPS)] = None,
    precision: Annotated[_Text, _option("The number format to train in.  [fp32]", _STEPS, "fp32|bf16|fp16")] = None,
    device: Annotated[_Text, _option("The device to train on.  [auto]", _STEPS, "auto|cpu|cuda")] = None,
    eval_every: Annotated[_Int, _option("Steps between evaluations.  [a fifth of all]", _STEPS)] = None,
    patience: Annotated[_Int, _option("Stop after so many evaluations without a better one.  [3]", _STEPS)] = None,
    checkpoint_every: Annotated[_Int, _option("Steps between checkpoints.  [as --eval-every]", _STEPS)] = None,
    seed: Annotated[_Int, _option("Seed of the random number generators.  [0]", _STEPS)] = None,
    max_tokens: Annotated[_Int, _option("Tokens to read of a text.  [256]", _STEPS)] = None,
    progress: options.Progress = "auto",
    format: options.Format = "table",
) -> None:
    """Train a learned sparse model on your own queries and texts; DIR then goes to --sparse.

    Example: `hybrid-search train datasets/movies --out films-model`
    """
    from hybrid_search.training import train as training
    from hybrid_search.training.recipe import Recipe

    choice(format, ("table", "json"), "--format")
    values = {name: value for name, value in locals().items() if name in Recipe.__dataclass_fields__}
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.update({"teachers": tuple(teacher)} if teacher else {})
    chosen.update({"held_out": _held_out(held_out)} if held_out is not None else {})
    settings = global_options.settings()
    failures: list[Failure] = []
    with training_display(progress) as (tell, fetch), _resumable(out_folder):
        watch: dict[str, Any] = {"on_progress": tell, "on_download": fetch, "on_failure": failures.append}
        if resume:
            report = training.resume(out_folder, given=chosen, sources=sources or (), settings=settings, **watch)
        else:
            recipe = Recipe().with_given(chosen)
            report = training.train(_named(sources), out_folder, recipe, settings=settings, **watch)
    if format == "json":
        print_json(report.to_dict())
    else:
        out.print(summary(report), soft_wrap=True)
    if failures:
        err.print(left_out(failures), soft_wrap=True)
        raise typer.Exit(SOME_FAILED)


def _named(sources: list[str] | None) -> list[str]:
    if not sources:
        raise InvalidArgument("Name what to train on: BEIR folders or files; or go on with a training: --resume.")
    return sources


def _held_out(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Tell, where a training is interrupted, how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "training.json").is_file():
            note(f"Go on with it: hybrid-search train --out {folder} --resume")
        raise
