"""Groups the wordpiece vocabulary into word classes: one dimension for all inflections of a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.stop_words import STOP_WORDS
from hybrid_search.training.bundled.graph import Lexicon

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MIN_USES = 2
_RARITY_POWER = 0.25


def word_classes(vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """Return for each wordpiece the one that stands for its class; -1 if it has no meaning.

    Whole words with the same stem (Snowball's English one) are one class, so that `computing` finds `computers`; the
    first of them stands for all. Pieces inside words (`##ing`) and numbers stand for themselves. Stop words,
    punctuation, other scripts and special tokens get -1.

    >>> word_classes(["[PAD]", "compute", "##ing", "computing", "the", "!"]).tolist()
    [-1, 1, 2, 1, -1, -1]
    """
    from py_rust_stemmers import SnowballStemmer

    stemmer = SnowballStemmer("english")
    first: dict[str, int] = {}
    classes = np.full(len(vocabulary), -1, dtype=np.int64)
    for place, piece in enumerate(vocabulary):
        bare = piece.removeprefix("##")
        if not bare.isascii() or not bare.isalnum():
            continue
        whole = bare == piece and piece.isalpha()
        classes[place] = first.setdefault(stemmer.stem_word(piece), place) if whole else place
    stops = np.array([piece in STOP_WORDS for piece in vocabulary])
    classes[stops | ((classes >= 0) & stops[classes])] = -1
    return classes


def lexicon(
    tokenizer: Tokenizer, texts: Iterable[Sequence[int] | NDArray[np.int32]], taught: Sequence[Sequence[int]]
) -> Lexicon:
    """Return what the model is to know about the vocabulary.

    Args:
        tokenizer: the model's tokenizer.
        texts: token ids of the training passages, which tell how rare a word is.
        taught: dimensions of each of the teacher's vectors. Expansion may add whole words found in at least two
            passages or vectors.
    """
    vocabulary = [tokenizer.id_to_token(place) or "" for place in range(tokenizer.get_vocab_size())]
    classes = word_classes(vocabulary)
    found = np.zeros(len(vocabulary), dtype=np.int64)
    number = 0
    for ids in texts:
        number += 1
        mine = classes[np.asarray(ids)]
        found[np.unique(mine[mine >= 0])] += 1
    uses = found.copy()
    for dims in taught:
        mine = classes[np.asarray(dims)]
        uses[np.unique(mine[mine >= 0])] += 1
    own = np.flatnonzero(classes == np.arange(len(classes)))
    columns = [place for place in own if uses[place] >= _MIN_USES and _is_word(vocabulary[place])]
    # BM25's inverse document frequency, 1 for a word that no passage has. Source: Robertson and Zaragoza 2009.
    rarity = np.log(1 + (number - found + 0.5) / (found + 0.5)) / np.log(1 + (number + 0.5) / 0.5)
    return Lexicon(classes, np.array(columns, dtype=np.int64), (rarity**_RARITY_POWER).astype(np.float32))


def _is_word(piece: str) -> bool:
    return not piece.startswith("##") and len(piece) > 1
