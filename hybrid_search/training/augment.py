"""Adds hard negatives and teachers' scores to the data, once per training.

Both can take longer than the training, and the collection may change meanwhile. So the results are kept in the
training's folder, and a resumed training reads them from there.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

from hybrid_search._util import atomic_write
from hybrid_search.encoders import hub, load
from hybrid_search.encoders.catalog import CARDS, Kind, card
from hybrid_search.errors import InvalidArgument, ModelError, TrainingError, UnknownModel
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.training import mining, teachers
from hybrid_search.training.callbacks import OnProgress, Progress
from hybrid_search.training.examples import Example, TrainingSet
from hybrid_search.training.recipe import SCORED, Recipe
from hybrid_search.types import ModelCard

EXAMPLES_FILE = "examples.jsonl.gz"

OnDownload = Callable[[str, int, int], None]


def augment(
    out: Path,
    read: TrainingSet,
    recipe: Recipe,
    settings: Settings,
    tell: OnProgress,
    on_download: OnDownload | None,
) -> tuple[TrainingSet, dict[str, int]]:
    """Return the training set with what the recipe adds to it, and how much was added, by kind.

    Raises:
        InvalidArgument: there are teachers, but the loss reads no scores.
        TrainingError: the kept results cannot be read or written.
        HybridSearchError: whatever mining and the teachers raise.
    """
    if recipe.teachers and recipe.loss not in SCORED:
        raise InvalidArgument(
            f"The loss {recipe.loss!r} does not read teachers' scores; take one of {', '.join(SCORED)}, or leave "
            "--teacher out."
        )
    if not recipe.mine_from and not recipe.teachers:
        return read, {}
    file = out / EXAMPLES_FILE
    if file.is_file():
        examples, done = _kept(file)
        return read._replace(examples=examples), done
    examples, done = read.examples, {}
    # Before the mining, which can take long.
    cards = {name: _card(name) for name in recipe.teachers}
    if recipe.mine_from:
        mined = _mined(examples, recipe, settings, tell)
        examples = mined.examples
        done["mined negatives"] = sum(len(evidence.negatives) for evidence in mined.evidence)
        done["left out as likely answers"] = mined.likely_false
    if recipe.teachers:
        models = [_teacher(name, model, examples, settings, on_download) for name, model in cards.items()]
        examples = teachers.score(
            examples, models, on_progress=lambda name, at, total: tell(Progress("teach", at, total, note=name))
        )
        done["teachers"] = len(models)
    _keep(file, examples, done)
    return read._replace(examples=examples), done


def _mined(
    examples: tuple[Example, ...],
    recipe: Recipe,
    settings: Settings,
    tell: OnProgress,
) -> mining.Mined:
    with Searcher.open(cast(str, recipe.mine_from), settings=settings, refresh=False) as searcher:
        return mining.mine(
            examples,
            searcher,
            depth=recipe.mine_depth,
            negatives=recipe.mine_negatives,
            margin=recipe.mine_margin,
            seed=recipe.seed,
            on_progress=lambda done, total: tell(Progress("mine", done, total)),
        )


def _teacher(
    name: str, model: ModelCard, examples: tuple[Example, ...], settings: Settings, on_download: OnDownload | None
) -> teachers.Teacher:
    if model.runtime == "engine":
        texts = dict.fromkeys(text for example in examples for text in (example.positive, *example.negatives))
        return teachers.Teacher(Bm25Encoder(model).fitted(list(texts)), name=name)
    if model.source and not hub.is_here(model, settings.cache_dir):
        on_progress = None if on_download is None else lambda done, total: on_download(model.name, done, total)
        hub.ensure(model, settings.cache_dir, on_progress=on_progress)
    encoder = load(model, cache_dir=settings.cache_dir, threads=settings.threads, device=settings.device)
    return teachers.Teacher(encoder, name=name)


def _card(name: str) -> ModelCard:
    """Return the card of a teacher, of whichever kind the catalogue or the folder says it is."""
    for found in CARDS:
        if found.name.lower() == name.lower():
            return found
    if not Path(name).expanduser().is_dir():
        raise UnknownModel(name, [found.name for found in CARDS if found.kind == "reranker"], "teacher")
    kinds: tuple[Kind, ...] = ("reranker", "dense", "sparse")
    faults = []
    for kind in kinds:
        try:
            return card(name, kind)
        except ModelError as fault:
            faults.append(str(fault))
    raise ModelError(f"{name} cannot be a teacher: {faults[-1]}")


def _keep(file: Path, examples: tuple[Example, ...], done: dict[str, int]) -> None:
    lines = [json.dumps(done), *(json.dumps(example._asdict()) for example in examples)]
    try:
        atomic_write(file, gzip.compress("\n".join(lines).encode(), mtime=0))
    except OSError as fault:
        raise TrainingError(f"{file} cannot be written: {fault}. Make room, and go on with --resume.") from fault


def _kept(file: Path) -> tuple[tuple[Example, ...], dict[str, int]]:
    try:
        done, *rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]
        return tuple(_example(**row) for row in rows), done
    except (OSError, EOFError, ValueError, TypeError) as fault:
        raise TrainingError(
            f"{file} is damaged: {fault}. Remove it, and --resume works its content out again."
        ) from fault


def _example(**fields: object) -> Example:
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Example(**listed)  # type: ignore[arg-type]
