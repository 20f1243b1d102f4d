"""Tokens counted word by word are those that the tokenizer counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers  # noqa: TID253

import hybrid_search
from hybrid_search.encoders import token_counter
from hybrid_search.encoders.token_counter import Counter
from hybrid_search.encoders.tokenizer import count_tokens

[BUNDLED] = Path(hybrid_search.__file__).parent.glob("encoders/bundled/**/tokenizer.json")


def bundled() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(BUNDLED))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


TOKENIZER = bundled()
COUNTER = Counter(TOKENIZER)

BLANKS = [
    " ",
    "\n",
    "\t",
    "\r\n",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1f",
    "\x85",
    "\xa0",
    "\u2028",
    "\u3000",
    "\u200b",
    "\ufeff",
]
SIGNS = ["\0", "\ufffd", "e\u0301", "\u0301", "İ", "Σς", "漢字", "\U0001f469\u200d\U0001f467", "ﬁ", "½", "[SEP]", "["]
WORDS = [
    "漢字仮名" * 30,
    "...!!!--",
    "(a+b)*c",
    "MASK]",
    "##ing",
    "don't",
    "unbelievably",
    "x" * 101,
    "y" * 99,
    "3.14",
    "a_b-c",
    "hello",
    "WORLD",
]
odd = st.sampled_from([*BLANKS, *SIGNS, *WORDS])
texts = st.lists(odd | st.text(max_size=8), max_size=30).map("".join)


@settings(deadline=None, max_examples=600)
@given(st.lists(texts, max_size=4))
def test_the_counts_are_those_of_the_tokenizer(some):
    assert COUNTER._by_words
    assert COUNTER(some) == count_tokens(TOKENIZER, some)


def test_a_word_is_read_once(monkeypatch):
    read = []
    counter = Counter(TOKENIZER)
    monkeypatch.setattr(
        token_counter, "count_tokens", lambda tokenizer, texts: read.extend(texts) or count_tokens(tokenizer, texts)
    )
    assert counter(["tea for two", "two for tea"]) == [5, 5]
    long = "z" * 65
    assert counter([f"tea {long}"]) == counter([f"{long} tea"]) == count_tokens(TOKENIZER, [f"tea {long}"])
    assert read == ["tea", "for", "two", long, long]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(token_counter, "MAX_KEPT", 10)
    counter = Counter(TOKENIZER)
    for start in range(0, 100, 5):
        text = " ".join(map(str, range(start, start + 7)))
        assert counter([text]) == count_tokens(TOKENIZER, [text])
        assert len(counter._known) <= 10
    text = " ".join(map(str, range(50)))
    assert counter([text, text]) == count_tokens(TOKENIZER, [text, text])


def byte_level(tokenizer):
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()


def no_words(tokenizer):
    tokenizer.add_tokens([AddedToken("two words")])


def lowercase(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", "_")])


def unigram(tokenizer):
    tokenizer.model = models.Unigram([("a", -1.0), (" b", -1.0)], unk_id=0)


@pytest.mark.parametrize("change", [byte_level, no_words, lowercase, unigram])
def test_other_tokenizers_read_the_whole_text(change):
    tokenizer = bundled()
    change(tokenizer)
    counter = Counter(tokenizer)
    assert not counter._by_words
    some = ["a b", "two words", ""]
    assert counter(some) == count_tokens(tokenizer, some)
