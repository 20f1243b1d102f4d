"""Mines hard negatives from the user's own collection: what hybrid search finds for a query and is not its answer.

A model has to learn to avoid the mistakes of a first stage, but many of these are answers that nobody labelled. So each
candidate is compared with the positive by the score of one leg, and those too close to it are left out.

Source: Moreira et al., NV-Retriever: Improving text embedding models with effective hard-negative mining, 2024,
arXiv 2407.15831, section 4: positive-aware mining, `TopK-PercPos`, a candidate's score at most 95 % of the positive's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from hybrid_search._util import batched
from hybrid_search._util.unicode_text import nfc
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.results import DocumentHit, Results
from hybrid_search.search.request import DEPTH, MAX_DEPTH
from hybrid_search.searcher import Searcher
from hybrid_search.training.examples import Example, draw, normalize
from hybrid_search.types import Chunk, LegName

MARGIN = 0.05
NEGATIVES = 4
QUERY_BATCH = 64
_REMEMBERED = 20_000

Pick = Literal["sample", "top"]


class RankedPlace(NamedTuple):
    """Where the search ranked a document: its rank from 1, and the reference leg's score, None if that leg lacks it."""

    doc_id: str
    rank: int
    score: float | None


class Evidence(NamedTuple):
    """Why an example got its negatives: the place of its positive, None if it was not found, and of the negatives."""

    positive: RankedPlace | None
    negatives: tuple[RankedPlace, ...]


class Mined(NamedTuple):
    """The result of `mine`.

    Args:
        examples: the given examples, in order, with the mined negatives behind their own.
        evidence: one per example; without negatives for those that were passed over.
        reference: the leg whose scores were compared.
        searched: number of distinct queries.
        positives_found: examples whose positive was in the list.
        known: candidates left out because they answer the query.
        likely_false: candidates left out as likely answers that nobody labelled.
        short: examples that got fewer negatives than requested.
        scored: examples passed over because they came with a teacher's scores.
    """

    examples: tuple[Example, ...]
    evidence: tuple[Evidence, ...]
    reference: LegName
    searched: int
    positives_found: int
    known: int
    likely_false: int
    short: int
    scored: int


