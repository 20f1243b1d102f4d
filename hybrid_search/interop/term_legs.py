"""From the names of terms to the dimensions of a sparse leg: by a model's vocabulary, or by hashes of the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np

from hybrid_search._util.arguments import is_number, shown
from hybrid_search._util.unicode_text import nfc
from hybrid_search.collection.models import ModelSet, OnDownload, encoder_of, fetch, spec_of
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hashing import dimension_of
from hybrid_search.encoders.hybrid import unwrap
from hybrid_search.encoders.term_cards import WORDPIECES, WORDS
from hybrid_search.encoders.vocabulary import CONTINUES
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import LegSpec
from hybrid_search.protocols import KnowsTerms, SparseEncoder
from hybrid_search.settings import Settings
from hybrid_search.types import Kind, SparseVector

AUTO = "auto"
"""Instead of a model's name: `terms/wordpieces` where a token begins with `##`, else `terms/words`."""

Idf = Literal["queries", "documents"]
"""Which side has the inverse document frequency: the queries' weights, where the store multiplies it in, or the
documents' own weights, where nothing is left to do."""

KEPT_TOKENS = 250_000
"""Tokens whose dimensions are kept in memory."""

NAMED = 3
"""Pairs of tokens with one dimension that a report names."""


class TermLeg(NamedTuple):
    """What the terms of a sparse leg are, and what their weights.

    Args:
        model: whose vocabulary the terms are of, and which encodes queries: a card's name or a model's folder,
            `terms/words` or `terms/wordpieces` for any vocabulary, or `auto`.
        idf: which side has the inverse document frequency; None for as the model's own documents have it.
        scale: by which the weights are divided: exports are whole numbers, such as a hundred times the weight.
    """

    model: str = AUTO
    idf: Idf | None = None
    scale: float = 1.0


class Weighted(NamedTuple):
    """A sparse vector, the names of its dimensions in their order, and how many weights were 0 and dropped."""

    vector: SparseVector
    names: list[str]
    zeros: int


class Vocabulary(Protocol):
    """Knows the dimensions of terms."""

    def dimensions(self, terms: Sequence[str]) -> list[int]:
        """Return the dimension of each. Raises ValueError, with the reason, for a term without one."""
        ...


def is_hash(term: str) -> bool:
    """Say whether a term is the number of a hashed dimension, `#` and digits.

    >>> is_hash("#123"), is_hash("##s"), is_hash("#4294967296")
    (True, False, False)
    """
    digits = term[1:]
    return term[:1] == "#" and digits.isascii() and digits.isdecimal() and len(digits) <= 10 and int(digits) < 1 << 31


class ModelVocabulary:
    """The vocabulary of a model. A model whose dimensions are hashes has `#NUMBER` for each, as exports write it.

    Args:
        encoder: the model.

    Raises:
        InvalidArgument: terms cannot be looked up in it, or it has none.
    """

    def __init__(self, encoder: SparseEncoder) -> None:
        model = unwrap(encoder)
        self._hashes = not encoder.card.vocab_size and encoder.card.kind == "sparse"
        if not isinstance(model, KnowsTerms):
            raise InvalidArgument(
                f"{encoder.card.name} has no vocabulary that terms could be looked up in. Leave --model out: then "
                "terms of any vocabulary are taken."
            )
        self._name, self._model = encoder.card.name, model
        self._known: dict[str, int] = {}

    def dimensions(self, terms: Sequence[str]) -> list[int]:
        if self._hashes:
            self._known.update((term, int(term[1:])) for term in terms if is_hash(term))
        new = [term for term in terms if term not in self._known]
        for term, dimension in zip(new, self._model.dimensions(new) if new else [], strict=True):
            if dimension is None:
                raise ValueError(f"the token {shown(term)} is not in the vocabulary of {self._name}")
            self._known[term] = dimension
        return [self._known[term] for term in terms]


