"""Files that change while they are read: what could be read is there, the report says so, and nothing crashes."""

from __future__ import annotations

import json
import os
import sys

import pytest

from hybrid_search.corpus import readers, reading
from hybrid_search.corpus.readers import read
from hybrid_search.types import Document, Failure
from tests.odd_reading import InThisProcess

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let an open file go")

COUNT = 3_000
FORMATS = ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.md"]


def line(n, text="some words"):
    return json.dumps({"_id": f"d{n}", "text": f"{text} {n}"}) + "\n"


def put(file, count=COUNT):
    """A file of so many documents, larger than what is read ahead; a text file is one."""
    rows = [json.loads(line(n)) for n in range(count)]
    if file.suffix == ".jsonl":
        file.write_text("".join(map(line, range(count))))
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    elif file.suffix == ".csv":
        file.write_text("_id,text\n" + "".join(f"{row['_id']},{row['text']}\n" for row in rows))
    elif file.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.Table.from_pylist(rows), file, row_group_size=1_024)
    else:
        file.write_text("many words " * count)
    return file


def read_with(file, change, after=10):
    """Documents and failures, with a change to the file after so many of them."""
    documents, failures = [], []
    for n, found in enumerate(read([file]), 1):
        (documents if isinstance(found, Document) else failures).append(found)
        if n == after:
            change(file)
    return documents, failures


def append(file):
    with file.open("ab") as stream:
        stream.write(b" \n")


def cut_short(file):
    os.truncate(file, file.stat().st_size // 2)


def replace_by_another(file):
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_stays_as_it_is_has_no_failure(tmp_path, name):
    file = put(tmp_path / name)
    documents, failures = read_with(file, lambda _: None)
    assert failures == []
    assert len(documents) == (1 if name == "a.md" else COUNT)


@posix_only
@pytest.mark.parametrize("name", FORMATS[:-1])
@pytest.mark.parametrize("change", [append, cut_short, replace_by_another])
def test_a_change_is_the_last_failure_and_says_what_to_do(tmp_path, name, change):
    file = put(tmp_path / name)
    documents, failures = read_with(file, change)
    assert failures[-1].origin == str(file)
    assert failures[-1].reason.startswith("changed while it was read")
    assert failures[-1].reason.endswith("Run it again")
    assert len(documents) >= 10
    assert len({document.doc_id for document in documents}) == len(documents)


@posix_only
@pytest.mark.parametrize("name", FORMATS[:-1])
def test_a_file_that_goes_away(tmp_path, name):
    file = put(tmp_path / name)
    documents, failures = read_with(file, lambda file: file.unlink())
    assert [failure.reason.partition(";")[0] for failure in failures] == ["was removed while it was read"]
    assert len(documents) == COUNT


def test_a_text_changes_while_it_is_read_and_not_while_it_is_worked_on(tmp_path, monkeypatch):
    file = put(tmp_path / "a.md")
    found = read([file])
    document = next(found)
    append(file)
    assert list(found) == []
    real = reading.read_text

    def changing(*arguments, **options):
        append(file)
        return real(*arguments, **options)

    monkeypatch.setattr(readers, "BoundedProcess", InThisProcess)
    monkeypatch.setattr(reading, "read_text", changing)
    again, failure = read([file])
    assert again.text.rstrip() == document.text.rstrip()
    assert failure.reason.startswith("changed while it was read")


@posix_only
def test_the_other_files_are_read_on(tmp_path):
    for name in ("a.jsonl", "b.jsonl", "c.md"):
        put(tmp_path / name, 20)
    found = []
    for item in read([tmp_path]):
        found.append(item)
        if len(found) == 1:
            (tmp_path / "b.jsonl").unlink()
    failures = [item for item in found if isinstance(item, Failure)]
    assert [failure.origin for failure in failures] in ([], [str(tmp_path / "b.jsonl")])
    assert any(isinstance(item, Document) and item.doc_id == "c.md" for item in found)


def test_a_half_written_last_line_fails_alone(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text(line(1) + line(2) + line(3)[:-12])
    found = list(read([file]))
    assert [item.doc_id for item in found[:2]] == ["d1", "d2"]
    (failure,) = found[2:]
    assert failure.origin == f"{file}:3"
    assert failure.reason.startswith("not valid JSON")


def test_a_file_that_grows_says_that_something_came_late(tmp_path):
    file = put(tmp_path / "log.jsonl")

    def grow(file):
        with file.open("a") as stream:
            stream.write(line(COUNT) + line(COUNT + 1)[:-5])

    documents, failures = read_with(file, grow)
    assert [document.doc_id for document in documents] == [f"d{n}" for n in range(COUNT + 1)]
    half, whole = failures
    assert half.origin == f"{file}:{COUNT + 2}"
    assert (whole.origin, whole.reason[:12]) == (str(file), "changed whil")
    file.write_text(file.read_text() + line(COUNT + 1)[-5:])
    assert all(isinstance(item, Document) for item in read([file]))


def test_a_disk_that_stops_answering_is_a_failure(tmp_path, monkeypatch):
    file = put(tmp_path / "a.jsonl")
    real = reading.read_jsonl

    def failing(*arguments, **options):
        for n, found in enumerate(real(*arguments, **options)):
            if n == 5:
                raise OSError(116, "Stale file handle")
            yield found

    monkeypatch.setattr(readers, "BoundedProcess", InThisProcess)
    monkeypatch.setattr(reading, "read_jsonl", failing)
    found = list(read([file]))
    assert len(found) == 6
    assert found[-1] == Failure(str(file), "cannot be read: Stale file handle")