def mine(
    examples: Sequence[Example],
    searcher: Searcher,
    *,
    depth: int = DEPTH,
    first: int = 1,
    negatives: int = NEGATIVES,
    margin: float | None = MARGIN,
    pick: Pick = "sample",
    reference: LegName | None = None,
    exclude: Collection[str] = (),
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Mined:
    """Add hard negatives to examples: passages that the collection ranks high for the query and that do not answer it.

    A negative is a document's best passage, as `Chunk.searchable`. Left out are:

    - known answers: a document with the `positive_id` of any example of the same query; one whose passage says the same
      as
      such a positive (one contains the other, because chunks are parts of documents); and what the example has already;
    - likely answers that nobody labelled, by the score s of the reference leg: s >= p - margin * |p|, where p is the
      positive's score. A candidate that this leg did not hand on scores below everything it did, and stays;
    - if the list has the positive but the reference leg does not, so that there is no p: whatever ranks above it.

    If the positive is not in the list, nothing says how good an answer has to be, and the unlabelled answers are at the
    top of the list. Negatives then come only from the lower half of the list. Without `margin` only known answers are
    left out.

    Examples that come with a teacher's scores are passed over, because a mined negative would have no score.

    Args:
        examples: the examples to mine for; those of one query are searched once.
        searcher: searches the collection to mine from, all its legs fused.
        depth: ranks that are considered, 1..10,000.
        first: the first rank that candidates are taken from, 1..depth.
        negatives: how many to add to each example at most, >= 1.
        margin: 0 <= margin < 1; None to leave out known answers only.
        pick: `sample` draws from all candidates, by the seed; `top` takes the highest ranked.
        reference: the leg whose scores are compared; by default the first dense one, else the first.
        exclude: doc_ids that are never taken.
        seed: an example's draw depends on this, its query and its positive, not on the other examples.
        on_progress: called with (queries done, total queries) after each batch.

    Raises:
        InvalidArgument: a value is out of range, or the collection lacks the reference leg.
        HybridSearchError: whatever `Searcher.search_many` raises.
    """
    _check(depth, first, negatives, margin, pick)
    reference = _reference(searcher.manifest, reference)
    by_query: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        by_query.setdefault(normalize(example.query), []).append(place)
    wanted = {query: places for query, places in by_query.items() if any(not examples[at].scores for at in places)}
    miner = _Miner(first, negatives, margin, pick, reference, frozenset(map(nfc, exclude)), seed)
    made: dict[int, tuple[Example, Evidence]] = {}
    done = 0
    for some in batched(wanted.items(), QUERY_BATCH):
        answers = searcher.search_many(
            [examples[places[0]].query for _, places in some], k=depth, depth=depth, highlight=False
        )
        for (_, places), results in zip(some, answers, strict=True):
            made.update(miner.mine_query({at: examples[at] for at in places}, results))
        done += len(some)
        if on_progress is not None:
            on_progress(done, len(wanted))
    both = [made.get(at, (example, Evidence(None, ()))) for at, example in enumerate(examples)]
    return Mined(
        examples=tuple(example for example, _ in both),
        evidence=tuple(evidence for _, evidence in both),
        reference=reference,
        searched=len(wanted),
        positives_found=miner.positives_found,
        known=miner.known,
        likely_false=miner.likely_false,
        short=miner.short,
        scored=len(examples) - len(made),
    )


class _Candidate(NamedTuple):
    """A hit, with its texts in normalised form: the passage alone, and with the title as models read it."""

    place: RankedPlace
    text: str
    passage: str
    whole: str


class _Miner:
    """The rules of one `mine`, and their effect."""

    def __init__(
        self,
        first: int,
        negatives: int,
        margin: float | None,
        pick: Pick,
        reference: LegName,
        exclude: frozenset[str],
        seed: int,
    ) -> None:
        self.positives_found = self.known = self.likely_false = self.short = 0
        self._first, self._negatives, self._margin = first, negatives, margin
        # The same passages come up for many queries.
        self._normalize = lru_cache(maxsize=_REMEMBERED)(normalize)
        self._pick, self._reference, self._exclude, self._seed = pick, reference, exclude, seed

    def mine_query(self, examples: Mapping[int, Example], results: Results) -> dict[int, tuple[Example, Evidence]]:
        """Return the unscored examples of one query, with negatives from its results."""
        found = [self._candidate(hit) for hit in results]
        answers = {at: _saying(found, example) for at, example in examples.items()}
        known = {one.place.doc_id for ones in answers.values() for one in ones}
        others = [one for one in found if one.place.doc_id not in known and nfc(one.place.doc_id) not in self._exclude]
        made = {}
        for at, example in examples.items():
            if not example.scores:
                self.known += len(known)
                made[at] = self._for_one(example, answers[at][0].place if answers[at] else None, others, len(found))
        return made

    def _candidate(self, hit: DocumentHit) -> _Candidate:
        passage = hit.passages[0]
        text = Chunk(
            hit.doc_id, 0, passage.text, passage.start, passage.end, hit.title, context=passage.context
        ).searchable
        leg = hit.legs[self._reference]
        place = RankedPlace(hit.doc_id, hit.rank, None if leg is None else leg.score)
        return _Candidate(place, text, self._normalize(passage.text), self._normalize(text))

    def _for_one(
        self, example: Example, positive: RankedPlace | None, others: Sequence[_Candidate], last: int
    ) -> tuple[Example, Evidence]:
        self.positives_found += positive is not None
        have = {normalize(text) for text in example.negatives}
        from_rank = self._first
        if positive is None and self._margin is not None:
            from_rank = max(self._first, (self._first + last) // 2 + 1)
        window = [one for one in others if one.place.rank >= from_rank and one.whole not in have]
        candidates = [one for one in window if not self._likely_false(one.place, positive)]
        self.likely_false += len(window) - len(candidates)
        candidates = _distinct(candidates)
        if self._pick == "sample" and len(candidates) > self._negatives:
            chance = random.Random(draw(self._seed, "negatives", normalize(example.query), example.positive))
            candidates = sorted(chance.sample(candidates, self._negatives), key=lambda one: one.place.rank)
        candidates = candidates[: self._negatives]
        self.short += len(candidates) < self._negatives
        texts = tuple(one.text for one in candidates)
        return (
            example._replace(negatives=example.negatives + texts),
            Evidence(positive, tuple(one.place for one in candidates)),
        )

    def _likely_false(self, candidate: RankedPlace, positive: RankedPlace | None) -> bool:
        if self._margin is None or positive is None:
            return False
        if positive.score is None:
            return candidate.rank < positive.rank
        bound = positive.score - self._margin * abs(positive.score)
        return candidate.score is not None and candidate.score >= bound


def _saying(found: Sequence[_Candidate], example: Example) -> list[_Candidate]:
    """Return the hits that are the example's positive: by id, or because one text contains the other."""
    positive = normalize(example.positive)
    return [
        one
        for one in found
        if (example.positive_id and nfc(one.place.doc_id) == nfc(example.positive_id))
        or _contains(positive, one.passage)
        or _contains(one.whole, positive)
    ]


def _contains(text: str, part: str) -> bool:
    """Return whether the part stands in the text as whole words.

    >>> _contains("apollo 13. it came home", "apollo 13"), _contains("apollo 13", "apollo 1")
    (True, False)
    """
    at = text.find(part)
    while at >= 0:
        around = text[max(0, at - 1) : at] + text[at + len(part) : at + len(part) + 1]
        if not any(mark.isalnum() for mark in around):
            return True
        at = text.find(part, at + 1)
    return False


def _distinct(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Keep each text once, at its best rank."""
    first: dict[str, _Candidate] = {}
    for one in candidates:
        first.setdefault(one.whole, one)
    return list(first.values())


def _check(depth: int, first: int, negatives: int, margin: float | None, pick: str) -> None:
    if not 1 <= depth <= MAX_DEPTH:
        raise InvalidArgument(f"depth is {depth}; it must lie in 1..{MAX_DEPTH:,}.")
    if not 1 <= first <= depth:
        raise InvalidArgument(f"first is {first}; it must lie in 1..depth, and depth is {depth}.")
    if negatives < 1:
        raise InvalidArgument(f"negatives is {negatives}; expected 1 or more.")
    if margin is not None and not 0 <= margin < 1:
        raise InvalidArgument(f"margin is {margin}; it must lie in 0 .. 1, 1 left out; None compares no scores.")
    if pick not in ("sample", "top"):
        raise InvalidArgument(f"Unknown pick {pick!r}. Take one of: sample, top.")


def _reference(manifest: Manifest, asked: LegName | None) -> LegName:
    legs = manifest.fused()
    if asked is None:
        return next((leg for leg in legs if manifest.legs[leg].kind == "dense"), legs[0])
    if asked not in legs:
        raise InvalidArgument(f"The reference leg is {asked!r}; the collection has: {', '.join(legs)}.")
    return asked
