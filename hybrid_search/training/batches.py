"""Forms batches of examples, and the columns that the model gets of them.

The order is one endless stream drawn from the seed, cut after the number of batches of the training. So a training that
is resumed after a kill sees the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from hybrid_search.training.examples import Example, TrainingSet, normalize
from hybrid_search.training.pooling import dimensions
from hybrid_search.training.recipe import SCORED, Recipe


class Batches:
    """The positions of each batch's examples, usable as a batch sampler of torch's DataLoader.

    Batches are full, and all their examples have the same number of negatives. With `contrast`, every text of a batch
    is a negative for every other query in it, so no text in the batch is a known answer to another query. If too few
    examples fit together, a batch is smaller.

    Args:
        examples: the examples to draw from.
        size: examples of a batch.
        count: number of batches.
        seed: seed of their order.
        contrast: keep known answers of other queries out.
    """

    def __init__(self, examples: Sequence[Example], size: int, count: int, seed: int, *, contrast: bool) -> None:
        self._size, self._count, self._seed, self._contrast = size, count, seed, contrast
        self._groups = [len(example.negatives) for example in examples]
        numbers: dict[str, int] = {}
        answers: dict[str, set[int]] = {}
        self._queries: list[str] = []
        self._texts: list[frozenset[int]] = []
        for example in examples if contrast else ():
            texts = [
                numbers.setdefault(normalize(text), len(numbers)) for text in (example.positive, *example.negatives)
            ]
            self._queries.append(normalize(example.query))
            self._texts.append(frozenset(texts))
            answers.setdefault(self._queries[-1], set()).add(texts[0])
        self._answers = answers

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        for number, batch in enumerate(self._stream()):
            if number == self._count:
                return
            yield batch

    def _stream(self) -> Iterator[list[int]]:
        """Yield batches without end. An example that does not fit the open batch of its group waits for the next."""
        sizes = {group: self._groups.count(group) for group in sorted(set(self._groups))}
        waiting: dict[int, list[int]] = {group: [] for group in sizes}
        open_: dict[int, _Open] = {group: _Open() for group in sizes}
        passes = 0
        while True:
            given = dict.fromkeys(sizes, False)
            for place in np.random.default_rng((self._seed, passes)).permutation(len(self._groups)).tolist():
                group = self._groups[place]
                self._add(open_[group], place, waiting[group])
                while len(open_[group].places) == self._size:
                    yield open_[group].places
                    given[group] = True
                    open_[group] = self._next(waiting[group])
            for group, size in sizes.items():
                if not given[group] and open_[group].places:
                    yield open_[group].places
                    open_[group] = self._next(waiting[group])
                # The next pass brings them all again.
                del waiting[group][size:]
            passes += 1

    def _next(self, waiting: list[int]) -> _Open:
        """Return a new batch with the waiting examples that fit; the others keep waiting."""
        batch, before = _Open(), list(waiting)
        waiting.clear()
        for at, place in enumerate(before):
            if len(batch.places) == self._size:
                waiting.extend(before[at:])
                break
            self._add(batch, place, waiting)
        return batch

    def _add(self, batch: _Open, place: int, waiting: list[int]) -> None:
        if not self._contrast:
            batch.places.append(place)
            return
        query, texts = self._queries[place], self._texts[place]
        answers = self._answers[query]
        if query in batch.queries or not texts.isdisjoint(batch.answers) or not answers.isdisjoint(batch.texts):
            waiting.append(place)
            return
        batch.places.append(place)
        batch.queries.add(query)
        batch.texts |= texts
        batch.answers |= answers


class _Open:
    """A batch under construction: its examples, their queries, all their texts, and all answers to those queries."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self.queries: set[str] = set()
        self.texts: set[int] = set()
        self.answers: set[int] = set()


def batches_of(data: TrainingSet, recipe: Recipe, count: int) -> Batches:
    """Return the batches of a training: `count` batches of examples, or of given vectors if the loss reads those."""
    if recipe.loss == "vectors":
        texts = [Example(text, text) for text, _ in data.vectors]
        return Batches(texts, recipe.batch_size, count, recipe.seed, contrast=False)
    contrast = recipe.loss == "contrastive"
    return Batches(data.examples, recipe.batch_size, count, recipe.seed, contrast=contrast)


def collator(model: Any, data: TrainingSet, recipe: Recipe, routes: Mapping[str, str]) -> Any:
    """Return the collator that turns a batch of positions into the columns that sentence-transformers' losses read.

    Columns: query, positive, negative_1 ..., and the scores as label; or text, and the dense target as label.
    """
    return _collator()(model, data, recipe, routes)


@cache
def _collator() -> Any:
    torch: Any = import_module("torch")
    theirs: Any = import_module("sentence_transformers.sparse_encoder.data_collator")

    class Collator(theirs.SparseEncoderDataCollator):  # type: ignore[misc]
        def __init__(self, model: Any, data: TrainingSet, recipe: Recipe, routes: Mapping[str, str]) -> None:
            # What reads texts was called tokenize before version 5.4.
            read = getattr(model, "preprocess", None) or model.tokenize
            super().__init__(read, router_mapping=dict(routes))
            self._data, self._loss = data, recipe.loss
            self._dimensions = dimensions(model)

        def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
            places = [int(row["place"]) for row in features]
            if self._loss == "vectors":
                texts: dict[str, Any] = super().__call__([{"text": self._data.vectors[at][0]} for at in places])
                return {**texts, "label": self._targets(places)}
            columns: dict[str, Any] = super().__call__([self._columns(at) for at in places])
            return columns

        def _columns(self, at: int) -> dict[str, Any]:
            example = self._data.examples[at]
            row: dict[str, Any] = {"query": example.query, "positive": example.positive}
            row.update({f"negative_{number}": text for number, text in enumerate(example.negatives, 1)})
            if self._loss in SCORED:
                row["label"] = list(example.scores)
            return row

        def _targets(self, places: list[int]) -> Any:
            targets = np.zeros((len(places), self._dimensions), dtype=np.float32)
            for row, at in zip(targets, places, strict=True):
                vector = self._data.vectors[at][1]
                row[vector.indices] = vector.values
            return torch.from_numpy(targets)

    return Collator
