"""Runs a whole training: sources -> data -> model -> folders and report; and resumes one after a kill.

A training's folder holds `training.json` (what was requested), `examples.jsonl.gz` (mined negatives and teachers'
scores), `checkpoints/`, and at the end `model/`, `int8/`, `torch/`, `report.html`, `report.json` and `README.md`.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from hybrid_search._util import atomic_write, utc_now
from hybrid_search.errors import HybridSearchError, InvalidArgument, TrainingError
from hybrid_search.settings import Settings
from hybrid_search.training import augment, checkpoints, data
from hybrid_search.training.callbacks import OnProgress, Progress, forget_others
from hybrid_search.training.card import model_card
from hybrid_search.training.examples import TrainingSet, draw
from hybrid_search.training.export import FULL_FOLDER, INT8_FOLDER, Exported, export
from hybrid_search.training.losses import check_data
from hybrid_search.training.models import Base, check_extra, load_base, vocabulary, without_inference
from hybrid_search.training.recipe import Recipe, differences
from hybrid_search.training.report import Report, environment
from hybrid_search.training.trainer import Fitted, fit
from hybrid_search.types import Failure

TRAINING_FILE, CHECKPOINTS = "training.json", "checkpoints"
# Texts that a new head is fitted to and word frequencies are counted in, at most.
_TEXTS = 20_000

OnFailure = Callable[[Failure], None]
OnDownload = Callable[[str, int, int], None]


class _Begun(NamedTuple):
    """The content of `training.json`: how a training was begun, and on what.

    Args:
        sources: absolute paths of the sources.
        recipe: the settings of the first run.
        hashes: absolute path -> hash of each data file.
        weights: a hash of the base's weights; empty until it is loaded.
    """

    sources: tuple[str, ...]
    recipe: Recipe
    hashes: Mapping[str, str]
    weights: str = ""

    def write(self, out: Path) -> None:
        content = {"schema": 1, **self._asdict(), "recipe": self.recipe.to_dict()}
        atomic_write(out / TRAINING_FILE, json.dumps(content, indent=1).encode("utf-8", "surrogatepass"))

    @classmethod
    def read(cls, out: Path) -> _Begun:
        try:
            content = json.loads((out / TRAINING_FILE).read_text("utf-8"))
            recipe = Recipe.from_dict(content["recipe"])
            return cls(tuple(content["sources"]), recipe, content["hashes"], content["weights"])
        except FileNotFoundError:
            raise TrainingError(
                f"{out} holds no training that could go on ({TRAINING_FILE} is missing). Begin one without --resume."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise TrainingError(
                f"{out / TRAINING_FILE} cannot be read: {fault}. Begin again in another folder."
            ) from fault


def train(
    sources: Sequence[str | Path],
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    settings: Settings,
    on_progress: OnProgress | None = None,
    on_failure: OnFailure | None = None,
    on_download: OnDownload | None = None,
) -> Report:
    """Train a sparse model on the user's data, and leave folders that `--sparse` takes.

    Args:
        sources: as in `data.read`.
        out: an empty or missing folder. It is so again after a failure before the first checkpoint, unless
            the disk was full.
        recipe: the settings; the defaults if not given.
        settings: name the store to mine from, the model cache and the threads.
        on_progress: called for every step of the work and every evaluation.
        on_failure: gets each row that was left out, with `recipe.skip_bad_rows`.
        on_download: called with (model, bytes done, total bytes) while a model is downloaded.

    Raises:
        MissingExtra: the extra `train` is not installed; raised before anything is read.
        InvalidArgument: a setting is invalid.
        CorpusError: the sources cannot be read.
        TrainingError: the folder is in use, the data lacks what the loss reads, or the training or its export failed.
        ModelError: the base or a teacher cannot be used.
        StoreError: the collection to mine from cannot be read.
    """
    check_extra()
    recipe, out = recipe or Recipe(), Path(out)
    recipe.check()
    _check_device(recipe)
    if (out / TRAINING_FILE).exists():
        raise TrainingError(
            f"{out} already holds a training. Go on with it: hybrid-search train --out {out} --resume; or name another "
            "folder."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is there and is no empty folder. Name another one for the training.")
    asked = _Options(settings, on_progress or (lambda _: None), on_failure or (lambda _: None), on_download)
    read = asked.read([str(source) for source in sources], recipe)
    begun = _Begun(tuple(str(Path(source).resolve()) for source in sources), recipe, _by_path(read.hashes))
    try:
        out.mkdir(parents=True, exist_ok=True)
        begun.write(out)
    except OSError as fault:
        raise TrainingError(f"{out} cannot be written: {fault}.") from fault
    try:
        return _go(out, begun, read, asked)
    except HybridSearchError as fault:
        if not (isinstance(fault.__cause__, Exception) and checkpoints.could_not_write(fault.__cause__)):
            _withdraw(out)
        raise


def resume(
    out: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    sources: Sequence[str | Path] = (),
    settings: Settings,
    on_progress: OnProgress | None = None,
    on_failure: OnFailure | None = None,
    on_download: OnDownload | None = None,
) -> Report:
    """Resume a training from its last whole checkpoint, to the result it would have had.

    Args:
        out: the folder of the training.
        given: requested settings, by the recipe's names; each must equal the one it was begun with.
        sources: none, or those it was begun with.
        settings: as for `train`.
        on_progress: as for `train`.
        on_failure: as for `train`.
        on_download: as for `train`.

    Raises:
        TrainingError: there is no training, or its settings, sources or data differ from those it was begun with.
        HybridSearchError: whatever `train` raises.
    """
    check_extra()
    out = Path(out)
    begun = _Begun.read(out)
    changes = differences(begun.recipe, given or {})
    absolute = tuple(str(Path(source).resolve()) for source in sources)
    if absolute and absolute != begun.sources:
        changes.append(f"the sources are {', '.join(absolute)}, were {', '.join(begun.sources)}")
    if changes:
        raise TrainingError(
            f"The training in {out} was begun otherwise: {'; '.join(changes)}. Leave these options out to go on with "
            "it, or train anew into another folder."
        )
    begun = begun._replace(recipe=begun.recipe.with_given(given or {}))
    begun.recipe.check()
    _check_device(begun.recipe)
    asked = _Options(settings, on_progress or (lambda _: None), on_failure or (lambda _: None), on_download)
    read = asked.read(begun.sources, begun.recipe)
    if changed := _changed(begun.hashes, _by_path(read.hashes)):
        raise TrainingError(
            f"The data of the training in {out} has changed since it was begun: {', '.join(changed)}. Bring it back, "
            "or train anew into another folder."
        )
    return _go(out, begun, read, asked)


class _Options(NamedTuple):
    """What the caller passed besides recipe and sources."""

    settings: Settings
    tell: OnProgress
    failed: OnFailure
    download: OnDownload | None

    def read(self, sources: Sequence[str], recipe: Recipe) -> TrainingSet:
        self.tell(Progress("data"))
        return data.read(
            sources,
            held_out=recipe.held_out,
            seed=recipe.seed,
            vocabulary=vocabulary(recipe.base) if recipe.loss == "vectors" else None,
            on_failure=self.failed if recipe.skip_bad_rows else None,
        )


def _go(out: Path, begun: _Begun, read: TrainingSet, asked: _Options) -> Report:
    lock = FileLock(out / ".lock", timeout=0)
    try:
        with lock:
            return _run(out, begun, read, asked)
    except Timeout:
        raise TrainingError(f"Another process is training into {out}. Wait for it, or name another folder.") from None


def _withdraw(out: Path) -> None:
    """Remove a training that failed before its first checkpoint, so that its folder is free again."""
    left = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if left <= {TRAINING_FILE, CHECKPOINTS, ".lock"} and checkpoints.last_whole(out / CHECKPOINTS) is None:
        shutil.rmtree(out, ignore_errors=True)


def _run(out: Path, begun: _Begun, read: TrainingSet, asked: _Options) -> Report:
    recipe = begun.recipe
    if asked.settings.threads is not None:
        torch: Any = import_module("torch")
        torch.set_num_threads(asked.settings.threads)
    prepared, done = augment.augment(out, read, recipe, asked.settings, asked.tell, asked.download)
    check_data(prepared, recipe, len(vocabulary(recipe.base)) if recipe.loss == "vectors" else 0)
    texts = _texts(prepared, recipe)
    asked.tell(Progress("base"))
    base = load_base(recipe.base, texts, max_tokens=recipe.max_tokens, device=recipe.device)
    if recipe.inference_free:
        base = without_inference(base, texts)
    device, weights = str(base.model.device), _weights_hash(base.model)
    _same_base(out, begun, base, weights)
    fitted = fit(base, prepared, recipe, out / CHECKPOINTS, on_progress=asked.tell)
    asked.tell(Progress("export"))
    exported = _export(out, recipe, fitted, prepared, texts, base.licence)
    report = Report(
        out=str(out),
        command=command_of(begun.sources, out, recipe),
        recipe=recipe,
        data={**_counts(prepared, recipe), **done},
        hashes=dict(read.hashes),
        base=_about(recipe, base, weights),
        environment=environment(device),
        steps=fitted.steps,
        made=_made(fitted, out),
        seconds=fitted.journal.seconds,
        evaluations=tuple(fitted.journal.evaluations),
        curve=tuple(fitted.journal.curve),
        best=fitted.journal.best,
        exported=exported,
        created=utc_now(),
    )
    _write_report(out, report)
    checkpoints.prune(out / CHECKPOINTS, keep=1)
    forget_others(out / CHECKPOINTS)
    return report


def _export(
    out: Path, recipe: Recipe, fitted: Fitted, prepared: TrainingSet, texts: Sequence[str], licence: str
) -> Exported:
    """Export the best weights, checked on held-out queries and documents if there are any, else on training texts."""
    best = load_base(str(fitted.best), (), max_tokens=recipe.max_tokens, device="cpu")
    held_out = prepared.held_out
    samples = [*held_out.documents.values(), *texts] if held_out.queries else texts
    samples = [*list(held_out.queries.values())[:8], *samples]
    return export(best.model, out, samples, held_out, step=fitted.journal.best, licence=licence)


def _write_report(out: Path, report: Report) -> None:
    """Write the report, and the model card into each folder that `--sparse` may name.

    Raises:
        TrainingError: a file cannot be written.
    """
    try:
        report.write()
        for folder in (out, out / FULL_FOLDER, out / INT8_FOLDER):
            atomic_write(folder / "README.md", model_card(report).encode("utf-8", "replace"))
    except OSError as fault:
        raise TrainingError(
            f"The report could not be written to {out}: {fault}. Make room, and use --resume."
        ) from fault


def command_of(sources: Sequence[str], out: Path, recipe: Recipe) -> str:
    """Return the command line of a training: what differs from the defaults, in the order of the recipe.

    >>> command_of(["films"], Path("out"), Recipe(loss="kl", teachers=("a", "b"), inference_free=True))
    'hybrid-search train films --out out --loss kl --inference-free --teacher a --teacher b'
    """
    plain = Recipe().to_dict()
    words = ["hybrid-search", "train", *(shlex.quote(source) for source in sources), "--out", shlex.quote(str(out))]
    for name, value in recipe.to_dict().items():
        option = "--" + name.replace("_", "-")
        if value == plain[name]:
            continue
        if name == "teachers":
            words += [word for teacher in value for word in ("--teacher", shlex.quote(teacher))]
        elif isinstance(value, bool):
            words.append(option if value else f"--no-{name}")
        else:
            words += [option, shlex.quote(str(value))]
    return " ".join(words)


def _check_device(recipe: Recipe) -> None:
    cuda = bool(import_module("torch").cuda.is_available())
    if recipe.device == "cuda" and not cuda:
        raise TrainingError("device is cuda, and torch finds no GPU here. Take --device auto or cpu.")
    if recipe.precision == "fp16" and (recipe.device == "cpu" or not cuda):
        raise InvalidArgument("precision is fp16, which needs a GPU. Take fp32, or bf16.")


def _same_base(out: Path, begun: _Begun, base: Base, weights: str) -> None:
    """Record the base's weights, or compare them. A head that was fitted here may differ in its last digits."""
    if begun.weights and begun.weights != weights and not base.fresh:
        raise TrainingError(
            f"The base {begun.recipe.base} has changed since the training in {out} was begun. Bring it back, or train "
            "anew into another folder."
        )
    if not begun.weights:
        try:
            begun._replace(weights=weights).write(out)
        except OSError as fault:
            raise TrainingError(f"{out} cannot be written: {fault}. Make room, and go on with --resume.") from fault


