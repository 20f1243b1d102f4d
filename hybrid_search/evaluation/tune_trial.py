"""The trial of settings on one collection and its judged queries: each is searched or reckoned once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.corpus.trec import Dataset, ScoredDoc
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.latency import latency, sample
from hybrid_search.evaluation.tune_candidates import DEEPEST, Candidate, cheaper, deeper, reranked, ways_to_fuse
from hybrid_search.evaluation.tune_learned import SHARES, fit
from hybrid_search.evaluation.tune_rankings import QueryRankings
from hybrid_search.evaluation.tune_selection import Gain, Values, best_of, corrected_p, held_out_gain
from hybrid_search.ranking.leg_weights import LEARNED, Features, leg_weights
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import AUTO, SearchRequest
from hybrid_search.search.retrieval import query_features, retrieve_queries
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.searcher import Searcher
from hybrid_search.types import LegName

Progress = Callable[[str, int, int], None]
"""Called with a stage, what is done of it, and its whole."""

Weighing = Callable[[Features], Mapping[LegName, float]]
Rows = NDArray[np.intp]

LEAST_LEARNED = 100
"""Judged queries from which on a regression is fitted to them: it has four coefficients."""

TIMED = 60
"""Searches whose time is taken, with the default and with the choice in turn."""


class Choice(NamedTuple):
    """What was chosen on all queries, and what choosing so is worth on others.

    Args:
        chosen: the settings.
        coefficients: of the regression for the weights; empty where the weights are the same for every query.
        values: of the measure with the choice, one a query.
        gain: on held-out queries.
        learned: what the regression was worth beyond fixed weights; empty where there is nothing to weigh.
        p: how likely the best of all settings looks as good by chance alone.
    """

    chosen: Candidate
    coefficients: Mapping[str, float]
    values: Values
    gain: Gain
    learned: Mapping[str, Any]
    p: float = 1.0

    @property
    def differs(self) -> bool:
        return bool(self.coefficients) or self.chosen != Candidate()

    @property
    def stability(self) -> float:
        """The share of the folds in which the same settings were chosen."""
        return self.gain.choices[str(self.chosen)] / sum(self.gain.choices.values())

    def defaults(self, trial: Trial) -> SearchDefaults:
        """Return it as a manifest has it."""
        found = self.chosen.defaults(trial.searcher.manifest, trial.reranker or "")
        if not self.coefficients:
            return found
        return replace(found, fusion=self.chosen.fusion, weights=AUTO, learned=self.coefficients)


class Trial:
    """The queries' rankings, and the value of every candidate that was asked for.

    Args:
        data: judged queries.
        searcher: of the collection.
        measure: parsed.
        reranker: to try, by name; None to try none.
        tell: is told of each stage.
    """

    def __init__(self, data: Dataset, searcher: Searcher, measure: Any, reranker: str | None, tell: Progress) -> None:
        self.searcher, self.measure, self.reranker = searcher, measure, reranker
        self.manifest, self.legs = searcher.manifest, searcher.manifest.fused()
        if len(self.legs) < 2 and not reranker and len(cheaper(Candidate(), self.manifest)) == 1:
            raise InvalidArgument(
                f"There is nothing to tune in {searcher.collection!r}: its only leg is {self.legs[0]!r}, and no "
                "re-ranker is named. Try one: --rerank MODEL"
            )
        self._data, self._tell = data, tell
        self._dense = frozenset(leg for leg in self.legs if self.manifest.legs[leg].kind == "dense")
        self._cutoff = measuring.max_cutoff([measure])
        self._values: dict[Candidate, Values] = {}
        self._rankings: dict[int, list[QueryRankings]] = {}
        self.fusions = ways_to_fuse(self.manifest)
        self.queries = len(dict.fromkeys(qrel.query_id for qrel in data.qrels))

    @property
    def weighs(self) -> bool:
        """Whether there are legs of both kinds to weigh against each other."""
        return 0 < len(self._dense) < len(self.legs)

    def values(self, candidate: Candidate) -> Values:
        """Return the measure of each judged query, in the order of the judgements, with some settings."""
        if candidate not in self._values:
            weights = {**dict.fromkeys(self.legs, 1.0), **dict(candidate.weights)}
            if candidate.rerank_depth:
                self._values[candidate] = self._score(self._searched(candidate))
            else:
                self._values[candidate] = self.weighed(candidate, lambda _: weights)
            self._tell("settings", len(self._values), len(self.fusions))
        return self._values[candidate]

    def all_values(self) -> list[Values]:
        """Return the values of every candidate that was asked for."""
        return list(self._values.values())

    def weighed(self, candidate: Candidate, weights_of: Weighing) -> Values:
        """Return the measure of each judged query with some settings, and weights chosen by its features."""
        rows: list[ScoredDoc] = []
        for one in self.rankings(candidate.query_dims):
            found = one.fused(
                candidate.fusion,
                candidate.rrf_k,
                weights_of(one.features),
                candidate.depth,
                self._dense,
                self._cutoff,
            )
            rows += [ScoredDoc(one.query_id, doc_id, score) for doc_id, score in found]
        return self._score(rows)

    def by_query(self, coefficients: Mapping[str, float]) -> Weighing:
        """Return the weights that a regression gives, as `auto` does."""
        kinds = {leg: self.manifest.legs[leg].kind for leg in self.legs}
        return lambda features: leg_weights(features, kinds, coefficients)

    def at_shares(self, candidate: Candidate) -> tuple[list[Features], NDArray[np.float64]]:
        """Return each judged query's features, and its measure at each share of the dense legs.

        Queries stand in the order of the judgements; the second has shape (queries, shares).
        """
        columns = []
        for share in SHARES:
            weights = {leg: 2 * (share if leg in self._dense else 1 - share) for leg in self.legs}
            columns.append(self.weighed(candidate, lambda _, weights=weights: weights))  # type: ignore[misc]
        known = {one.query_id: one.features for one in self.rankings(candidate.query_dims)}
        order = dict.fromkeys(qrel.query_id for qrel in self._data.qrels)
        return [known.get(query_id, Features(0, 0.0, 1.0)) for query_id in order], np.array(columns).T

    def rankings(self, query_dims: int = 0) -> list[QueryRankings]:
        """Return what the legs find for each query, with all of its terms or only the heaviest."""
        if query_dims not in self._rankings:
            self._rankings[query_dims] = self.searcher._within(lambda opened: self._retrieved(opened, query_dims))
        return self._rankings[query_dims]

    def best(self, count: int) -> list[dict[str, Any]]:
        """Return the settings with the greatest means, each with its difference to the default and the interval."""
        default, found = self.values(Candidate()), []
        for one in sorted(self._values, key=lambda one: -self._values[one].mean())[:count]:
            gain = Gain.of(self._values[one] - default, Counter(), 0)
            mean = float(self._values[one].mean())
            found.append({"settings": str(one), "mean": mean, "gain": gain.mean, "interval": [gain.low, gain.high]})
        return found

    def latency(
        self, default: Candidate, chosen: Candidate, learned: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Return the median milliseconds of searches with two choices, made in turn."""
        requests = {
            "default": default.request(self.manifest, self.reranker or ""),
            "chosen": chosen.request(self.manifest, self.reranker or "", learned),
        }
        times: dict[str, list[Mapping[str, float]]] = {"default": [], "chosen": []}
        for place in sample(len(self._data.queries), TIMED):
            for name, request in requests.items():
                found = self.searcher.search(self._data.queries[place].text, request=request)
                times[name].append(found.timings_ms)
        return {name: latency(some)["p50"] for name, some in times.items()}

    def _retrieved(self, opened: OpenCollection, query_dims: int) -> list[QueryRankings]:
        pruning = SearchDefaults(query_dims=dict.fromkeys(set(self.legs) - self._dense, query_dims or 1))
        request = SearchRequest(depth=DEEPEST, k=DEEPEST, highlight=False)
        request = request.with_values(defaults=pruning if query_dims else None)
        texts, found = [query.text for query in self._data.queries], []
        encoders = {leg: opened.encoders[leg] for leg in self.legs}
        retrieved = retrieve_queries(texts, request, opened, self.searcher._threads)
        for query, one in zip(self._data.queries, retrieved, strict=True):
            found.append(QueryRankings.of(query.query_id, one.rankings, query_features(one, encoders)))
            self._tell("queries", len(found), len(texts))
        return found

    def _searched(self, candidate: Candidate) -> Iterable[ScoredDoc]:
        request = candidate.request(self.manifest, self.reranker or "", k=self._cutoff).with_values(highlight=False)
        for number, query in enumerate(self._data.queries, 1):
            results = self.searcher.search(query.text, request=request)
            self._tell("re-ranking", number, len(self._data.queries))
            for hit, score in zip(results, results.run_scores(), strict=True):
                yield ScoredDoc(query.query_id, hit.doc_id, score)

    def _score(self, rows: Iterable[ScoredDoc]) -> Values:
        (values,) = measuring.score(list(rows), self._data.qrels, [self.measure]).values()
        return values


