"""Queries as weights of terms: what is typed, and files of encoded topics, whole and broken."""

from __future__ import annotations

import gzip
import json
import math

import pytest

from hybrid_search.corpus.query_vectors import QueryVector, read_query_vectors
from hybrid_search.corpus.term_weights import check_term_weights, parse_weights
from hybrid_search.errors import CorpusError, InvalidArgument


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("heart=2.1 attack=1.4", {"heart": 2.1, "attack": 1.4}),
        ("heart", {"heart": 1.0}),
        ("a=b=2", {"a=b": 2.0}),
        ("x==1", {"x=": 1.0}),
        ("'new york'=3 \"o'brien\"=1", {"new york": 3.0, "o'brien": 1.0}),
        ("a=1 a=2 a", {"a": 4.0}),
        ("##ing=1e-3\n\t[CLS]=2", {"##ing": 0.001, "[CLS]": 2.0}),
        ("сердце=1 心=2", {"сердце": 1.0, "心": 2.0}),
        ("'#5'=1 #6=2", {"#5": 1.0, "#6": 2.0}),
    ],
)
def test_what_is_typed_is_read_as_terms_and_weights(text, weights) -> None:
    assert parse_weights(text) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no term"),
        (" \n ", "no term"),
        ("=2", "A term of the vector is ''|The weight of ''"),
        ("heart=", "weight of 'heart' is ''"),
        ("heart=much", "weight of 'heart' is 'much'"),
        ("heart=0", "weight of 'heart' is 0.0"),
        ("heart=-1", "weight of 'heart' is -1.0"),
        ("heart=nan", "weight of 'heart' is nan"),
        ("heart=inf", "weight of 'heart' is inf"),
        ("heart=1e39", "weight of 'heart' is 1e"),
        ("heart=1e-50", "weight of 'heart' is 1e-50"),
        ("don't=1", "no closing quotation"),
        ("heart=2,1", "weight of 'heart' is '2,1'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_value(text, told) -> None:
    with pytest.raises(InvalidArgument, match=told):
        check_term_weights(parse_weights(text))


@pytest.mark.parametrize(
    "weights",
    [{}, {"": 1}, {" ": 1}, {3: 1}, {"a": True}, {"a": "1"}, {"a": None}, {"a": math.nan}, {"a": 10**400}, {"a": -1}],
    ids=str,
)
def test_a_mapping_is_held_to_the_same(weights) -> None:
    with pytest.raises(InvalidArgument, match=r"term|weight"):
        check_term_weights(weights)


def test_a_lone_surrogate_is_replaced_and_numbers_become_plain() -> None:
    np = pytest.importorskip("numpy")
    found = check_term_weights({"a\ud800": np.float32(1.5), "b": 2})
    assert found == {"a\ufffd": 1.5, "b": 2.0}
    assert {type(value) for value in found.values()} == {float}


WANTED = [QueryVector("1", {"heart": 2.0, "attack": 1.0}), QueryVector("q two", {"##ing": 1.0, "new": 1.0})]
FORMS = {
    "vectors": [{"id": 1, "vector": {"heart": 2, "attack": 1}}, {"_id": "q two", "vector": {"##ing": 1.0, "new": 1}}],
    "titles": [{"qid": "1", "title": "heart attack heart"}, {"query_id": "q two", "title": "new ##ing"}],
    "contents": [{"id": "1", "contents": "heart heart attack"}, {"id": "q two", "contents": "##ing  new"}],
    "table": ["1\theart attack heart", "q two\t##ing new"],
}


def written(path, rows, pack=lambda data: data, encoding="utf-8"):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(pack("".join(f"{line}\n" for line in lines).encode(encoding)))
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_every_form_is_read_plain_and_packed_whatever_the_file_is_called(tmp_path, form, pack) -> None:
    assert list(read_query_vectors(written(tmp_path / "topics", FORMS[form], pack))) == WANTED


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding) -> None:
    file = written(tmp_path / "topics.jsonl", ["", *map(json.dumps, FORMS["vectors"])], encoding=encoding)
    assert list(read_query_vectors(file)) == WANTED


