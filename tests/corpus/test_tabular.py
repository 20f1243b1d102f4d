"""CSV, TSV and Parquet."""

from __future__ import annotations

import datetime
import errno
import io
import sys
import time
from decimal import Decimal

import pytest

from hybrid_search.corpus import readers
from hybrid_search.corpus.columns import apply_types, column_readings
from hybrid_search.corpus.readers import FieldMap, count_documents, read
from hybrid_search.corpus.tabular import read_csv
from hybrid_search.errors import MissingExtra
from hybrid_search.types import Document, Failure
from tests.odd_reading import InThisProcess


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(here, content, name="a.csv", **options):
    (here / name).write_text(content, encoding="utf-8", newline="")
    return list(read([name], **options))


def test_csv_rows_become_documents(here):
    content = 'id,title,text,year,price,code,note\n007,T,"a ""b"", c",1999,-1.5,0042,\n'
    assert table(here, content) == [
        Document("007", 'a "b", c', "T", {"year": 1999, "price": -1.5, "code": "0042"}, "a.csv:2")
    ]


def column(here, cells, name="a.csv"):
    """What becomes of a column with these cells."""
    rows = "".join(f't,"{cell}"\n' for cell in cells)
    found = table(here, f"text,n\n{rows}", name)
    return [document.metadata.get("n") for document in found]


@pytest.mark.parametrize(
    "cells",
    [
        "0 -3 7", "1.5 2 -0.25", "1e-05 1e+16", "9223372036854775807 -9223372036854775808", "2.0 0.1",
    ],
)  # fmt: skip
def test_a_column_of_numbers_that_print_back_the_same_is_one_of_numbers(here, cells):
    found = column(here, cells.split())
    assert [str(value) for value in found] == cells.split()
    assert {type(value) for value in found} <= {int, float}
    assert column(here, ["", *cells.split(), ""]) == [None, *found, None]


@pytest.mark.parametrize(
    "odd",
    [
        "01234", "00", "-07", "+5", "1.", ".5", "1.10", "1e3", "1E5", "1e999", "1e400", "nan", "inf", "-inf",
        "Infinity", "-0", "1_000", "0x10", "1,5", "1 000", "1\u2009000", "\u0661", "\uff11", "\u00b2", " 7", "7 ", " ",
        "1.2.3", "12-3-4", "9223372036854775808", "1234567890123456789012", "0.1000000000000000055",
        "978-3-16-148410-0", "2024-01-02", "none", "1" * 5000,
    ],
)  # fmt: skip
def test_one_cell_that_is_no_number_makes_a_column_text(here, odd):
    for cells in ([odd], ["7", odd], [odd, "7"], ["7", "8.5", odd, "9"]):
        assert column(here, cells) == cells


@pytest.mark.parametrize("cells", ["true false", "True False True", "TRUE FALSE", "false", "TRUE"])
def test_a_column_of_truth_values(here, cells):
    assert column(here, cells.split()) == [cell.lower() == "true" for cell in cells.split()]


@pytest.mark.parametrize("cells", ["true False", "TRUE true", "true yes", "true 1", "0 false", "tRUE", "t f"])
def test_truth_values_that_are_not_written_alike_stay_text(here, cells):
    assert column(here, cells.split()) == cells.split()


def test_postal_codes_keep_their_zeros(here):
    content = "id,text,zip\n1,a,01234\n2,b,90210\n3,c,10115\n"
    assert [document.metadata["zip"] for document in table(here, content)] == ["01234", "90210", "10115"]
    assert [document.metadata["zip"] for document in table(here, content.replace(",", "\t"), "a.tsv")] == [
        "01234",
        "90210",
        "10115",
    ]


def test_a_row_that_fails_decides_nothing(here):
    found = table(here, 'text,n\na,1\nb,x,y\n"c"d,x\ne,2\n')
    assert [item.metadata["n"] for item in found if isinstance(item, Document)] == [1, 2]
    assert len(found) == 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_columns_are_typed_in_every_encoding(here, encoding):
    (here / "a.csv").write_bytes("text,n,zip\ncaf\xe9 noir,1,01\ncaf\xe9 blanc,2,20\n".encode(encoding))
    assert [(item.text, item.metadata) for item in read(["a.csv"])] == [
        ("caf\xe9 noir", {"n": 1, "zip": "01"}),
        ("caf\xe9 blanc", {"n": 2, "zip": "20"}),
    ]


