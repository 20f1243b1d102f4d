"""Sources to documents: what each format gives, and what each kind of broken input is called."""

from __future__ import annotations

import io
import itertools
import os
import sys
import tracemalloc

import numpy as np
import pytest

from hybrid_search.corpus.decoding import SAMPLE_BYTES
from hybrid_search.corpus.fields import document_of
from hybrid_search.corpus.readers import FieldMap, count_documents, read
from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.types import Document, Failure, Place


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, so that sources and origins are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def ids(found):
    return [item.doc_id if isinstance(item, Document) else item for item in found]


# ---- JSON lines


def test_jsonl_gives_id_title_text_and_flat_metadata(here):
    put(
        here / "a.jsonl",
        '{"_id": "x", "title": "T", "text": "body", "year": 1999, "metadata": {"url": "u", "year": 1}}\n',
    )
    assert list(read(["a.jsonl"])) == [Document("x", "body", "T", {"year": 1999, "url": "u"}, "a.jsonl:1")]


@pytest.mark.parametrize(
    ("record", "doc_id"),
    [
        ('{"_id": 7, "id": 8, "text": "t"}', "7"),
        ('{"id": "a b", "doc_id": 1, "text": "t"}', "a b"),
        ('{"doc_id": 1.5, "text": "t"}', "1.5"),
        ('{"docid": "007", "text": "t"}', "007"),
        ('{"docno": "AP-1", "text": "t"}', "AP-1"),
        ('{"_id": null, "id": "", "docno": "z", "text": "t"}', "z"),
        ('{"_id": "a\\ud800", "text": "t"}', "a\ufffd"),
        ('{"text": "t"}', "a.jsonl:1"),
    ],
)
def test_ids_are_strings(here, record, doc_id):
    put(here / "a.jsonl", record)
    assert ids(read(["a.jsonl"])) == [doc_id]


@pytest.mark.parametrize("field", ["text", "contents", "content", "body", "abstract", "description"])
def test_the_usual_text_fields_are_known(here, field):
    put(here / "a.jsonl", f'{{"_id": "x", "{field}": "words", "other": "o"}}')
    assert list(read(["a.jsonl"])) == [Document("x", "words", "", {"other": "o"}, "a.jsonl:1")]


def test_the_first_text_field_with_content_wins(here):
    put(here / "a.jsonl", '{"_id": "x", "text": " ", "body": "b", "abstract": "a"}')
    assert list(read(["a.jsonl"])) == [Document("x", "b", "", {"abstract": "a"}, "a.jsonl:1")]


def test_a_title_alone_is_the_text(here):
    put(here / "a.jsonl", '{"_id": "x", "title": "T", "text": ""}')
    assert list(read(["a.jsonl"])) == [Document("x", "T", "", {}, "a.jsonl:1")]


def test_a_list_of_strings_is_paragraphs(here):
    put(here / "a.jsonl", '{"_id": "x", "text": ["one", "two"]}')
    assert next(read(["a.jsonl"])).text == "one\n\ntwo"


