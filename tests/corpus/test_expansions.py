"""Files of expansions: every way in which they are published, and every way in which a line can be broken."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from contextlib import closing

import pytest

from hybrid_search.corpus.expansions import read_expansions
from hybrid_search.errors import CorpusError


def read(path):
    with closing(read_expansions(path)) as found:
        return {doc_id: found.of(doc_id) for doc_id in found.doc_ids()}


@pytest.fixture
def write(tmp_path):
    def write(content, name="expansions"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "row",
    [
        {"id": "d", "predicted_queries": ["one two", "three"]},
        {"_id": "d", "queries": ["one two", "three"]},
        {"doc_id": "d", "expansion": "one two\nthree"},
        {"doc_id": "d", "terms": [" one two ", "three"], "score": 3},
        {"id": None, "_id": "", "doc_id": "d", "queries": ["one two"], "terms": "three"},
    ],
)
def test_json_lines_of_every_field(write, row):
    assert read(write(json.dumps(row) + "\n")) == {"d": "one two\nthree"}


def test_numbers_are_ids_and_ids_are_one_however_they_are_composed(write):
    rows = [{"id": 7, "terms": "a"}, {"id": "e\u0301", "terms": "b"}, {"id": "\ud800", "terms": "c\ud800"}]
    lines = "\n".join(map(json.dumps, rows))
    assert read(write(lines)) == {"7": "a", "é": "b", "\ufffd": "c\ufffd"}


def test_lines_of_one_document_are_joined_in_their_order(write):
    assert read(write("d\tone two\ne\tother\n\nd\tthree\r\nd\t\nf\tmore\tcells\n")) == {
        "d": "one two\nthree",
        "e": "other",
        "f": "more\ncells",
    }
    assert read(write('\n{"id":"d","terms":"b"}\n{"id":"d","terms":"a"}\n{"id":"e","terms":[]}')) == {"d": "b\na"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_encodings_and_gzip(write, encoding, pack):
    assert read(write(pack("d\tcafé crème à la carte\ne\tdéjà vu\n".encode(encoding)))) == {
        "d": "café crème à la carte",
        "e": "déjà vu",
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "hold no line"),
        ("\n \n", "hold no line"),
        ('{"id": "a", "terms": "x"}\nd\ttext', ":2: not valid JSON"),
        ('{"id": "a", "terms": "x"}\n[1]', ":2: expected a JSON object, found a list"),
        ('{"terms": "x"}', ":1: no id: expected"),
        ('{"id": ["a"], "terms": "x"}', ":1: no id"),
        ('{"id": true, "terms": "x"}', ":1: no id"),
        ('{"id": 1.5, "terms": "x"}', ":1: no id"),
        ('{"id": "a", "text": "x"}', ":1: no expansion: expected one of the fields queries"),
        ('{"id": "a", "terms": [2023, 4]}', ":1: expected text, or a list of texts"),
        ('{"id": "a", "terms": null}', ":1: expected text"),
        ('{"id": "a", "queries": [["x"]]}', ":1: expected text"),
        ("a\tone\nwhat is tea\n", ":2: expected a JSON object, or an id, a tab and text"),
        ("what is tea\nwho drinks it\n", "2 lines are broken.*paste ids.txt queries.txt"),
        ("\ttext\n", ":1: expected"),
        (b"a\tx\nb\t\xff\xfe\xe9x\nc\tcaf\xc3\xa9\nd\tcaf\xc3\xa9\n", ":2: byte 0xff"),
        (b"\0\1\2" * 50, "looks binary"),
        (gzip.compress(b"a\tx\n" * 9_000, mtime=0)[:60], "cannot be read"),
        (gzip.compress(b"a\tx\n", mtime=0)[:-8] + b"12345678", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(write, content, reason):
    path = write(content)
    with pytest.raises(CorpusError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "Nothing was written." in str(caught.value)


def test_of_many_broken_lines_the_first_are_named(write):
    with pytest.raises(CorpusError, match=r"2,000 lines are broken .*:5: .*; and 1,995 more"):
        read(write("text\n" * 2_000))


def test_a_large_file_is_not_held_in_memory(tmp_path):
    path = tmp_path / "large.tsv"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"d{n}\t{'what is this about ' * 20}{n}\n" for n in range(60_000))
    tracemalloc.start()
    with closing(read_expansions(path)) as found:
        assert found.of("d59999").endswith(" 59999")
        assert found.of("nobody") == ""
        assert sum(1 for _ in found.doc_ids()) == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 20e6
    assert peak < 3e6