class Pipe(io.RawIOBase):
    """Bytes that can be read once."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, target):
        return self._data.readinto(target)


def piped(data):
    options = {"origin": "-", "name": "stdin", "fields": FieldMap()}
    return list(read_csv(io.BufferedReader(Pipe(data)), "utf-8", **options))


def test_a_table_that_comes_through_a_pipe_is_typed_too(monkeypatch):
    data = b"text,n,zip\na,1,01\nb,2,20\n"
    assert [item.metadata for item in piped(data)] == [{"n": 1, "zip": "01"}, {"n": 2, "zip": "20"}]
    monkeypatch.setattr("hybrid_search.corpus.columns.MAX_PIPED", 10)
    [failure] = piped(data)
    assert isinstance(failure, Failure)
    assert "came through a pipe; write it to a file" in failure.reason


def test_a_pipe_for_which_there_is_no_room(monkeypatch):
    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Pipe, "readinto", full)
    [failure] = piped(b"text\na\n")
    assert failure == Failure("-", "the table cannot be copied from its pipe: No space left on device")


def test_a_cell_that_changed_between_the_two_passes_stays_text():
    assert apply_types({"n": "x", "m": "1"}, column_readings([{"n": "1", "m": "2"}])) == {"n": "x", "m": 1}


def test_a_cell_of_another_kind_makes_truth_values_text(here):
    assert column(here, ["true", "7"]) == ["true", "7"]


def test_no_more_is_read_than_tells_the_types():
    taken = []
    rows = ({"a": str(taken.append(place) or "x"), "b": "y"} for place in range(1000))
    assert column_readings(rows) == {}
    assert len(taken) == 1


def test_text_title_and_id_stay_text(here):
    assert table(here, "id,title,text\n1.50,7,8\n") == [Document("1.50", "8", "7", {}, "a.csv:2")]


def test_cells_over_many_lines_and_the_line_a_row_starts_on(here):
    found = table(here, 'text,n\n"a\nb",1\nc,2\r\n\r\n,\nd,3')
    assert [(item.doc_id, item.text, item.origin) for item in found] == [
        ("a.csv:2", "a\nb", "a.csv:2"),
        ("a.csv:4", "c", "a.csv:4"),
        ("a.csv:7", "d", "a.csv:7"),
    ]


def test_a_cell_larger_than_the_csv_modules_usual_limit(here):
    assert len(table(here, f"id,text\n1,{'x' * 300_000}\n")[0].text) == 300_000


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2", "the row has 1 cells, the header has 2"),
        ("2,b,c", "the row has 3 cells, the header has 2"),
        ('2,"b"c', "the row cannot be read: ',' expected after '\"'"),
        ("2,", "no text: it has the fields 'id', 'text'"),
    ],
)
def test_broken_rows_are_named_and_the_others_go_on(here, row, reason):
    first, second, third = table(here, f"id,text\n1,a\n{row}\n3,c\n")
    assert (first.doc_id, third.doc_id) == ("1", "3")
    assert second == Failure("a.csv:3", reason)


def told(items):
    """Documents as their texts, failures as (line, reason)."""
    return [
        (int(item.origin.rpartition(":")[2]), item.reason) if isinstance(item, Failure) else item.text for item in items
    ]


END = "the row cannot be read: unexpected end of data"
MORE = "the row has 3 cells, the header has 2"
AFTER = "the row cannot be read: ',' expected after '\"'"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            '1,a\n2,"b\n3,c\n4,d',
            ["a", (3, f"{END}; its quotes go on for 3 lines, which are read again from line 4"), "c", "d"],
        ),
        (
            '1,"b\n2,c\n3,"d"\n4,e',
            [(2, f"{AFTER}; its quotes go on for 3 lines, which are read again from line 3"), "c", "d", "e"],
        ),
        (
            '1,"b\n2,c",x\n3,d',
            [
                (
                    2,
                    f"{MORE}; its quotes go on for 2 lines, which are read again from line 3",
                ),
                (3, MORE),
                "d",
            ],
        ),
        ('1,"b\nand more"\n2,"c ""d"" e"', ["b\nand more", 'c "d" e']),
        ('1,"b', [(2, END)]),
        (
            '1,a\n2,"b\n3,"c\n4,d',
            [
                "a",
                (3, f"{AFTER}; its quotes go on for 2 lines, which are read again from line 4"),
                (4, f"{END}; its quotes go on for 2 lines, which are read again from line 5"),
                "d",
            ],
        ),
    ],
)
def test_a_forgotten_quote_does_not_take_the_rows_behind_it(here, rows, expected):
    assert told(table(here, "id,text\n" + rows)) == expected


def test_a_line_that_is_no_text_inside_quotes_does_not_take_the_others(here):
    (here / "a.csv").write_bytes(b'id,text\n1,n\xc3\xa9e\n2,"b\n3,\xe9\n4,\xc3\xa9\n')
    found = told(read(["a.csv"]))
    assert found[0] == "née"
    assert found[1][0] == 3
    assert "line 4 inside its quotes is no text" in found[1][1]
    assert found[2][0] == 4
    assert "is not utf-8 text" in found[2][1]
    assert found[3:] == ["é"]


@pytest.mark.parametrize("line", ['a","b\n', 'a,"\n', 'a,"b""\n', '"\n', 'a,"""\n', '""","\n'])
def test_quotes_that_are_wrong_in_every_row_take_no_time(here, line):
    began = time.perf_counter()
    found = table(here, "id,text\n" + line * 50_000 + "x,y\n")
    assert time.perf_counter() - began < 10  # each of them to the end of the file would take minutes
    assert found


def test_tsv_has_no_quotes(here):
    content = 'id\ttext\n1\t"starts with a quote\n2\tmiddle one\n3\tmiddle two\n4\tends with a quote"\n'
    content += '5\t"all" of it\n6\t"a, b"\n7\t"\n'
    assert told(table(here, content, "a.tsv")) == [
        '"starts with a quote',
        "middle one",
        "middle two",
        'ends with a quote"',
        '"all" of it',
        '"a, b"',
        '"',
    ]


@pytest.mark.parametrize(
    ("row", "expected"), [('1\t"a\tb"', (2, "the row has 3 cells, the header has 2")), ("1\ta\\tb", "a\\tb")]
)
def test_in_tsv_a_tab_divides_always(here, row, expected):
    assert told(table(here, f"id\ttext\n{row}\n2\tc\n", "a.tsv")) == [expected, "c"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,text\n", "no rows below the header"),
        ("id,text,id\n1,a,b\n", "the header cannot be used: 'id' names more than one column"),
        (";;;;\na;b;c;d;e\n", "no text: none of text, contents, content, body, abstract, description is among"),
        ("name,year\nx,1\n", "no text: none of text, contents, content, body, abstract, description is among"),
        ('id,"text\n', "the header cannot be used: unexpected end of data"),
    ],
)
def test_headers_that_cannot_be_used(here, content, reason):
    (only,) = table(here, content)
    assert only.origin == "a.csv"
    assert reason in only.reason


def test_missing_named_columns_are_one_failure(here):
    content = "id,text\n1,a\n2,b\n"
    assert table(here, content, fields=FieldMap(text_fields=("title", "plot"))) == [
        Failure("a.csv", "the header cannot be used: no fields 'title', 'plot'; there are 'id', 'text'")
    ]


def test_columns_without_a_name_get_one(here):
    assert table(here, ",text\n5,t\n")[0].metadata == {"column 1": 5}


def test_semicolons_and_tabs(here):
    assert table(here, "id;text\n1;a, b\n")[0].text == "a, b"
    assert table(here, "id\ttext\n1\ta, b; c\n")[0].text == "a, b; c"
    assert table(here, "id\ttext\tb,c,d\n1\tx\t2\n", "a.tsv") == [Document("1", "x", "", {"b,c,d": 2}, "a.tsv:2")]


# ---- Parquet


@pytest.fixture
def parquet(here):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")

    def write(columns, name="a.parquet", **options):
        pq.write_table(pa.table(columns), here / name, **options)
        return name

    return write


def test_parquet_rows_become_documents(parquet):
    name = parquet(
        {"_id": [7, 8], "title": ["T", None], "text": ["a", "b"], "n": [1.5, float("nan")], "ok": [True, None]}
    )
    assert list(read([name])) == [
        Document("7", "a", "T", {"n": 1.5, "ok": True}, "a.parquet:1"),
        Document("8", "b", "", {}, "a.parquet:2"),
    ]
    assert count_documents([name]) == 2


def test_parquet_values_become_json_values(parquet):
    import pyarrow as pa

    utc = datetime.timezone.utc
    name = parquet(
        {
            "text": ["t"],
            "day": [datetime.date(2020, 1, 2)],
            "at": [datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=utc)],
            "ns": pa.array([1_577_934_245_123_456_789], pa.timestamp("ns")),
            "clock": [datetime.time(1, 2, 3)],
            "took": [datetime.timedelta(seconds=90)],
            "cost": [Decimal("1.25")],
            "raw": [b"caf\xc3\xa9"],
            "image": [b"\xff\xd8\xff"],
            "tags": [["a", None]],
            "person": [{"name": "x", "born": datetime.date(1970, 1, 1)}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    assert next(read([name])).metadata == {
        "day": "2020-01-02",
        "at": "2020-01-02T03:04:05+00:00",
        "ns": "2020-01-02T03:04:05.123456",
        "clock": "01:02:03",
        "took": 90.0,
        "cost": 1.25,
        "raw": "café",
        "tags": ["a", None],
        "person": {"name": "x", "born": "1970-01-01"},
        "map": [["k", 1]],
    }


def test_a_value_that_python_has_no_form_for_fails_its_row_only(parquet):
    import pyarrow as pa

    name = parquet({"id": ["a", "b", "c"], "text": ["t"] * 3, "at": pa.array([0, 2**60, 1], pa.timestamp("ms"))})
    first, second, third = read([name])
    assert (first.doc_id, third.doc_id) == ("a", "c")
    assert second.origin == "a.parquet:2"
    assert second.reason.startswith("the row cannot be read: ")


def test_parquet_in_many_batches_and_row_groups(parquet):
    name = parquet({"text": [f"t{n}" for n in range(5000)]}, row_group_size=700)
    found = list(read([name]))
    assert [item.text for item in found] == [f"t{n}" for n in range(5000)]
    assert found[-1].doc_id == found[-1].origin == "a.parquet:5000"


def test_parquet_files_that_cannot_be_used(here, parquet):
    parquet({"name": ["x"]}, "no_text.parquet")
    parquet({"text": ["x"]}, "field.parquet")
    empty = parquet({"text": []}, "rows.parquet")
    (here / "junk.parquet").write_bytes(b"PAR1 this is not Parquet PAR1")
    found = list(read(["no_text.parquet", empty, "junk.parquet"]))
    assert found[0].reason.startswith("no text: none of text")
    assert found[1] == Failure("rows.parquet", "the table has no rows")
    assert found[2].reason.startswith("not a Parquet file that can be read: ")
    assert list(read(["field.parquet"], fields=FieldMap(id_field="isbn"))) == [
        Failure("field.parquet", "no field 'isbn'; there are 'text'")
    ]
    assert count_documents(["junk.parquet"]) == 0


def test_a_damaged_parquet_file_names_where_it_ends(here, parquet):
    name = parquet({"text": [f"text number {n}" for n in range(3000)]}, row_group_size=1000, compression="none")
    raw = bytearray((here / name).read_bytes())
    middle = raw.index(b"text number 1500")
    raw[middle - 30_00 : middle] = b"\xff" * 3000
    (here / name).write_bytes(raw)
    found = list(read([name]))
    failures = [item for item in found if isinstance(item, Failure)]
    assert len(found) < 3000 or failures
    assert failures


def test_without_pyarrow_the_install_line_is_given(here, monkeypatch):
    (here / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(readers, "BoundedProcess", InThisProcess)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hybrid-search-qdrant\[parquet\]'"):
        list(read(["a.parquet"]))
    assert count_documents(["a.parquet"]) == 0