def test_named_fields(here):
    put(here / "a.jsonl", '{"_id": "x", "isbn": 5, "title": "T", "text": "b", "summary": "s", "n": 1}')
    both = FieldMap(id_field="isbn", text_fields=("title", "text", "summary"))
    assert list(read(["a.jsonl"], fields=both)) == [Document("5", "b\n\ns", "T", {"_id": "x", "n": 1}, "a.jsonl:1")]
    text_only = FieldMap(text_fields=("summary",))
    assert list(read(["a.jsonl"], fields=text_only)) == [
        Document("x", "s", "", {"isbn": 5, "title": "T", "text": "b", "n": 1}, "a.jsonl:1")
    ]
    headline = FieldMap(title_field="summary", text_fields=("title", "text"))
    assert list(read(["a.jsonl"], fields=headline)) == [Document("x", "T\n\nb", "s", {"isbn": 5, "n": 1}, "a.jsonl:1")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "t"', "not valid JSON: Expecting ',' delimiter (column 13)"),
        ("hello", "not valid JSON: Expecting value (column 1)"),
        ("[1, 2]", "expected a JSON object, found a list"),
        ('"t"', "expected a JSON object, found a string"),
        ("null", "expected a JSON object, found null"),
        ('{"_id": "x"}', "no text: it has the fields '_id'"),
        ("{}", "no text: it has the fields none"),
        ('{"_id": "x", "text": " \\n"}', "no text: it has the fields '_id', 'text'"),
        ('{"_id": ["x"], "text": "t"}', "the id field '_id' holds a list, not a string or a number"),
        ('{"text": {"a": 1}}', "the field 'text' holds an object, not text"),
        ('{"title": ["a", 1], "text": "t"}', "the field 'title' holds a list, not text"),
        ('{"text": "t", "a": ' + "[" * 33 + "]" * 33 + "}", "the field 'a': nested deeper than 32"),
        ('{"text": "t", "a": ' + "[" * 200_000 + "]" * 200_000 + "}", "not readable JSON: nested too deep"),
    ],
)
def test_a_broken_line_is_named_and_the_others_go_on(here, line, reason):
    put(here / "a.jsonl", '{"_id": "1", "text": "t"}\n' + line + '\n\n{"_id": "2", "text": "t"}\n')
    assert ids(read(["a.jsonl"])) == ["1", Failure("a.jsonl:2", reason), "2"]


def test_nesting_of_32_is_still_fine(here):
    put(here / "a.jsonl", '{"text": "t", "a": ' + "[" * 32 + "]" * 32 + "}")
    assert isinstance(next(read(["a.jsonl"])), Document)


def test_missing_named_fields_list_those_that_exist(here):
    put(
        here / "a.jsonl",
        '{"_id": "1", "text": "t"}\n{"_id": "2", "text": "t", "isbn": "i"}\n{"isbn": "", "text": "t"}\n',
    )
    assert ids(read(["a.jsonl"], fields=FieldMap(id_field="isbn"))) == [
        Failure("a.jsonl:1", "no field 'isbn'; there are '_id', 'text'"),
        "i",
        Failure("a.jsonl:3", "the id field 'isbn' is empty"),
    ]
    wanted = FieldMap(title_field="headline", text_fields=("text", "summary"))
    assert next(read(["a.jsonl"], fields=wanted)).reason == "no fields 'headline', 'summary'; there are '_id', 'text'"


def test_only_a_line_feed_ends_a_line(here):
    put(
        here / "a.jsonl",
        '{"_id": "1", "text": "a\u2028b\x85c\x0bd"}\r\n{"_id": "2", "text": "t"}'.replace("\x0b", "\\u000b"),
    )
    assert [item.text for item in read(["a.jsonl"])] == ["a\u2028b\x85c\x0bd", "t"]


def test_metadata_holds_json_values_only(here):
    put(
        here / "a.jsonl",
        '{"text": "t", "nan": NaN, "inf": [Infinity, 1], "none": null, "deep": {"x": NaN, "y": "\\udc00"},'
        ' "\\ud800": true, "big": 123456789012345678901234567890, "zero": 0, "empty": ""}',
    )
    assert next(read(["a.jsonl"])).metadata == {
        "inf": [None, 1],
        "deep": {"x": None, "y": "\ufffd"},
        "\ufffd": True,
        "big": "123456789012345678901234567890",
        "zero": 0,
        "empty": "",
    }


def test_surrogate_pairs_are_characters_and_lone_ones_are_replaced(here):
    put(here / "a.jsonl", '{"title": "\\ud83d\\ude00", "text": "a\\ud800b\\u0000c"}')
    found = next(read(["a.jsonl"]))
    assert (found.title, found.text) == ("\U0001f600", "a\ufffdb\ufffdc")


