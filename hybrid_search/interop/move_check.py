"""Compares a collection with its copy: counts, payloads, vectors and answers.

Counts and payloads are compared whole, by a checksum that does not depend on the order. Vectors and answers are
compared on a sample: the chunks whose ids hash lowest, so that it is the same one each time.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hybrid_search.errors import StoreError
from hybrid_search.manifest import Manifest
from hybrid_search.store.written import Written
from hybrid_search.types import LegName, SparseVector, Vector, in_order, is_empty, point_id_of

SAMPLED = 64
"""Chunks whose vectors are compared."""

QUERIES = 10
"""Chunks whose vectors are searched for, in each leg."""

DEPTH = 10
"""Hits of each search that are compared."""

CLOSE = 1e-4
"""How far apart two scores may be, relative to the larger: engines sum in different orders."""

VECTOR_CLOSE = 1e-5
"""How far apart two values of a vector may be: an engine brings dense vectors to length 1 again."""

SHARED = 0.5
"""The part of the hits of a dense leg that both sides must have: one searches its graph, which approximates."""

_MODULUS = 1 << 128

_Answer = list[tuple[str, float]]
"""What a search finds: chunk ids with their scores, best first."""


class Contents(NamedTuple):
    """What a collection holds: its documents and chunks, and a checksum over the payloads of all chunks."""

    documents: int
    chunks: int
    checksum: str


class Tally:
    """Counts payloads as they go by, and keeps a sample of their ids."""

    def __init__(self) -> None:
        self._documents = self._chunks = self._sum = 0
        self._lowest: list[tuple[int, str]] = []

    def add(self, payload: Mapping[str, Any]) -> None:
        """Count the payload of one chunk."""
        self._documents += payload["number"] == 0
        self._chunks += 1
        self._sum = (self._sum + _hash(payload)) % _MODULUS
        entry = (-point_id_of(payload["chunk_id"]).int, payload["chunk_id"])
        if len(self._lowest) < SAMPLED:
            heapq.heappush(self._lowest, entry)
        else:
            heapq.heappushpop(self._lowest, entry)

    @property
    def contents(self) -> Contents:
        """What went by."""
        return Contents(self._documents, self._chunks, f"{self._sum:032x}")

    @property
    def sample(self) -> list[str]:
        """The ids of up to `SAMPLED` chunks, lowest hash first."""
        return [chunk_id for _, chunk_id in sorted(self._lowest, reverse=True)]


class Checked(NamedTuple):
    """What was found equal.

    Args:
        vectors: of each leg, how many vectors were compared.
        searches: of each leg, how many searches were compared.
        notes: what was not equal and need not be, in words.
    """

    vectors: dict[LegName, int]
    searches: dict[LegName, int]
    notes: tuple[str, ...]


def contents_of(payloads: Iterable[Mapping[str, Any]]) -> Contents:
    """Return what these payloads make."""
    tally = Tally()
    for payload in payloads:
        tally.add(payload)
    return tally.contents


def difference(mine: Contents, theirs: Contents) -> str:
    """Return in words how two contents differ, an empty text for not at all.

    >>> difference(Contents(2, 3, "a"), Contents(2, 4, "b"))
    'it has 4 chunks instead of 3'
    """
    for what in ("documents", "chunks"):
        here, there = getattr(mine, what), getattr(theirs, what)
        if here != there:
            return f"it has {there:,} {what} instead of {here:,}"
    return "" if mine == theirs else f"the checksum of its payloads is {theirs.checksum} instead of {mine.checksum}"


def check_vectors_and_answers(source: Written, target: Written, sample: Sequence[str]) -> Checked:
    """Compare the vectors of sampled chunks, and what a search for them finds, in every leg.

    Args:
        source: the collection.
        target: its copy.
        sample: ids of chunks.

    Raises:
        StoreError: a vector or an answer is not the same.
    """
    if not sample:
        return Checked(dict.fromkeys(source.manifest.legs, 0), dict.fromkeys(source.manifest.legs, 0), ())
    vectors: dict[LegName, int] = {}
    searches: dict[LegName, int] = {}
    notes: list[str] = []
    for leg in in_order(source.manifest.legs):
        mine, theirs = source.vectors(leg, sample), target.vectors(leg, sample)
        for chunk_id in sample:
            if not _same_vector(mine.get(chunk_id), theirs.get(chunk_id)):
                raise StoreError(f"the {leg} vector of {chunk_id!r} is not the same")
        asked = [mine[chunk_id] for chunk_id in sample if chunk_id in mine and not is_empty(mine[chunk_id])][:QUERIES]
        vectors[leg], searches[leg] = len(mine), len(asked)
        notes += _compare_answers(
            leg, source.manifest, _answers(source, leg, asked), _answers(target, leg, asked), _limits(source, target)
        )
    return Checked(vectors, searches, tuple(notes))


def _answers(side: Written, leg: LegName, asked: Sequence[Vector]) -> list[_Answer]:
    return side.retrieve([(leg, vector) for vector in asked], DEPTH)


def _limits(*sides: Written) -> list[str]:
    """Return what the limits of a server change in what is found."""
    return [note for side in sides if hasattr(side, "notes") for note in side.notes()]


def _compare_answers(
    leg: LegName, manifest: Manifest, mine: list[_Answer], theirs: list[_Answer], limits: Sequence[str]
) -> Iterator[str]:
    """Yield a note where answers differ and may.

    Args:
        leg: that was searched.
        manifest: of the collection.
        mine: answers of the source.
        theirs: answers of the target, to the same.
        limits: what a side's limits change in what it finds.

    Raises:
        StoreError: they differ and may not.
    """
    pairs = list(zip(mine, theirs, strict=True))
    differing = [pair for pair in pairs if not _same_answer(*pair)]
    if not differing:
        return
    told = f"{len(differing)} of {len(pairs)} sample searches of the leg {leg!r} find other chunks or scores"
    spec = manifest.legs[leg]
    if spec.kind == "sparse" and spec.needs_idf:
        yield f"{told}: the inverse document frequencies are those of each store, and several shards change them"
    elif not all(_same_scores(*pair) for pair in pairs):
        raise StoreError(told)
    elif limits:
        yield f"{told}: {limits[0].rstrip('.')}"
    elif spec.kind == "dense" and _shared(pairs) >= SHARED:
        yield f"{told}: {_shared(pairs):.0%} of the hits are the same, and the search of dense vectors is approximate"
    else:
        raise StoreError(told)


def _same_scores(mine: _Answer, theirs: _Answer) -> bool:
    """Say whether the chunks that both found have the same scores."""
    one, other = dict(mine), dict(theirs)
    return all(abs(one[name] - other[name]) <= _tolerance(one[name]) for name in one.keys() & other.keys())


def _tolerance(score: float) -> float:
    return max(CLOSE * abs(score), 1e-6)


def _shared(pairs: Sequence[tuple[_Answer, _Answer]]) -> float:
    """Return which part of the hits of both sides are the same, from 0 to 1."""
    both = sum(len(dict(mine).keys() & dict(theirs).keys()) for mine, theirs in pairs)
    return both / max(1, sum(max(len(mine), len(theirs)) for mine, theirs in pairs))


def _same_answer(mine: _Answer, theirs: _Answer) -> bool:
    """Say whether two answers are the same; which chunks stand at the end may differ where scores are equal."""
    if len(mine) != len(theirs):
        return False
    scores, others = ([score for _, score in answer] for answer in (mine, theirs))
    if not np.allclose(scores, others, rtol=CLOSE, atol=1e-6):
        return False
    edge = scores[-1] + _tolerance(scores[-1]) if scores else 0.0
    return all({name for name, score in mine if score > edge} <= dict(answer).keys() for answer in (mine, theirs))


def _same_vector(mine: Vector | None, theirs: Vector | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    if isinstance(mine, SparseVector) or isinstance(theirs, SparseVector):
        if not (isinstance(mine, SparseVector) and isinstance(theirs, SparseVector)):
            return False
        same = np.array_equal(mine.indices, theirs.indices)
        return same and np.allclose(mine.values, theirs.values, rtol=VECTOR_CLOSE, atol=0)
    return mine.shape == theirs.shape and np.allclose(mine, theirs, rtol=0, atol=VECTOR_CLOSE)


def _hash(payload: Mapping[str, Any]) -> int:
    text = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")
