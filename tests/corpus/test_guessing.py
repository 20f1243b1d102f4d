"""Encodings that nothing names: how many short texts are read right, and what may be asked for instead."""

from __future__ import annotations

import time

import pytest

from hybrid_search.corpus.decoding import Encoding, Undecodable, decode, sniff
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.guessing import check_encoding, guess_encodings
from hybrid_search.corpus.readers import read, read_all
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import Document, Failure, Guessed
from tests.corpus.legacy_texts import ENCODINGS, FRAGMENTS, OTHERS, SENTENCES

CASES = [
    (text, encoding)
    for language, encodings in ENCODINGS.items()
    for encoding in encodings.split()
    for text in SENTENCES[language]
]


@pytest.mark.parametrize(("text", "encoding"), CASES)
def test_a_sentence_in_any_common_encoding_is_read_right(text, encoding):
    found = decode(text.encode(encoding))
    assert found.text == text
    assert found.encoding.guessed


def right(cases) -> int:
    return sum(decode(text.encode(encoding)).text == text for text, encoding in cases)


def test_how_many_other_texts_are_read_right():
    assert len(CASES) == 108
    assert (len(OTHERS), right(OTHERS)) == (52, 48)
    assert (len(FRAGMENTS), right(FRAGMENTS)) == (66, 60)


def test_a_long_text_is_guessed_by_all_of_it():
    text = "plain words\n" * 20_000 + "Žuvys plaukia per ežerą\n" + "more words\n" * 20_000 + "o žvejai laukia kranto\n"
    assert decode(text.encode("cp1257")).text == text


def test_where_the_first_guess_does_not_fit_the_whole_the_next_is_taken():
    late = (
        "Où est passée la clé de la bibliothèque ?\n".encode("cp1252") * 4_000 + b"\x98\x81 a byte that is not there\n"
    )
    assert len(late) > 1 << 17
    assert decode(late).text.startswith("Où est passée")


@pytest.mark.parametrize(
    "data", [b"\xe9" * 65_536, bytes(range(128, 256)) * 512, b"a\xe9" * 32_768, b"<?xml encoding='\xe9" * 4_000]
)
def test_guessing_takes_no_time(data):
    began = time.perf_counter()
    guess_encodings(data)
    assert time.perf_counter() - began < 5


def test_no_word_is_of_two_alphabets():
    french = "Perché il caffè è già finito? La città è più bella la domenica."
    assert "cp1251" not in guess_encodings(french.encode("cp1252"))
    assert guess_encodings("Привет мир, а это SQL-сервер и два слова".encode("cp1251"))[0] == "cp1251"


# ---- an encoding that is asked for


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("cp437", "Straße und Café"),
        ("mac-roman", "Müller — “né” à Paris"),
        ("utf-16-le", "plain text in wide letters ünd 漢字"),
        ("utf-16-be", "plain text in wide letters ünd 漢字"),
        ("utf-32-le", "wide ü"),
        ("iso2022_jp", "今日は雨なので"),
        ("hz", "今天下雨"),
        ("cp500", "Mainframe groß"),
        ("shift_jis", "東京"),
        ("latin-1", "café"),
    ],
)
def test_what_is_no_utf8_is_read_as_asked(tmp_path, asked, text):
    (tmp_path / "a.txt").write_bytes(text.encode(asked))
    (tmp_path / "b.txt").write_text("sure: ünd 漢字", encoding="utf-8")
    (tmp_path / "c.txt").write_text("marked ü", encoding="utf-16")
    (tmp_path / "d.csv").write_bytes(f"id,text\n1,{text}\n".encode(asked))
    (tmp_path / "e.jsonl").write_bytes(('{"text": "' + text + '"}\n').encode(asked))
    (tmp_path / "f.json").write_bytes(('{\n"text": "' + text + '"}\n').encode(asked))
    found = list(read([tmp_path], fields=FieldMap(encoding=asked)))
    assert [item.text for item in found] == [text, "sure: ünd 漢字", "marked ü", text, text, text]


def test_what_does_not_fit_the_encoding_asked_for_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 \x81")
    [found] = read([tmp_path], fields=FieldMap(encoding="cp1252"))
    assert isinstance(found, Failure)
    assert found.reason == "byte 0x81 at offset 5 is not cp1252 text (character maps to <undefined>)"


@pytest.mark.parametrize(
    "name", ["utf-9", "rot13", "base64", "idna", "punycode", "unicode_escape", "undefined", "", " ", "a\0b", "zlib"]
)
def test_a_bad_name_is_refused_at_once(name):
    with pytest.raises(InvalidArgument, match="is not known"):
        check_encoding(name)
    if name:
        with pytest.raises(InvalidArgument, match="is not known"):
            FieldMap(encoding=name)


# ---- guesses are told


@pytest.mark.parametrize("suffix", ["txt", "md", "csv", "jsonl", "json"])
def test_a_guess_is_told_behind_the_documents(tmp_path, suffix):
    text = "Вчера вечером мы долго гуляли по набережной"
    content = {"csv": f"id,text\n1,{text}\n", "jsonl": f'{{"text": "{text}"}}\n', "json": f'[{{"text": "{text}"}}]'}
    (tmp_path / f"a.{suffix}").write_bytes(content.get(suffix, text).encode("koi8_r"))
    document, guess = read_all([tmp_path])
    assert isinstance(document, Document)
    assert document.text == text
    assert guess == Guessed(str(tmp_path / f"a.{suffix}"), "koi8-r")


def test_utf8_and_marks_are_no_guess():
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert not sniff("grün".encode(encoding)).guessed
    assert sniff(b"ascii") == Encoding("utf-8")
    with pytest.raises(Undecodable):
        sniff(bytes(range(256)))