# ---- .json


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"_id": "1", "text": "t"}\n{"_id": "2", "text": "t"}\n', ["1", "2"]),
        ('{\n  "_id": "1",\n  "text": "t"\n}\n', ["1"]),
        ('\n [ {"_id": "1", "text": "t"} ,\n{"_id": "2", "text": "t"}]\n', ["1", "2"]),
        ('[{"text": "t"}, 5]', ["a.json:1", Failure("a.json:2", "expected a JSON object, found a number")]),
        ("[]", [Failure("a.json", "the array is empty")]),
        ("", [Failure("a.json", "the file is empty")]),
        (" \n", [Failure("a.json", "the file is empty")]),
        (
            '{"_id": "1"\n{"_id": "2", "text": "t"}\n',
            [Failure("a.json:1", "not valid JSON: Expecting ',' delimiter (column 12)"), "2"],
        ),
        ('{\n"_id": "1"\n', [Failure("a.json:1", "not valid JSON: Expecting ',' delimiter (line 2, column 11)")]),
        ('{\n"_id": "1",\n"text": "t"\n}\n{\n"text": "t"\n}\n\n', ["1", "a.json:2"]),
        (
            '{\n"_id": "1",\n"text": "t"\n}\n[2]\n{\nx}',
            [
                "1",
                Failure("a.json:2", "expected a JSON object, found a list"),
                Failure(
                    "a.json:3",
                    "not valid JSON: Expecting property name enclosed in double quotes (line 7, column 1); the rest is "
                    "left out",
                ),
            ],
        ),
        ('{"docs": []}', [Failure("a.json:1", "no text: it has the fields 'docs'")]),
    ],
)
def test_json_files(here, content, expected):
    put(here / "a.json", content)
    assert ids(read(["a.json"])) == expected


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ('{"text": }]', "Expecting value"),
        ('{"text": "t"', "Expecting ',' delimiter"),
        ("", "the array is never closed"),
    ],
)
def test_an_array_is_given_up_at_its_first_broken_element(here, tail, reason):
    put(here / "a.json", '[{"_id": "1", "text": "t"}, ' + tail)
    first, second = ids(read(["a.json"]))
    assert first == "1"
    assert second.origin == "a.json:2"
    assert reason in second.reason
    assert second.reason.endswith("; the rest of the array is left out")


@pytest.mark.parametrize("tail", ["] x", '{"text": "u"}]'])
def test_an_array_with_something_odd_behind_an_element(here, tail):
    put(here / "a.json", '[{"_id": "1", "text": "t"}' + tail)
    assert isinstance(list(read(["a.json"]))[1], Failure)


def test_an_array_longer_than_the_buffer_with_elements_longer_than_it(here):
    long = "x" * 150_000
    put(
        here / "a.json",
        "[" + ",\n".join(f'{{"_id": {n}, "text": "{long if n % 40 == 0 else n}"}}' for n in range(9000)) + "]",
    )
    found = list(read(["a.json"]))
    assert [item.doc_id for item in found] == [str(n) for n in range(9000)]
    assert len(found[40].text) == 150_000
    assert count_documents(["a.json"]) == 9000


def test_a_number_that_the_buffers_end_cuts_in_two_is_one_element(here):
    put(here / "a.json", "[" + " " * (SAMPLE_BYTES - 3) + "12345]")
    assert list(read(["a.json"])) == [Failure("a.json:1", "expected a JSON object, found a number")]


# ---- text and Markdown


def test_plain_text(here):
    put(here / "docs" / "a.txt", "\ufeffline one\r\nline two\rthree\n")
    given = os.path.normpath("docs/a.txt")
    expected = Document("a.txt", "line one\nline two\nthree\n", "", {"path": "a.txt", "suffix": ".txt"}, given, line=1)
    assert list(read([given])) == [expected]
    assert list(read(["docs"])) == [expected]


def test_a_named_file_is_plain_text_whatever_its_suffix(here):
    put(here / "README", "hello")
    put(here / "main.py", "print(1)")
    assert ids(read(["README", "main.py"])) == ["README", "main.py"]


