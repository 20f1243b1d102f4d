"""What the tests of engines go by is right itself: the exact ranking, the measures, the reader of CIFF, the skips."""

import struct
import sys

import pytest

from hybrid_search.corpus.trec import Qrel
from hybrid_search.types import SparseVector
from tests.engines import conftest, environments
from tests.engines.ciff_reader import DEFINITION, compiled, read_ciff
from tests.engines.drivers.exports import topics
from tests.engines.environments import Unavailable, java, java_version, python_of
from tests.engines.exact import Encoded, ndcg, overlap, ranking


def vector(**weights):
    return SparseVector.of([int(name[1:]) for name in weights], list(weights.values()))


def test_the_exact_ranking_counts_rare_tokens_more():
    """By hand: of 3 documents, df 1 and 2, so IDF ln(8/3) = 0.981 and ln(1.6) = 0.470."""
    documents = {"a": vector(d1=1.0), "b": vector(d2=1.5), "c": vector(d2=1.0, d9=1.0)}
    tokens = {1: "one", 2: "two", 5: "five", 9: "nine"}
    queries = {"q": vector(d1=1.0, d2=1.0, d5=9.0), "none": vector(d5=1.0)}
    assert ranking(Encoded(documents, queries, tokens)) == {"q": ["a", "b", "c"], "none": []}
    assert ranking(Encoded(documents, {"q": vector(d2=1.0)}, tokens), 1) == {"q": ["b"]}


def test_equal_scores_are_ordered_by_id():
    documents = {name: vector(d1=1.0) for name in ("c", "a", "b")}
    assert ranking(Encoded(documents, {"q": vector(d1=1.0)}, {1: "one"}), 2) == {"q": ["a", "b"]}


@pytest.mark.parametrize(
    ("run", "share"),
    [
        ({"q": ["b", "a"], "p": ["c"]}, 1.0),
        ({"q": ["a", "x", "b"], "p": ["c"]}, 0.75),
        ({"q": ["x", "y"]}, 0.0),
        ({"q": ["a", "b"]}, 0.5),
        ({}, 0.0),
    ],
)
def test_overlap_is_the_mean_share_of_the_exact_top(run, share):
    """A query that a run lacks counts as nothing found."""
    assert overlap(run, {"q": ["a", "b"], "p": ["c"], "nothing": []}, 2) == share


def test_ndcg_goes_by_the_order():
    qrels = [Qrel("q", "a", 1), Qrel("q", "b", 0)]
    assert ndcg({"q": ["a", "b"]}, qrels) == 1.0
    assert ndcg({"q": ["b", "a"]}, qrels) == pytest.approx(0.6309, abs=1e-4)


def test_topics_are_counted(tmp_path):
    (tmp_path / "topics.tsv").write_text("q1\ta b a\nq 2\t##x\n", encoding="utf-8")
    assert dict(topics(tmp_path)) == {"q1": {"a": 2, "b": 1}, "q 2": {"##x": 1}}


# ---------------------------------------------------------------- CIFF


def by_hand(number=None):
    """A file with two terms and two documents, written byte by byte."""
    header = b"\x08\x01\x10\x02\x18" + bytes([number or 2]) + b"\x20\x02\x28\x02\x30\x09\x39" + struct.pack("<d", 4.5)
    ant = b"\x0a\x03ant\x10\x02\x18\x07" + b"\x22\x02\x10\x03" + b"\x22\x04\x08\x01\x10\x04"
    bee = b"\x0a\x03bee\x10\x01\x18\x02" + b"\x22\x04\x08\x01\x10\x02"
    records = b"\x12\x01x\x18\x03", b"\x08\x01\x12\x01y\x18\x06"
    return b"".join(bytes([len(message)]) + message for message in (header, ant, bee, *records))


