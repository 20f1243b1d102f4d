"""Tokenizers of `vocab.txt`, the names of terms, and which tokens have a weight."""

from __future__ import annotations

import json

import pytest

from hybrid_search.encoders.hashing import dimension_of
from hybrid_search.encoders.vocabulary import (
    carries_weight,
    dimensions_of,
    is_punctuation,
    term_names,
    weighted_ids,
    wordpiece_tokenizer,
)
from hybrid_search.errors import ModelError
from tests import hub_models

ODD = [
    "",
    "Music, MUSIC!",
    "Ünïcödé naïve 東京 🙂",
    "a\u00adb [SEP] [UNK]",
    "x" * 300,
    "\x00\ufffd\u200b sea",
    "the\nsea\tband",
]


@pytest.fixture
def reference(tmp_path):
    from tokenizers import Tokenizer

    hub_models.tokenizer_files(tmp_path)
    found = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_vocabulary_file_reads_texts_as_the_tokenizer_file_does(tmp_path, reference, ending):
    hub_models.vocabulary_files(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(ending.join(hub_models.VOCABULARY).encode())
    ours = wordpiece_tokenizer(tmp_path)
    assert ours.get_vocab() == reference.get_vocab()
    for text in ODD:
        ours_read, theirs = ours.encode(text), reference.encode(text)
        assert (ours_read.tokens, ours_read.offsets) == (theirs.tokens, theirs.offsets)
    assert (ours.truncation, ours.padding) == (None, None)


def test_letters_are_made_small_unless_the_config_says_no(tmp_path):
    hub_models.vocabulary_files(tmp_path, lower=False)
    assert wordpiece_tokenizer(tmp_path).encode("sea SEA", add_special_tokens=False).tokens == ["sea", "[UNK]"]
    (tmp_path / "tokenizer_config.json").unlink()
    assert wordpiece_tokenizer(tmp_path).encode("sea SEA", add_special_tokens=False).tokens == ["sea", "sea"]


def test_a_vocabulary_that_is_not_berts_is_refused(tmp_path):
    hub_models.vocabulary_files(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nsea\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"lacks \[CLS\], \[SEP\], \[MASK\]"):
        wordpiece_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        wordpiece_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("unweighted", "left_out"),
    [("", set()), ("punctuation", set(".,!?'-")), ("stop_words", {*".,!?'-", "the", "of", "a", "s", "t", "about"})],
)
def test_which_tokens_have_a_weight(tmp_path, reference, unweighted, left_out):
    found = weighted_ids(tmp_path, reference, unweighted)
    without = {hub_models.VOCABULARY[place] for place in range(len(found)) if not found[place]}
    assert without >= left_out | set(hub_models.SPECIAL)
    assert not without & {"music", "##s", "##ing", "sea"}
    if unweighted != "stop_words":
        assert without == left_out | set(hub_models.SPECIAL)


def test_special_tokens_that_only_the_map_names_have_none(tmp_path, reference):
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"additional": ["sea"]}), encoding="utf-8")
    assert not weighted_ids(tmp_path, reference, "")[hub_models.VOCABULARY.index("sea")]


@pytest.mark.parametrize(
    ("word", "is_one"), [("...", True), ("$", True), ("🙂", True), ("a.", False), ("7", False), ("", False)]
)
def test_punctuation(word, is_one):
    assert is_punctuation(word) is is_one
    assert carries_weight(word, "punctuation") is not is_one
    assert carries_weight(word, "")


def test_names_of_wordpieces_are_the_entries(reference):
    place = hub_models.VOCABULARY.index("##ing")
    assert term_names(reference, [place, 5, 99_999]) == ["##ing", "a", "#99999"]


def test_names_of_a_byte_level_vocabulary_are_words():
    """As granite's, which is RoBERTa's."""
    from tokenizers import Tokenizer, decoders, models

    entries = ["<s>", "Ġmusic", "music", "orn", "Ġ", "ÃĤ", "Ã", "Ġcaf", "Ã©", "Ġ,"]
    tokenizer = Tokenizer(models.BPE({entry: number for number, entry in enumerate(entries)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    names = ["<s>", "music", "music", "##orn", "Ġ", "##Â", "Ã", "caf", "##é", ",", "#10"]
    assert term_names(tokenizer, range(11)) == names
    assert dimensions_of(tokenizer, [*names[:-1], "music#2", "orn#3", "#4", "nothing"], 0) == [
        0,
        1,
        1,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        2,
        None,
        None,
        None,
    ]
    assert dimensions_of(tokenizer, ["caf", "##é"], 8) == [7, None]


def test_dimensions_of_words_are_fixed():
    """Collections on disk are made with them."""
    assert [dimension_of(word) for word in ("film", "##s", "caf\u00e9")] == [
        1386861738,
        1600763769,
        dimension_of("cafe\u0301"),
    ]
    assert dimension_of("\ud83d") >= 0
    assert len({dimension_of(str(number)) for number in range(2000)}) == 2000