def test_markdown_takes_its_title_and_metadata_from_the_front_matter(here):
    put(
        here / "a.md",
        '---\ntitle: "On: tea"\nyear: 1946\nrating: 4.5\ndraft: false\ntags: [a, b]\n'
        "note: a # comment\nnested:\n  k: v\n"
        "zip: 01234\nnothing: null\ndate: 2020-01-02\n---\n# Heading\n\nBody\n",
    )
    assert list(read(["a.md"])) == [
        Document(
            "a.md",
            "# Heading\n\nBody\n",
            "On: tea",
            {
                "year": 1946,
                "rating": 4.5,
                "draft": False,
                "tags": ["a", "b"],
                "note": "a",
                "nested": {"k": "v"},
                "zip": "01234",
                "date": "2020-01-02",
                "path": "a.md",
                "suffix": ".md",
            },
            "a.md",
            "markdown",
            (Place(0, {"heading": "Heading"}),),
            14,
        )
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n# The *Title* #\n\n# Second", "The Title"),
        ("```\n# code\n```\n# Real", "Real"),
        ("~~~~\n# code\n~~~\n# still\n~~~~\n# Real", "Real"),
        ("Underlined\n====\n\nbody", "Underlined"),
        ("## Two\n#hash\nbody", ""),
        ("body\n\n====\n", ""),
        ("#\n# Real", "Real"),
        ("---\nyear: 1\n---\n# Real", "Real"),
        ("---\nnot closed\n# Real", "Real"),
    ],
)
def test_markdown_headings(here, text, title):
    put(here / "a.markdown", text)
    assert next(read(["a.markdown"])).title == title


def test_markdown_with_a_title_only(here):
    put(here / "a.md", "---\ntitle: Only\n---\n")
    put(here / "b.md", "---\nyear: 1\n---\n \n")
    first, second = read(["a.md", "b.md"])
    assert (first.text, first.title) == ("Only", "")
    assert second == Failure("b.md", "no text: the file holds only white space or front matter")


# ---- encodings and junk

FRENCH = "Le café est très bon, déjà vu à l'été dernier"
RUSSIAN = "Привет мир, это проверка кодировки текста"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", FRENCH),
        ("utf-8-sig", FRENCH),
        ("utf-16", FRENCH),
        ("utf-32", FRENCH),
        ("cp1252", FRENCH),
        ("latin-1", "café"),
        ("cp1251", RUSSIAN),
        ("shift_jis", "これは日本語の文章です。文字コードを確認します。"),
        ("gb18030", "这是一个中文句子，用来检测编码。"),
    ],
)
@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "json", "md"])
def test_encodings(here, encoding, text, suffix):
    content = {
        "jsonl": f'{{"_id": "1", "text": "{text}"}}\n{{"_id": "2", "text": "plain"}}\n',
        "json": f'[{{"_id": "1", "text": "{text}"}}]',
        "csv": f'id,text\n1,"{text}"\n2,plain\n',
    }.get(suffix, text)
    put(here / f"a.{suffix}", content.encode(encoding))
    first = next(read([f"a.{suffix}"]))
    assert first.text == text
    assert "\ufeff" not in first.doc_id + "".join(first.metadata)


@pytest.mark.parametrize(
    "text",
    [
        "Où est la bibliothèque ? Là-bas, près du café.",
        "Strauß über Größe, Äpfel und Öl; fünf schöne Mädchen",
        "São Paulo não é a capital; coração, maçã, pão",
        "Året er går, på øen står æblet",
    ],
)
def test_western_european_texts_are_windows_1252(here, text):
    put(here / "a.txt", text.encode("cp1252"))
    assert next(read(["a.txt"])).text == text


def test_a_long_line_in_a_code_page_of_several_bytes(here):
    text = "これは日本語の文章です。文字コードを確認します。" * 3000
    put(here / "a.txt", text.encode("shift_jis"))
    put(here / "b.jsonl", f'{{"text": "{text}"}}\n'.encode("shift_jis"))
    assert [item.text for item in read(["a.txt", "b.jsonl"])] == [text, text]


