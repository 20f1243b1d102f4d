"""Chooses settings on labels, and measures on other labels what the choice is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hybrid_search.evaluation.significance import bootstrap_intervals

C = TypeVar("C")

Verdict = Literal["recommend", "keep", "inconclusive"]
FOLDS, REPEATS = 5, 10
LEAST_QUERIES = 50
"""Judged queries below which nothing is said: with 25 of them an interval of nDCG@10 is about 0.09 wide."""

LEAST_GAIN = 0.005
MOST_P = 0.02
ROUNDS, _BLOCK = 5_000, 500

Values = NDArray[np.float64]


class Gain(NamedTuple):
    """What a way to choose is worth on queries that it did not see.

    Args:
        mean: of the differences to the default, over the queries.
        low: lower end of its 95 % interval.
        high: upper end.
        values: the differences, one a query.
        choices: how often each choice was made, over all folds.
    """

    mean: float
    low: float
    high: float
    values: Values
    choices: Counter[str]

    @classmethod
    def of(cls, values: Values, choices: Counter[str], seed: int) -> Gain:
        """Return the mean of differences with its interval."""
        ((low, high),) = bootstrap_intervals(values[:, None], seed=seed)
        return cls(float(values.mean()), float(low), float(high), values, choices)


def best_of(candidates: Sequence[C], values: Callable[[C], Values], rows: NDArray[np.intp]) -> C:
    """Return the simplest of the candidates that are as good as the best, as far as these queries can tell.

    That is the first whose mean lies within one standard error, of the paired differences, of the best one's.

    Args:
        candidates: the simplest first.
        values: of one candidate, a value for each query.
        rows: of the queries that count.

    Source: the one-standard-error rule of Breiman, Friedman, Olshen & Stone, Classification and Regression Trees, 1984.
    """
    if not len(rows):  # a single query, which is held out
        return candidates[0]
    found = [values(candidate)[rows] for candidate in candidates]
    best = found[int(np.argmax([one.mean() for one in found]))]
    for candidate, one in zip(candidates, found, strict=True):
        behind = best - one
        if behind.mean() <= behind.std(ddof=min(1, len(rows) - 1)) / np.sqrt(len(rows)):
            return candidate
    raise AssertionError("the best is within one standard error of itself")


def folds(queries: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the rows to choose on and those to measure on: five folds, ten times, each time cut in another way."""
    random = np.random.default_rng(seed)
    for _ in range(REPEATS):
        order = random.permutation(queries)
        for held_out in np.array_split(order, min(FOLDS, queries)):
            yield np.setdiff1d(order, held_out), held_out


def held_out_gain(
    choose: Callable[[NDArray[np.intp]], C],
    values: Callable[[C], Values],
    default: Values,
    seed: int,
) -> Gain:
    """Measure a way to choose by cross-validation: each query by choices that were made without it.

    Args:
        choose: returns the choice on some rows.
        values: of a choice, a value for each query.
        default: the default's values.
        seed: of the folds and of the interval.
    """
    total, times = np.zeros(len(default)), np.zeros(len(default))
    choices: Counter[str] = Counter()
    for rows, held_out in folds(len(default), seed):
        chosen = choose(rows)
        choices[str(chosen)] += 1
        total[held_out] += values(chosen)[held_out] - default[held_out]
        times[held_out] += 1
    return Gain.of(total / times, choices, seed)


def corrected_p(chosen: Values, others: Sequence[Values], default: Values, seed: int) -> float:
    """Return how likely the best of as many settings looks as good as the chosen one by chance alone.

    Where a setting is no better than the default, the sign of its difference on a query is chance, the same chance for
    all settings. So signs are drawn 5,000 times, and each time the largest statistic of all settings is taken.

    Args:
        chosen: the values of the choice, one a query.
        others: those of every setting that was looked at.
        default: those of the default.
        seed: of the signs.

    Returns:
        A value in 0..1, corrected for the number of settings and for how alike they are.

    Source: Westfall & Young, Resampling-Based Multiple Testing, 1993 (the step-down's first step, max-T).
    """
    differences = np.column_stack([chosen - default, *(one - default for one in others)])
    size = np.sqrt((differences**2).sum(axis=0))
    differences = differences[:, size > 0] / size[size > 0]
    if not size[0]:
        return 1.0
    observed = differences[:, 0].sum()
    random = np.random.default_rng(seed)
    as_large = 0
    for _ in range(ROUNDS // _BLOCK):
        signs = random.integers(0, 2, (_BLOCK, len(differences)), dtype=np.int8) * 2.0 - 1
        as_large += int(((signs @ differences).max(axis=1) >= observed - 1e-12).sum())
    return (as_large + 1) / (ROUNDS + 1)


def verdict(gain: Gain, p: float, differs: bool, queries: int) -> Verdict:
    """Say what to do. A choice is taken only if two witnesses speak for it, and its gain is worth a setting.

    The one is the gain on held-out queries: its whole interval has to lie above 0. That interval takes the choices as
    given, so with many settings and no difference at all it does so in more than one case of twenty. The other is a
    test that knows how many settings were looked at.

    Args:
        gain: of the way to choose.
        p: of `corrected_p`.
        differs: the choice on all queries is not the default.
        queries: judged.
    """
    if queries < LEAST_QUERIES:
        return "inconclusive"
    sure = gain.low > 0 and p <= MOST_P
    return "recommend" if sure and gain.mean >= LEAST_GAIN and differs else "keep"


def queries_needed(gain: Gain, queries: int, least: float = 0.01) -> int:
    """Return about how many judged queries would tell a gain of this size from none.

    The width of an interval falls with the square root of their number.

    Args:
        gain: as measured.
        queries: judged now.
        least: the smallest gain that is worth telling.

    >>> queries_needed(Gain(0.01, -0.01, 0.03, np.zeros(50), Counter()), 50)
    200
    """
    half = (gain.high - gain.low) / 2
    return max(LEAST_QUERIES, int(np.ceil(queries * (half / max(abs(gain.mean), least)) ** 2)))