def choose(trial: Trial, seed: int) -> Choice:
    """Choose on all queries, and measure the way of choosing on queries that are held out.

    Weights by query are part of the choice only where they gain on held-out queries beyond the best fixed settings.
    """
    default, everything = trial.values(Candidate()), np.arange(trial.queries)
    chosen = choose_fixed(trial, everything)
    gain = held_out_gain(lambda rows: choose_fixed(trial, rows), trial.values, default, seed)
    fixed = Choice(chosen, {}, trial.values(chosen), gain, {})
    found = _with_learned(trial, fixed, default, seed) if trial.weighs else fixed
    looked_at = [*trial.all_values(), found.values]
    return found._replace(p=corrected_p(found.values, looked_at, default, seed))


def choose_fixed(trial: Trial, rows: Rows) -> Candidate:
    """Choose on some queries: first how to fuse, then how deep, then with how many terms, then whether to re-rank."""
    chosen = best_of(trial.fusions, trial.values, rows)
    chosen = best_of(deeper(chosen), trial.values, rows)
    chosen = best_of(cheaper(chosen, trial.manifest), trial.values, rows)
    return best_of(reranked(chosen), trial.values, rows) if trial.reranker else chosen


def _with_learned(trial: Trial, fixed: Choice, default: Values, seed: int) -> Choice:
    """Return the choice with a regression of the weights, if it gains on held-out queries; else as it was."""
    chosen = replace(fixed.chosen, weights=(), rerank_depth=0)
    features, at_shares = trial.at_shares(chosen)
    known: dict[tuple[float, ...], Values] = {}

    def fitted(rows: Rows) -> tuple[float, ...]:
        return tuple(fit([features[row] for row in rows], at_shares[rows]).values())

    def values(coefficients: tuple[float, ...]) -> Values:
        if not coefficients:
            return default
        if coefficients not in known:
            known[coefficients] = trial.weighed(chosen, trial.by_query(named(coefficients)))
        return known[coefficients]

    gain = held_out_gain(fitted, values, default, seed)
    beyond = Gain.of(gain.values - fixed.gain.values, Counter(), seed)
    kept = beyond.low > 0 and trial.queries >= LEAST_LEARNED and not fixed.chosen.rerank_depth
    learned = {"gain": beyond.mean, "low": beyond.low, "high": beyond.high, "kept": kept}
    if not kept:
        return fixed._replace(learned=learned)
    coefficients = fitted(np.arange(trial.queries))
    return Choice(
        chosen,
        named(coefficients),
        values(coefficients),
        gain._replace(choices=fixed.gain.choices),
        {**learned, "coefficients": named(coefficients)},
    )


def named(coefficients: Sequence[float]) -> dict[str, float]:
    """Return coefficients by their names."""
    return dict(zip(LEARNED, coefficients, strict=True))