def test_big_endian_marks(here):
    put(here / "a.txt", b"\xfe\xff" + FRENCH.encode("utf-16-be"))
    put(here / "b.txt", b"\x00\x00\xfe\xff" + FRENCH.encode("utf-32-be"))
    assert [item.text for item in read(["a.txt", "b.txt"])] == [FRENCH, FRENCH]


def test_one_damaged_line_does_not_change_how_the_others_are_read(here):
    lines = ['{"_id": "1", "text": "café"}', '{"_id": "2", "text": "naïve"}', '{"_id": "4", "text": "über"}']
    raw = [line.encode() for line in lines]
    raw.insert(2, b'{"_id": "3", "text": "caf\xe9"}')
    put(here / "a.jsonl", b"\n".join(raw))
    found = list(read(["a.jsonl"]))
    assert [item.text for item in found if isinstance(item, Document)] == ["café", "naïve", "über"]
    assert found[2] == Failure("a.jsonl:3", "byte 0xe9 at offset 25 is not utf-8 text (invalid continuation byte)")


def test_bytes_beyond_the_sample_are_decoded_too(here):
    ascii_part = "plain words. " * 8000
    put(here / "late.txt", ascii_part.encode() + FRENCH.encode("cp1252"))
    put(here / "cut.txt", b"x" * 65535 + "é".encode() + b"\nend")
    put(here / "damaged.txt", ascii_part.encode() + FRENCH.encode() + b"\n" + FRENCH.encode() + b"\n\xff\xfe\n")
    late, cut, damaged = read(["late.txt", "cut.txt", "damaged.txt"])
    assert late.text == ascii_part + FRENCH
    assert cut.text.endswith("xé\nend")
    assert damaged.reason.startswith("byte 0xff at offset")


JUNK = bytes(range(256)) * 40