def _texts(prepared: TrainingSet, recipe: Recipe) -> list[str]:
    """Return distinct texts of the kind that the model will read, in an order drawn by the seed."""
    found = [text for example in prepared.examples for text in (example.positive, *example.negatives)]
    distinct = list(dict.fromkeys([*found, *(text for text, _ in prepared.vectors)]))
    return sorted(distinct, key=lambda text: draw(recipe.seed, "text", text))[:_TEXTS]


def _counts(prepared: TrainingSet, recipe: Recipe) -> dict[str, int]:
    examples = prepared.examples
    counts = {"examples": len(examples), "queries": len({example.query for example in examples})}
    counts["negatives"] = sum(len(example.negatives) for example in examples)
    if recipe.loss == "vectors":
        counts = {"given vectors": len(prepared.vectors)}
    return {
        **counts,
        "held-out queries": len(prepared.held_out.queries),
        "held-out documents": len(prepared.held_out.documents),
    }


def _about(recipe: Recipe, base: Base, weights: str) -> dict[str, str]:
    head = "fitted to the training texts" if base.fresh else "its own"
    return {"name": recipe.base, "licence": base.licence, "head": head, "weights": weights}


def _weights_hash(model: Any) -> str:
    """Return a hash of every weight before the first step, by name."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _made(fitted: Fitted, out: Path) -> int:
    last = checkpoints.last_whole(out / CHECKPOINTS)
    return checkpoints.step_of(last) if last else fitted.journal.best


def _by_path(hashes: Mapping[str, str]) -> dict[str, str]:
    return {str(Path(name).resolve()): digest for name, digest in hashes.items()}


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


__all__ = ["command_of", "resume", "train"]
