"""Makes a tokenizer of BERT's vocabulary file, for models from before `tokenizer.json`; names and sorts its tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.stop_words import STOP_WORDS
from hybrid_search.encoders.local_card import as_json
from hybrid_search.encoders.query_table import special_ids
from hybrid_search.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = "vocab.txt"
"""A token a line; its number is the line's."""

CONTINUES = "##"
"""What a wordpiece inside a word begins with."""

_BLANK = "Ġ"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def wordpiece_tokenizer(folder: Path) -> Tokenizer:
    """Return BERT's tokenizer over a folder's `vocab.txt`, without truncation and padding.

    `tokenizer_config.json` says whether letters are made small (`do_lower_case`, true where it is silent), whether
    accents go (`strip_accents`, as the letters), and whether Chinese signs stand alone (`tokenize_chinese_chars`).

    Raises:
        ModelError: the vocabulary cannot be read, or lacks one of BERT's special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    try:
        lines = (folder / VOCABULARY).read_text("utf-8").split("\n")
    except (OSError, ValueError) as fault:
        raise ModelError(f"{folder / VOCABULARY} cannot be read: {fault}") from fault
    ids = {token.removesuffix("\r"): number for number, token in enumerate(lines) if token.strip()}
    missing = [token for token in _SPECIAL if token not in ids]
    if missing:
        raise ModelError(f"{folder / VOCABULARY} lacks {', '.join(missing)}; a vocabulary of BERT has {len(_SPECIAL)}.")
    config = as_json(folder, "tokenizer_config.json")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=config.get("do_lower_case", True) is not False,
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True) is not False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def term_names(tokenizer: Tokenizer, indices: Sequence[int]) -> list[str]:
    """Return the vocabulary's entry for each dimension; `#<index>` where there is none.

    An entry of a byte-level vocabulary (RoBERTa's) is shown as its text, not as its bytes: `Ġmusic` is music. What has
    no blank before it is a piece inside a word, `##orn`, unless the same text is also there with a blank before it.
    """
    as_text = _is_byte_level(tokenizer)
    names = [(int(index), tokenizer.id_to_token(int(index))) for index in indices]
    return [(_text(tokenizer, token) if as_text else token) if token else f"#{index}" for index, token in names]


def dimensions_of(tokenizer: Tokenizer, terms: Sequence[str], size: int) -> list[int | None]:
    """Return the dimension of each term as `term_names` writes it; None for one that is none of the model's.

    Of two entries of a byte-level vocabulary with one name, the one with a blank before it is meant; `name#number` is
    the other, as exports write it.

    Args:
        tokenizer: whose vocabulary names the dimensions.
        terms: their names.
        size: number of the model's dimensions; 0 if unknown.
    """
    ids = [
        _byte_level_id(tokenizer, term) if _is_byte_level(tokenizer) else tokenizer.token_to_id(term) for term in terms
    ]
    return [None if number is None or (size and number >= size) else number for number in ids]


def _byte_level_id(tokenizer: Tokenizer, term: str) -> int | None:
    found = _byte_level_names(tokenizer).get(term)
    name, _, number = term.rpartition("#")
    if found is None and name and number.isdecimal() and term_names(tokenizer, [int(number)]) == [name]:
        return int(number)
    return found


@lru_cache(maxsize=4)
def _byte_level_names(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the dimensions of a byte-level vocabulary by their names."""
    entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[0].startswith(_BLANK))
    numbers = [number for _, number in entries]
    return dict(zip(term_names(tokenizer, numbers), numbers, strict=True))


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    return type(tokenizer.decoder).__name__ == "ByteLevel"


def _text(tokenizer: Tokenizer, token: str) -> str:
    """Return a byte-level token as text; as it is where it is a special token, a blank or a part of a character."""
    written = str(tokenizer.decoder.decode([token]))
    text = written.strip()
    special = (added.content for added in tokenizer.get_added_tokens_decoder().values() if added.special)
    if token in special or not text or "\ufffd" in text:
        return token
    begins = written[0].isspace() or tokenizer.token_to_id(f"{_BLANK}{token}") is not None
    return text if begins else f"{CONTINUES}{text}"


def weighted_ids(
    folder: Path, tokenizer: Tokenizer, unweighted: Literal["", "punctuation", "stop_words"]
) -> NDArray[np.bool_]:
    """Return which token ids may have a weight, shape (largest id + 1,): all but special ones and what is left out.

    Args:
        folder: the model's, whose `special_tokens_map.json` may name special tokens.
        tokenizer: the model's.
        unweighted: as on its card.
    """
    vocabulary = tokenizer.get_vocab()
    found = np.zeros(max(vocabulary.values(), default=-1) + 1, dtype=bool)
    found[[number for token, number in vocabulary.items() if carries_weight(token, unweighted)]] = True
    found[special_ids(folder, tokenizer)] = False
    return found


def carries_weight(token: str, unweighted: Literal["", "punctuation", "stop_words"]) -> bool:
    """Say whether a word or wordpiece keeps its weight. Pieces inside words are no stop words.

    >>> [carries_weight(token, "stop_words") for token in ("music", "the", "##the", "##!", "$")]
    [True, False, True, False, False]
    """
    if unweighted and is_punctuation(token.removeprefix(CONTINUES)):
        return False
    return not (unweighted == "stop_words" and token.lower() in STOP_WORDS)


def is_punctuation(word: str) -> bool:
    """Say whether a word has nothing but punctuation and symbols; ASCII's `$`, `+`, `<`, `^` and the like are both."""
    return bool(word) and all(unicodedata.category(sign)[0] in "PS" for sign in word)