@pytest.mark.parametrize("suffix", ["txt", "md", "rst", "log", "text", "jsonl", "ndjson", "json", "csv", "tsv", "bin"])
@pytest.mark.parametrize("head", [b"", b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_binary_junk_is_one_failure_in_every_format(here, suffix, head):
    put(here / f"a.{suffix}", head + JUNK)
    (only,) = read([f"a.{suffix}"])
    assert only.origin == f"a.{suffix}"
    assert only.reason.startswith("looks binary")


def test_a_nul_in_a_text_file(here):
    put(here / "a.txt", "words " * 100 + "\0")
    assert list(read(["a.txt"])) == [Failure("a.txt", "looks binary (NUL bytes), not like text")]


def test_a_nul_in_a_line_fails_that_line(here):
    good = '{"_id": "1", "text": "some words to read"}\n'
    put(here / "a.jsonl", good + '{"text": "\0"}\n' + good)
    assert ids(read(["a.jsonl"])) == ["1", Failure("a.jsonl:2", "looks binary (NUL bytes)"), "1"]
    put(here / "a.csv", "id,text\n1,some words to read here\n2,b\0ad\n3,fine words\n")
    assert ids(read(["a.csv"])) == ["1", Failure("a.csv:3", "looks binary (NUL bytes)"), "3"]


@pytest.mark.parametrize("suffix", ["txt", "md", "jsonl", "json", "csv", "tsv", "parquet"])
def test_an_empty_file_is_a_failure(here, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    put(here / f"a.{suffix}", "")
    assert list(read([f"a.{suffix}"])) == [Failure(f"a.{suffix}", "the file is empty")]


def test_white_space_is_no_text(here):
    put(here / "a.txt", " \n\t")
    assert list(read(["a.txt"])) == [Failure("a.txt", "no text: the file holds only white space")]


# ---- stdin


def stdin(content: bytes):
    return io.BytesIO(content)


def test_stdin_with_json_lines(here):
    content = b'\n \n{"text": "a"}\n{"_id": "x", "text": "b"}\nbroken\n'
    assert ids(read(["-"], stdin=stdin(content))) == [
        "stdin:3",
        "x",
        Failure("-:5", "not valid JSON: Expecting value (column 1)"),
    ]


def test_stdin_with_text(here):
    assert list(read(["-"], stdin=stdin(b"caf\xc3\xa9\r\n[1]"))) == [Document("stdin", "café\n[1]", origin="-")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "nothing came in on stdin"),
        (b" \n", "no text: only white space came in on stdin"),
        (JUNK, "looks binary (NUL bytes), not like text"),
    ],
)
def test_stdin_without_text(here, content, reason):
    assert list(read(["-"], stdin=stdin(content))) == [Failure("-", reason)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"id":"1","text":"red fox"},{"id":"2","text":"blue whale"}]', ["1", "2"]),
        ('\n [\n{"text": "a"},\n{"_id": "x", "text": "b"}\n]\n', ["stdin:1", "x"]),
        ("[]\n", [Failure("-", "the array is empty")]),
        ('{\n  "_id": "x",\n  "text": "a"\n}\n', ["x"]),
        ('{\n  "text": "a"\n}\n{\n  "_id": "x", "text": "b"\n}\n', ["stdin:1", "x"]),
        ('{"_id": "1", "text": "a"} {"_id": "2", "text": "b"}', ["1", "2"]),
        (
            '{"_id": "1"\n{"_id": "2", "text": "b"}\n',
            [Failure("-:1", "not valid JSON: Expecting ',' delimiter (column 12)"), "2"],
        ),
        ("id,text\n1,a\n2,b\n", ["1", "2"]),
        ('\n"id";"title";"text"\n1;a;"b;\nc"\n2;d;e\n', ["1", "2"]),
        ('id\ttext\n1\t"a\n2\tb\n', ["1", "2"]),
        ("name, body\nx,a\n", ["stdin:2"]),
        ("a,b,c\n1,2,3\n", ["stdin"]),
        ("Dear text, and title,\nhello\n", ["stdin"]),
        ("text\nis what this is\n", ["stdin"]),
        ("[x] buy milk\n[ ] buy tea\n", ["stdin"]),
        ("[1, 2, 3]", ["stdin"]),
        ("[] empty brackets", ["stdin"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_stdin_is_what_its_beginning_says(here, content, expected, encoding):
    assert ids(read(["-"], stdin=stdin(content.encode(encoding)))) == expected


def test_stdin_as_a_table_of_other_names(here):
    fields = FieldMap(id_field="sku", text_fields=("plot",))
    assert ids(read(["-"], fields=fields, stdin=stdin(b"sku,plot\n7,a whale\n"))) == ["7"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_long_array_a_long_line_and_a_long_table_on_stdin(here, newline):
    rows = [b'{"_id": "%d", "text": "%s"}' % (n, b"word " * (n + 1)) for n in range(300)]
    assert len(ids(read(["-"], stdin=stdin(b"[" + (b"," + newline).join(rows) + b"]")))) == 300
    long = b'{"text": "' + b"word " * 50_000 + b'"}' + newline
    assert ids(read(["-"], stdin=stdin(long + rows[7]))) == ["stdin:1", "7"]
    table = newline.join([b"id,text", *(b'%d,"%s"' % (n, b"word " * (n + 1)) for n in range(300))])
    assert len(ids(read(["-"], stdin=stdin(table)))) == 300


def test_stdin_longer_than_the_sample(here):
    lines = b"".join(b'{"_id": %d, "text": "some words"}\n' % n for n in range(10_000))
    assert ids(read(["-"], stdin=stdin(lines))) == [str(n) for n in range(10_000)]
    text = b"word " * 50_000
    assert next(read(["-"], stdin=stdin(text))).text == text.decode()


def test_stdin_keeps_its_place_among_the_sources(here):
    put(here / "a.txt", "a")
    put(here / "b.txt", "b")
    assert ids(read(["a.txt", "-", "b.txt"], stdin=stdin(b"middle"))) == ["a.txt", "stdin", "b.txt"]


# ---- sources that are not there


def test_missing_sources_are_all_named_before_anything_is_read(here):
    put(here / "notes.txt", "a")
    put(here / "data" / "films.jsonl", "{}")
    with pytest.raises(CorpusError) as caught:
        read(["notes.txt", "note.txt", "data/film.jsonl", "nowhere/x"])  # not even the first step of the iterator
    assert str(caught.value) == (
        f"No file or folder 'note.txt' (did you mean 'notes.txt'?); No file or folder 'data/film.jsonl' "
        f"(did you mean {'data' + os.sep + 'films.jsonl'!r}?); No file or folder 'nowhere/x'"
    )
    with pytest.raises(CorpusError, match=r"No file or folder 'note\.txt'"):
        count_documents(["note.txt"])


@pytest.mark.parametrize(
    ("sources", "says"),
    [([], "No source given"), (["-", "-"], "only once"), ("notes", "must be a list of paths")],
)
def test_sources_that_cannot_be_meant(here, sources, says):
    with pytest.raises(InvalidArgument, match=says):
        read(sources)


def test_an_empty_path_is_a_missing_source(here):
    with pytest.raises(CorpusError, match="No file or folder ''"):
        read([""])


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are made otherwise on Windows")
def test_a_pipe_as_a_source_is_refused_and_does_not_hang(here):
    os.mkfifo(here / "pipe")
    with pytest.raises(CorpusError, match="'pipe' is neither a file nor a folder"):
        read(["pipe"])


@pytest.mark.skipif(sys.platform == "win32", reason="permissions work otherwise on Windows")
def test_what_may_not_be_read_is_a_failure(here):
    put(here / "docs" / "a.txt", "a").chmod(0)
    put(here / "docs" / "b.txt", "b")
    put(here / "docs" / "locked" / "c.txt", "c").parent.chmod(0)
    try:
        if os.access(here / "docs" / "a.txt", os.R_OK):
            pytest.skip("this user may read everything")
        assert ids(read(["docs"])) == [
            Failure("docs/a.txt", "cannot be read: Permission denied"),
            "b.txt",
            Failure("docs/locked", "the folder cannot be read: Permission denied"),
        ]
    finally:
        (here / "docs" / "locked").chmod(0o700)


# ---- streaming and counting


def test_memory_does_not_grow_with_the_corpus(here):
    line = '{"_id": "1", "text": "' + "word " * 200 + '"}\n'
    put(here / "a.jsonl", line * 20_000)  # 20 MB
    put(here / "a.csv", "id,text\n" + ("1," + "word " * 200 + "\n") * 20_000)
    for name in ("a.jsonl", "a.csv"):
        tracemalloc.start()
        count = sum(1 for _ in itertools.islice(read([name]), 5000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 5000
        assert peak < 2_000_000


def test_counts(here):
    put(here / "docs" / "a.jsonl", '{"text": "a"}\n{"text": "b"}')
    put(here / "docs" / "b.csv", "id,text\n1,a\n2,b\n3,c\n")
    put(here / "docs" / "c.md", "# c")
    put(here / "docs" / "d.json", '[{"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "d"}]')
    put(here / "docs" / "e.json", '{"text": "a"}\n{"text": "b"}\n')
    put(here / "docs" / "skipped.exe", "x")
    assert count_documents(["docs"]) == 2 + 3 + 1 + 4 + 2
    assert count_documents(["docs"]) == sum(1 for _ in read(["docs"]))
    assert count_documents(["docs"], globs=["*.csv"]) == 3
    assert count_documents(["docs/a.jsonl", "-"]) is None


# ---- records made in memory


def test_numpy_values_in_metadata():
    record = {"id": np.int64(7), "text": "t", "n": np.float32(0.5), "nan": np.float64("nan"), "row": np.arange(2)}
    found = document_of(record, FieldMap(), origin="item 1", fallback_id="item-1")
    assert found == Document("7", "t", "", {"n": 0.5, "row": [0, 1]}, "item 1")
    assert type(found.metadata["row"]) is list


def test_a_value_without_a_json_form():
    found = document_of({"text": "t", "x": object()}, FieldMap(), origin="item 1", fallback_id="item-1")
    assert found == Failure("item 1", "the field 'x': a value of type object has no JSON form")
