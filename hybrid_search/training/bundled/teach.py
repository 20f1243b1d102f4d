"""Teaches a head, in two stages.

First, expansion learns to give the teacher's query vectors, including those of long queries, and is then frozen:
measured, training it on the ranking of the passages at hand made it worse at ranking those of other domains. Then the
weights of a text's own words learn to rank. In each step some passages of one domain, half of them near each other, are
ranked for their queries. The ranking is drawn towards that of the dense vectors and BM25 together (KL divergence) and
towards the right passage (cross-entropy).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.training.bundled import head as heads
from hybrid_search.training.bundled.graph import SATURATION, Lexicon
from hybrid_search.training.bundled.head import Expansion, Head
from hybrid_search.training.bundled.states import States

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

_EXPANSION = ("decoder", "transform", "transform_bias", "norm_gain", "norm_bias", "bias")
_SCALES = ("expansion_scale", "lexical_scale")


class Recipe(NamedTuple):
    """The numbers of a training.

    Args:
        imitation_steps, imitation_batch: steps and batch size of the first stage.
        steps: steps of the second stage.
        passages: passages in a batch; four of them are drawn, the rest are their neighbours.
        neighbours: how many nearest passages those are drawn from.
        imitation_rate, rate: the highest learning rate of Adam in each stage.
        dense_weight, lexical_weight: of the two ranking teachers: times the cosine, and the highest of a query's BM25
            scores.
        contrast_weight: weight of the cross-entropy beside the divergence.
        domains: how often each domain is drawn.
        watch_every: steps between two measurements.
        seed: seed of everything drawn.
    """

    imitation_steps: int = 1200
    imitation_batch: int = 96
    steps: int = 300
    passages: int = 48
    neighbours: int = 40
    imitation_rate: float = 2e-3
    rate: float = 7e-4
    dense_weight: float = 20.0
    lexical_weight: float = 10.0
    contrast_weight: float = 0.3
    domains: tuple[float, ...] = (0.12, 0.28, 0.06, 0.22, 0.32)
    watch_every: int = 100
    seed: int = 0


RECIPE = Recipe()


class Lesson(NamedTuple):
    """The data of a lesson.

    Args:
        passages, queries, taught: states of the texts.
        domains: (passages,) the domain of each.
        answers: (queries,) the position of each one's passage.
        vectors: (taught, columns) float16, the teacher's vectors.
        held_out: queries that are only measured; their passages are left out of training too.
        held_out_taught: those of the teacher's queries that are only measured.
    """

    passages: States
    queries: States
    taught: States
    domains: NDArray[np.int64]
    answers: NDArray[np.int64]
    vectors: NDArray[np.float16]
    held_out: NDArray[np.int64]
    held_out_taught: NDArray[np.int64]


def imitate(head: Head, lesson: Lesson, lexicon: Lexicon, recipe: Recipe) -> None:
    """Run the first stage, changing the head in place."""
    import torch

    chance = np.random.default_rng(recipe.seed)
    mine = _learners(lesson)
    optimiser = torch.optim.Adam([head[name] for name in _EXPANSION], lr=recipe.imitation_rate, fused=True)
    for step in range(recipe.imitation_steps):
        optimiser.param_groups[0]["lr"] = _rate(recipe.imitation_rate, step / recipe.imitation_steps, step)
        places = chance.choice(mine, recipe.imitation_batch, replace=False)
        loss = _imitation(head, lesson, places, lexicon)
        _step(optimiser, loss, step)
        if step % 100 == 99:
            log.info("imitation %d: loss %.2f", step + 1, loss.item())


def teach(
    head: Head, lesson: Lesson, lexicon: Lexicon, recipe: Recipe, watch: Callable[[int], None] = lambda step: None
) -> None:
    """Run the second stage, changing the head in place.

    `watch(step)` is called every `recipe.watch_every` steps and at the end.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(recipe.seed)
    draw = _Draw(lesson, recipe)
    rareness = _rareness(lesson, lexicon)
    temperature = torch.zeros((), requires_grad=True)
    learning = {name: value for name, value in head.items() if name not in _EXPANSION}
    for name in _EXPANSION:
        head[name].requires_grad_(False)
    groups = [
        {"params": [value for name, value in learning.items() if name not in _SCALES]},
        {"params": [*(head[name] for name in _SCALES), temperature], "lr": 0.3 * recipe.rate},
    ]
    optimiser = torch.optim.Adam(groups, lr=recipe.rate, fused=True)
    seen: list[tuple[float, float]] = []
    for step in range(recipe.steps):
        optimiser.param_groups[0]["lr"] = _rate(recipe.rate, step / recipe.steps, step)
        batch = draw.batch()
        documents = heads.documents(head, heads.batch_of(lesson.passages, batch.passages, lexicon), lexicon)
        asked = [heads.queries(head, heads.batch_of(lesson.queries, batch.queries, lexicon), lexicon)]
        if len(batch.taught):
            asked.append(heads.queries(head, heads.batch_of(lesson.taught, batch.taught, lexicon), lexicon))
        scores = torch.cat(asked) * rareness[batch.domain] @ documents.T
        logits = scores * 0.25 * torch.exp(temperature)
        aim = _aim(lesson, lexicon, rareness, batch, recipe)
        divergence = functional.kl_div(logits.log_softmax(1), aim.softmax(1), reduction="batchmean")
        loss = divergence + recipe.contrast_weight * functional.cross_entropy(logits, batch.answers)
        _step(optimiser, loss, step)
        seen.append((divergence.item(), (logits.argmax(1) == batch.answers).float().mean().item()))
        if step % 50 == 49:
            log.info("step %d: divergence %.3f, found %.3f", step + 1, *np.mean(seen[-50:], axis=0))
        if step % recipe.watch_every == recipe.watch_every - 1 or step == recipe.steps - 1:
            watch(step + 1)


