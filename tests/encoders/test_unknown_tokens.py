"""What a model cannot read, with tokenizers of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: TID253

import hybrid_search
from hybrid_search.encoders.unknown_tokens import MAX_SHOWN, MAX_WORDS, Unread
from hybrid_search.protocols import Reading

[BUNDLED] = Path(hybrid_search.__file__).parent.glob("encoders/bundled/**/tokenizer.json")
UNREAD = Unread(Tokenizer.from_file(str(BUNDLED)))


def closed_words():
    tokenizer = Tokenizer(models.WordLevel({"<oov>": 0, "cat": 1, "mat": 2, ",": 3}, unk_token="<oov>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def unigram():
    vocabulary = [("<unk>", 0.0), ("▁cat", -1.0), ("▁mat", -1.5), ("▁", -2.0), (",", -2.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def of_bytes():
    alphabet = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("猫", ("猫",)),
        ("猫坐在垫", ("猫坐在垫",)),
        ("🎉🎈", ("🎉🎈",)),
        ("🎉 ... 🎈!", ("🎉", "🎈")),
        ("แมว", ("แมว",)),
        ("고양이", ("고양이",)),
        ("ⵣ ⵣ", ("ⵣ",)),
        ("x" * 101, ("x" * MAX_SHOWN + "…",)),
        ("", ()),
        ("\u200b\ufeff", ()),
        ("?!... —", ()),
        ("\x00\x01", ()),
    ],
)
def test_of_these_the_bundled_model_reads_nothing(text, unknown):
    reading, stretches = UNREAD.query(text, 256)
    assert reading.nothing
    assert reading.little
    assert stretches == unknown
    [same] = UNREAD.readings([text])
    assert same.nothing
    assert same.little


@pytest.mark.parametrize(
    "text", ["cat", "кошка", "γάτα", "قطة", "café", "cafe\u0301", "C++", "!=", "中国", "ねこ", "½ ™"]
)
def test_of_these_it_reads_something(text):
    reading, stretches = UNREAD.query(text, 256)
    assert (reading.nothing, stretches) == (False, ())
    assert UNREAD.readings([text]) == [reading]


def test_what_is_read_in_part_is_told():
    reading, stretches = UNREAD.query("the 猫 sat on 垫, and the 猫!", 256)
    assert reading == Reading(8, 3)
    assert not reading.little
    assert stretches == ("猫", "垫")
    assert Reading(4, 2).little is False
    assert Reading(4, 3).little is True


def test_a_long_query_is_told_by_what_the_model_reads_of_it():
    assert UNREAD.query("cat " * 300 + "猫", 256)[1] == ()
    many = " ".join(f"猫{n}猫" for n in range(100))
    assert len(UNREAD.query(many, 0)[1]) == 1
    assert len(UNREAD.query(" ".join(chr(0xAC00 + n) for n in range(100)), 0)[1]) == MAX_WORDS
    assert UNREAD.query("cat " * 300_000, 0)[0].tokens == 5_000


@pytest.mark.parametrize("made", [closed_words, unigram])
def test_other_closed_vocabularies(made):
    unread = Unread(made())
    assert unread.readings(["cat mat", "dog"]) == [unread.query(text, 0)[0] for text in ("cat mat", "dog")]
    assert unread.query("cat , mat", 0)[0].unknown == 0
    assert unread.query("dog", 0)[0].nothing or made is unigram
    assert unread.query("cat dog", 0)[1][0].strip() == "dog"


@pytest.mark.parametrize("text", ["猫", "cat", "🎉", "แมว"])
def test_a_vocabulary_of_bytes_knows_everything(text):
    unread = Unread(of_bytes())
    assert unread.query(text, 0)[0].unknown == 0
    assert not unread.readings([text])[0].nothing


def test_words_are_read_once_whatever_stands_between_them():
    tokenizer = Tokenizer.from_file(str(BUNDLED))
    whole = Unread(tokenizer)
    whole._by_words = False
    texts = ["the 猫 sat\non 垫,\tand the 猫!", "a\u3000b 🎉", "x" * 200 + " y", "", "[UNK] [SEP] a"]
    assert UNREAD.readings(texts) == whole.readings(texts) == UNREAD.readings(texts)


def test_a_normalizer_that_leaves_nothing():
    tokenizer = closed_words()
    tokenizer.normalizer = normalizers.Replace("cat", "")
    assert Unread(tokenizer).readings(["cat"]) == [Reading(0, 0)]