class HashedVocabulary:
    """Terms of any vocabulary, each at the hash of its name; takes note of what the terms are like.

    Args:
        ledger: remembers terms by their dimensions.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._known = ledger, dict[str, int]()
        self.pieces = False
        self.shared: dict[str, str] = {}
        """Terms with the dimension of another one, and which that is."""

    def dimensions(self, terms: Sequence[str]) -> list[int]:
        if len(self._known) > KEPT_TOKENS:
            self._known.clear()
        return [self._known[term] if term in self._known else self._met(term) for term in terms]

    def _met(self, term: str) -> int:
        dimension = dimension_of(term)
        earlier = self._ledger.seen(str(dimension), nfc(term), "")
        if earlier is not None and earlier[0] != nfc(term):
            self.shared[term] = earlier[0]
        self.pieces = self.pieces or (term.startswith(CONTINUES) and term != CONTINUES)
        self._known[term] = dimension
        return dimension

    def model(self) -> str:
        """Return the card whose queries find these terms."""
        return WORDPIECES if self.pieces else WORDS

    def shared_kind(self) -> str:
        """Describe the terms that share a dimension, for a report; some are named."""
        pairs = [f"{shown(term, 40)} with {shown(other, 40)}" for term, other in list(self.shared.items())[:NAMED]]
        return f"tokens that share a dimension ({', '.join(pairs)}{', ...' if len(self.shared) > NAMED else ''})"


def weighted(weights: Mapping[str, float], vocabulary: Vocabulary, scale: float = 1.0) -> Weighted:
    """Return the sparse vector of a document's terms; the weights of terms with one dimension add up.

    Args:
        weights: by term, 0 or more.
        vocabulary: knows the terms.
        scale: divides the weights.

    Raises:
        ValueError: a weight that is no finite number or below 0, or a term that the vocabulary lacks or that no store
            can hold; the message is the reason.
    """
    terms = list(weights)
    for term, weight in weights.items():
        if type(term) is not str:
            raise ValueError(f"the token {shown(term)} is {type(term).__name__}, expected a string")
        if type(weight) not in (int, float) and not is_number(weight):
            raise ValueError(f"the weight of {shown(term)} is {shown(weight)}, expected a number")
    try:
        "".join(terms).encode()
    except UnicodeEncodeError:
        broken = next(term for term in terms if not _is_text(term))
        raise ValueError(f"the token {shown(broken)} holds half a character (a lone surrogate)") from None
    values = _values(weights, scale)
    kept = np.flatnonzero(values)
    if not kept.size:
        return Weighted(SparseVector.of([], []), [], len(terms))
    names = [terms[place] for place in kept]
    dimensions = np.array(vocabulary.dimensions(names), np.int64)
    order = np.lexsort((-values[kept], dimensions))  # of those that share one, the heaviest first
    dimensions, summands = dimensions[order], values[kept][order]
    first = np.flatnonzero(np.diff(dimensions, prepend=-1))
    vector = SparseVector(dimensions[first].astype(np.int32), np.add.reduceat(summands, first).astype(np.float32))
    return Weighted(vector, [names[order[place]] for place in first], len(terms) - len(names))


def _values(weights: Mapping[str, float], scale: float) -> Any:
    """Return the weights as they are stored, float32 in float64. Raises ValueError for one that cannot be."""
    try:
        values = np.array(list(weights.values()), np.float64) / scale
    except OverflowError:
        values = np.array([float("inf") if abs(weight) > 1e300 else 0.0 for weight in weights.values()])
    with np.errstate(over="ignore"):
        values = values.astype(np.float32).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if wrong.size:
        term = list(weights)[wrong[0]]
        raise ValueError(
            f"the weight of {shown(term)} is {shown(weights[term])}, expected a finite number of 0 or more, below 3e38"
        )
    return values


def _is_text(term: str) -> bool:
    try:
        return bool(term.encode() or True)
    except UnicodeEncodeError:
        return False


def leg_of(
    leg: TermLeg, kind: Kind, settings: Settings, on_download: OnDownload | None = None
) -> tuple[SparseEncoder, LegSpec]:
    """Return what encodes the queries of a leg, and what the manifest records of it. The model's files are here.

    Raises:
        InvalidArgument: an inverse document frequency is asked for, and the model's weights take none.
        UnknownModel, ModelUnavailable: the model cannot be used.
    """
    model = card(leg.model, kind)
    encoder = encoder_of(model, kind, settings, {})
    fetch(ModelSet("custom", {kind: encoder}), settings, on_download)
    if leg.idf == "queries" and model.runtime != "terms" and not model.needs_idf:
        raise InvalidArgument(f"The weights of {model.name} take no inverse document frequency: leave --idf out.")
    spec = spec_of(encoder)
    needs_idf = kind == "sparse" and (leg.idf == "queries" or (leg.idf is None and spec.needs_idf))
    return cast(SparseEncoder, encoder), replace(spec, needs_idf=needs_idf)


def check_leg(leg: TermLeg) -> None:
    """Refuse a scale or a side that is invalid.

    Raises:
        InvalidArgument: it is.
    """
    if not is_number(leg.scale) or leg.scale <= 0:
        raise InvalidArgument(
            f"scale is {shown(leg.scale)}; it must be a number above 0, which weights are divided by."
        )
    if leg.idf not in (None, "queries", "documents"):
        raise InvalidArgument(f"idf is {shown(leg.idf)}; it must be 'queries' or 'documents', the side that has it.")
