"""Defines the values of a training. They are frozen, and import only the standard library and the package's values.

    sources -> TrainingSet -> (mining adds negatives) -> (teachers add scores) -> trainer

A text of an example is what the model reads: title, newline, text, as in `Chunk.searchable`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from hybrid_search.types import SparseVector

_END_MARKS = " .?!…"


class Example(NamedTuple):
    """A query with a text that answers it and, if known, texts that do not and teachers' scores of them all.

    Args:
        query: the query, as a user would type it.
        positive: a text that answers it.
        negatives: texts that do not, hardest first if their source orders them.
        scores: the teacher's scores of (positive, *negatives), higher is better, finite; empty if there are none.
        query_id: the id its source gives it; empty if it has none.
        positive_id: the document's id; empty if it has none.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    query_id: str = ""
    positive_id: str = ""


class HeldOut(NamedTuple):
    """What evaluation during training ranks; none of these queries stands in an example.

    Args:
        queries: query_id -> text; no two are the same text.
        documents: doc_id -> searchable text; every document of the qrels is among them.
        qrels: query_id -> doc_id -> grade; every query has a grade above 0.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


class TrainingSet(NamedTuple):
    """Everything a training reads.

    Args:
        examples: in the order of their sources.
        held_out: what the model is judged on; empty if nothing was to be held out.
        vectors: texts, each with a given sparse vector to regress on.
        hashes: file -> SHA-256 of its bytes, in hex, for the report.
    """

    examples: tuple[Example, ...]
    held_out: HeldOut
    vectors: tuple[tuple[str, SparseVector], ...] = ()
    hashes: Mapping[str, str] = MappingProxyType({})


def normalize(text: str) -> str:
    """Return the form in which two texts count as the same: Unicode NFKC, no case, single spaces, no end mark.

    >>> normalize("  What is\\tBM25? ") == normalize("what is bm25")
    True
    >>> normalize("???")
    '???'
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.rstrip(_END_MARKS) or plain


def draw(seed: int, *parts: str) -> int:
    """Return a number in 0 .. 2**64 - 1 that depends only on the seed and the parts: chance that repeats everywhere.

    Sorting by it shuffles, and further items do not change the order of those that were there.
    """
    key = "\0".join((str(seed), *parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