def test_a_file_by_hand_is_read(tmp_path):
    (tmp_path / "index.ciff").write_bytes(by_hand())
    read = read_ciff(tmp_path / "index.ciff")
    assert (read.header.version, read.header.num_docs, read.header.average_doclength) == (1, 2, 4.5)
    assert read.lists == {"ant": {0: 3, 1: 4}, "bee": {1: 2}}
    assert read.totals == {"ant": (2, 7), "bee": (1, 2)}
    assert read.documents == [(0, "x", 3), (1, "y", 6)]


@pytest.mark.parametrize("data", [by_hand()[:-1], by_hand() + b"\x00", by_hand(1), by_hand()[:-8]])
def test_a_file_that_is_cut_short_or_too_long_is_not_read(tmp_path, data):
    (tmp_path / "index.ciff").write_bytes(data)
    with pytest.raises((AssertionError, StopIteration)):
        read_ciff(tmp_path / "index.ciff")


def test_a_long_message_has_a_length_of_several_bytes(tmp_path):
    header = compiled(DEFINITION.read_text(encoding="utf-8"))["Header"](version=1, description="x" * 20_000)
    data = header.SerializeToString()
    length = bytes([len(data) & 127 | 128, len(data) >> 7 & 127 | 128, len(data) >> 14])
    (tmp_path / "index.ciff").write_bytes(length + data)
    assert read_ciff(tmp_path / "index.ciff").header.description == "x" * 20_000


# ---------------------------------------------------------------- what cannot be had


def test_without_a_new_java_the_reason_names_what_is_there(monkeypatch, tmp_path):
    old = script(tmp_path / "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
    monkeypatch.setattr(environments, "_javas", lambda: iter([old]))
    with pytest.raises(Unavailable, match=r"Java 21 or newer; set JAVA_HOME. There is .*java \(17\)"):
        java()
    monkeypatch.setattr(environments, "_javas", lambda: iter([]))
    with pytest.raises(Unavailable, match="There is none"):
        java()


def test_java_tells_its_version():
    assert java_version('openjdk version "21" 2023-09-19') == 21
    assert java_version("command not found") == 0


def test_without_its_python_an_engine_is_not_to_be_had(monkeypatch, tmp_path):
    monkeypatch.setenv("ENGINES_HOME", str(tmp_path))
    monkeypatch.setattr(environments, "_pythons", lambda version: iter([sys.executable]))
    monkeypatch.setitem(environments.ENVIRONMENTS, "old", environments.Environment(("nothing",), "2.5"))
    with pytest.raises(Unavailable, match=r"needs Python 2\.5"):
        python_of("old")


def test_packages_that_cannot_be_installed_are_a_reason(monkeypatch, tmp_path):
    """A Python whose environments install nothing, as where there is no network; the next try begins anew."""
    fails = script(tmp_path / "fails", "echo Looking >&2; echo 'ERROR: No matching distribution' >&2; exit 1")
    python = script(tmp_path / "python", f'mkdir -p "$3/bin"; cp "{fails}" "$3/bin/python"')
    monkeypatch.setenv("ENGINES_HOME", str(tmp_path / "engines"))
    monkeypatch.setattr(environments, "interpreter", lambda version: python)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"bmp==0\.2\.8, which cannot be installed: ERROR: No matching"):
            python_of("bmp")
    assert not (tmp_path / "engines" / "bmp" / "ready").exists()


def script(path, lines):
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_jar_that_is_not_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("ANSERINI_JAR", str(tmp_path / "a.jar"))
    with pytest.raises(Unavailable, match="there is no such file"):
        environments.anserini()


def test_a_test_whose_engine_cannot_be_had_is_skipped_with_the_reason():
    running = conftest.pytest_runtest_call(None)
    next(running)
    with pytest.raises(pytest.skip.Exception, match="needs Java 21"):
        running.throw(Unavailable("needs Java 21"))


def test_a_test_that_fails_for_another_reason_fails():
    running = conftest.pytest_runtest_call(None)
    next(running)
    with pytest.raises(ValueError, match="wrong"):
        running.throw(ValueError("wrong"))