def measure(head: Head, lesson: Lesson, lexicon: Lexicon, recipe: Recipe, pool: int = 2000) -> dict[str, float]:
    """Measure the head on what was held out.

    Returns:
        `nDCG@10` of the held-out queries among their passages and others of the same domains, `dense nDCG@10` of the
        dense vectors on the same, `hybrid nDCG@10` of both fused, mean active dims of both sides, and `cosine` to the
        teacher's held-out vectors.
    """
    import torch
    from torch.nn import functional

    answers = lesson.answers[lesson.held_out]
    near = np.flatnonzero(np.isin(lesson.domains, lesson.domains[answers]))
    others = np.random.default_rng(recipe.seed).choice(near, min(pool, len(near)), replace=False)
    places = np.union1d(answers, others)
    with torch.no_grad():
        batches = [heads.batch_of(lesson.passages, places[at : at + 64], lexicon) for at in range(0, len(places), 64)]
        documents = torch.cat([heads.documents(head, batch, lexicon).half() for batch in batches])
        share = ((documents > 0).sum(0) + 0.5) / (len(places) + 1)
        asked = heads.batch_of(lesson.queries, lesson.held_out, lexicon)
        queries = heads.queries(head, asked, lexicon)
        scores = queries * -share.log() @ documents.float().T
        dense = torch.from_numpy(lesson.queries.dense[lesson.held_out] @ lesson.passages.dense[places].T)
        right = torch.from_numpy(np.searchsorted(places, answers))
        batch = heads.batch_of(lesson.taught, lesson.held_out_taught, lexicon)
        given = _as_rows(heads.expansion(head, batch), len(lesson.held_out_taught), lexicon)
        wanted = torch.from_numpy(lesson.vectors[lesson.held_out_taught].astype(np.float32))
        return {
            "nDCG@10": _ndcg(scores, right),
            "dense nDCG@10": _ndcg(dense, right),
            "hybrid nDCG@10": _ndcg(_reciprocal_ranks(scores) + _reciprocal_ranks(dense), right),
            "document dims": (documents > 0).sum(1).float().mean().item(),
            "query dims": (queries > 0).sum(1).float().mean().item(),
            "cosine": functional.cosine_similarity(given, wanted).mean().item(),
        }


class _Batch(NamedTuple):
    domain: int
    passages: NDArray[np.int64]
    queries: NDArray[np.int64]
    taught: NDArray[np.int64]
    answers: Tensor


