"""Encodes queries of collections whose documents came with the weights of their terms, of any vocabulary.

Learned sparse models of the literature (DeepImpact, uniCOIL, TILDEv2, DeepCT) are handed on as files of weights, and
nothing here encodes documents as they do. A query of plain text takes the form that such models begin with: its words
in small letters, or BERT's wordpieces, each with the number of times that it stands there.
Sources: Mallia et al., Learning Passage Impacts for Inverted Indexes, 2021; Lin & Ma, A Few Brief Notes on DeepImpact,
COIL, and a Conceptual Framework for Information Retrieval Techniques, 2021.

A term's dimension is a hash of it, `dimension_of`, which is part of what collections on disk are made with.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from hybrid_search._util.unicode_text import word_list
from hybrid_search.encoders.batching import readable
from hybrid_search.encoders.bundled.package import OWN_FOLDER
from hybrid_search.encoders.hashing import dimension_of
from hybrid_search.encoders.term_cards import FAMILY, WORDS
from hybrid_search.errors import ModelError
from hybrid_search.types import ModelCard, SparseVector

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNKNOWN = "[UNK]"
_VERSION = 1
"""Part of the fingerprint: raise it whenever queries or dimensions become others."""


class TermWeightsEncoder:
    """Encodes queries as counts of their words or wordpieces. It has no model, and encodes no documents.

    Args:
        card: its card, `terms/words` or `terms/wordpieces`.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    @property
    def card(self) -> ModelCard:
        return self._card

    def fingerprint(self) -> str:
        return hashlib.blake2b(repr((FAMILY, self._card.name, _VERSION)).encode(), digest_size=16).hexdigest()

    def warm_up(self) -> None:
        _ = self._split

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return zeros: there is no limit on a query."""
        return [0] * len(texts)

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """Raise ModelError: the weights of documents come with them, nothing here makes them."""
        raise ModelError(
            f"{self._card.name} encodes queries only: the weights of documents come with them. Import documents that "
            "have weights (hybrid-search import anserini), or take a sparse model that encodes documents."
        )

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weight each word, or wordpiece, by its frequency; those that share a dimension add up."""
        return [self._vector(text) for text in texts]

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return the wordpiece of each dimension; `#<index>` for one of no known wordpiece, and for every word."""
        return [self._names.get(int(index), f"#{index}") for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each term; every term has one."""
        return [dimension_of(term) for term in terms]

    def _vector(self, text: str) -> SparseVector:
        weights: Counter[int] = Counter()
        for term, count in Counter(self._split(readable(text))).items():
            weights[dimension_of(term)] += count
        return SparseVector.of(list(weights), list(weights.values()))

    @cached_property
    def _split(self) -> Callable[[str], list[str]]:
        return _words if self._card.name == WORDS else self._wordpieces

    def _wordpieces(self, text: str) -> list[str]:
        pieces = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return [piece for piece in pieces if piece != _UNKNOWN]

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        """The tokenizer of the bundled model, whose vocabulary is that of BERT, uncased."""
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(OWN_FOLDER / "tokenizer.json"))

    @cached_property
    def _names(self) -> dict[int, str]:
        if self._card.name == WORDS:
            return {}
        return {dimension_of(piece): piece for piece in self._tokenizer.get_vocab()}


def _words(text: str) -> list[str]:
    return word_list(text.lower())