def test_line_ends_of_windows_and_blank_lines_are_nothing(tmp_path) -> None:
    file = tmp_path / "topics.tsv"
    file.write_bytes(b"\r\n1\theart attack heart\r\n\r\nq two\t##ing new")
    assert list(read_query_vectors(file)) == WANTED


GOOD = {"id": "1", "vector": {"heart": 2}}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([GOOD, '{"id": "2", "vector": {"he'], ":2: not valid JSON"),
        ([GOOD, '{"id": "2"} {'], ":2: not valid JSON"),
        ([GOOD, "2\theart"], ":2: not valid JSON"),
        ([GOOD, "[1]"], ":2: expected a JSON object"),
        (["{" * 100_000], ":1: not"),
        ([GOOD, {"id": "2", "vector": {"heart": "much"}}], ":2: The weight of 'heart' is 'much'"),
        ([GOOD, '{"id": "2", "vector": {"heart": NaN}}'], ":2: The weight of 'heart' is nan"),
        ([GOOD, '{"id": "2", "vector": {"heart": 1e999}}'], ":2: The weight of 'heart' is inf"),
        ([GOOD, {"id": "2", "vector": {"heart": 0}}], ":2: The weight of 'heart' is 0"),
        ([GOOD, {"id": "2", "vector": {"heart": -3.5}}], ":2: The weight of 'heart' is -3.5"),
        ([GOOD, {"id": "2", "vector": {"heart": True}}], ":2: The weight of 'heart' is True"),
        ([GOOD, {"id": "2", "vector": {}}], ":2: The vector has no term"),
        ([GOOD, {"id": "2", "vector": ["heart"]}], r":2: vector is \['heart'\]"),
        ([GOOD, {"id": "2", "text": "heart"}], ':2: expected "vector"'),
        ([GOOD, {"id": "2", "title": 3}], ':2: expected "vector"'),
        ([GOOD, {"id": None, "vector": {"heart": 1}}], ":2: the id of the query"),
        ([GOOD, {"id": " ", "vector": {"heart": 1}}], ":2: the id of the query"),
        ([GOOD, {"vector": {"heart": 1}}], ":2: the id of the query"),
        ([GOOD, {**GOOD, "id": "2"}, {**GOOD, "id": 1}], ":3: the query id '1' stands on line 1 already"),
        (["1\theart", "1\theart"], ":2: the query id '1' stands on line 1 already"),
        (["1\theart", "2"], ":2: expected the id of the query, a tab"),
        (["1\theart", "2\t"], ":2: The vector has no term"),
        (["1\theart", "\theart"], ":2: expected the id"),
        (["1\theart", "2\the\0art"], ":2: looks binary"),
        ([], "the file is empty"),
        (["", "  "], "the file is empty"),
    ],
)
def test_what_is_broken_is_refused_with_its_line(tmp_path, rows, told) -> None:
    file = written(tmp_path / "topics", rows)
    with pytest.raises(CorpusError, match=told) as caught:
        list(read_query_vectors(file))
    assert str(caught.value).startswith(str(file))


def test_other_encodings_and_cut_or_damaged_archives_are_refused(tmp_path) -> None:
    latin = tmp_path / "latin"
    latin.write_bytes("1\tcafé\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin:1: byte 0xe9 .* is not utf-8"):
        list(read_query_vectors(latin))
    packed = gzip.compress("".join(f"{n}\tterm{n * n} word{n}\n" for n in range(5000)).encode())
    for name, data in {
        "cut": packed[: len(packed) // 2],
        "damaged": packed[:2000] + bytes(300) + packed[2300:],
    }.items():
        file = tmp_path / name
        file.write_bytes(data)
        with pytest.raises(CorpusError, match=name):
            list(read_query_vectors(file))
    for odd in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CorpusError, match="cannot be read"):
            list(read_query_vectors(odd))


def test_a_large_file_is_read_as_it_is_asked_for(tmp_path) -> None:
    file = written(tmp_path / "many.gz", (f"{n}\tterm{n} term{n} word" for n in range(50_000)), gzip.compress)
    queries = read_query_vectors(file)
    assert next(queries) == QueryVector("0", {"term0": 2.0, "word": 1.0})
    assert sum(1 for _ in queries) == 49_999