class _Draw:
    """Draws batches."""

    def __init__(self, lesson: Lesson, recipe: Recipe) -> None:
        self._lesson, self._recipe = lesson, recipe
        self._chance = np.random.default_rng(recipe.seed)
        self._kept = set(lesson.answers[lesson.held_out].tolist())
        self._taught = _learners(lesson)
        self._domains = [np.flatnonzero(lesson.domains == number) for number in range(len(recipe.domains))]
        share = np.array([odds if len(of) else 0.0 for odds, of in zip(recipe.domains, self._domains, strict=True)])
        self._odds = share / share.sum()
        self._asking: dict[int, list[int]] = {}
        for query, answer in enumerate(lesson.answers.tolist()):
            if answer not in self._kept:
                self._asking.setdefault(answer, []).append(query)
        # A teacher's query asks for the passage nearest to it, where one is near.
        self._joining: dict[int, list[int]] = {}
        for at in range(0, len(self._taught), 2000):
            some = self._taught[at : at + 2000]
            cosines = lesson.taught.dense[some] @ lesson.passages.dense.T
            for query, answer, cosine in zip(some.tolist(), cosines.argmax(1).tolist(), cosines.max(1), strict=True):
                if cosine > 0.45 and answer not in self._kept:
                    self._joining.setdefault(answer, []).append(query)

    def batch(self) -> _Batch:
        import torch

        chance, lesson, recipe = self._chance, self._lesson, self._recipe
        domain = int(chance.choice(len(self._odds), p=self._odds))
        members = self._domains[domain]
        near = min(recipe.neighbours, len(members))
        drawn: list[int] = []
        for cosines in lesson.passages.dense[chance.choice(members, 4)] @ lesson.passages.dense[members].T:
            nearest = np.argpartition(-cosines, near - 1)[:near]
            nearest = nearest[np.argsort(-cosines[nearest], kind="stable")]
            rest = chance.choice(nearest[1:], min(recipe.passages // 4 - 1, near - 1), replace=False)
            drawn += [int(members[nearest[0]]), *members[rest].tolist()]
        passages = [place for place in dict.fromkeys(drawn) if place not in self._kept]
        asking, joining = [], []
        for number, place in enumerate(passages):
            if place in self._joining and chance.random() < 0.5:
                joining.append((int(chance.choice(self._joining[place])), number))
            elif place in self._asking:
                asking.append((int(chance.choice(self._asking[place])), number))
        if not asking:
            return self.batch()
        taught = np.array([query for query, _ in joining], dtype=np.int64)
        answers = [number for _, number in [*asking, *joining]]
        queries = [query for query, _ in asking]
        return _Batch(domain, np.array(passages), np.array(queries), taught, torch.tensor(answers))


def _rareness(lesson: Lesson, lexicon: Lexicon) -> Tensor:
    """Return each domain's inverse document frequency: ln(1 / share of its passages with the word)."""
    import torch

    number = int(lesson.domains.max()) + 1
    found = np.zeros((number, len(lexicon.stems)), dtype=np.float32)
    for ids, domain in zip(lesson.passages.texts(), lesson.domains, strict=True):
        stems = lexicon.stems[ids]
        found[domain, np.unique(stems[stems >= 0])] += 1
    sizes = np.maximum(np.bincount(lesson.domains, minlength=number), 1)[:, None]
    return torch.from_numpy(-np.log((found + 0.5) / (sizes + 1)).astype(np.float32))


def _learners(lesson: Lesson) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(len(lesson.vectors)), lesson.held_out_taught)


def _rate(highest: float, done: float, step: int, warm_up: int = 100) -> float:
    return highest * min(1.0, (step + 1) / warm_up) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _step(optimiser: Any, loss: Tensor, step: int) -> None:
    if not math.isfinite(loss.item()):
        raise FloatingPointError(f"The loss of step {step + 1} is {loss.item()}; take a lower rate.")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _imitation(head: Head, lesson: Lesson, places: NDArray[np.int64], lexicon: Lexicon) -> Tensor:
    """Return the loss against the teacher's vectors."""
    import torch
    from torch.nn import functional

    wanted = torch.from_numpy(lesson.vectors[places].astype(np.float32))
    found = heads.expansion(head, heads.batch_of(lesson.taught, places, lexicon), wanted > 0)
    given = _as_rows(found, len(places), lexicon)
    square = (given - wanted).square().sum(1).mean()
    # A wanted word whose logit is below 0 has no gradient of its own.
    missed = torch.relu(-found.logits) * (wanted[found.rows, found.columns] > 0)
    angle = (1 - functional.cosine_similarity(given, wanted)).mean()
    return square + 5 * angle + 0.1 * missed.sum() / len(places)


def _as_rows(found: Expansion, texts: int, lexicon: Lexicon) -> Tensor:
    return found.weights.new_zeros(texts, len(lexicon.columns)).index_put((found.rows, found.columns), found.weights)


def _aim(lesson: Lesson, lexicon: Lexicon, rareness: Tensor, batch: _Batch, recipe: Recipe) -> Tensor:
    """Return what the ranking is drawn to: the weighted sum of dense cosine and BM25."""
    import torch

    queries = np.concatenate([lesson.queries.dense[batch.queries], lesson.taught.dense[batch.taught]])
    cosines = torch.from_numpy(queries @ lesson.passages.dense[batch.passages].T)
    counts = torch.cat([_counts(lesson.queries, batch.queries, lexicon), _counts(lesson.taught, batch.taught, lexicon)])
    words = _counts(lesson.passages, batch.passages, lexicon)
    k1, b, average = SATURATION
    words = words * (k1 + 1) / (words + k1 * (1 - b + b * words.sum(1, keepdim=True) / average))
    lexical = counts * rareness[batch.domain] @ words.T
    lexical = lexical / lexical.amax(1, keepdim=True).clamp(min=8.0)
    return recipe.dense_weight * cosines + recipe.lexical_weight * lexical


def _counts(states: States, places: NDArray[np.int64], lexicon: Lexicon) -> Tensor:
    import torch

    counted = np.zeros((len(places), len(lexicon.stems)), dtype=np.float32)
    for row, place in enumerate(places):
        stems = lexicon.stems[states.ids[states.offsets[place] : states.offsets[place + 1]]]
        np.add.at(counted[row], stems[stems >= 0], 1)
    return torch.from_numpy(counted)


def _reciprocal_ranks(scores: Tensor) -> Tensor:
    """Return 1 / (60 + rank) in each row. Source: Cormack et al. 2009, reciprocal rank fusion."""
    ranks = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
    return 1 / (60.0 + ranks)


def _ndcg(scores: Tensor, right: Tensor) -> float:
    """Return nDCG@10 with one relevant passage per query: 1 / log2(1 + its rank), 0 beyond rank 10."""
    import torch

    mine = scores.gather(1, right[:, None])
    ranks = (scores > mine).sum(1) + 1
    gains: Any = torch.where(ranks <= 10, 1 / torch.log2(ranks + 1.0), torch.zeros(()))
    return float(gains.mean())
