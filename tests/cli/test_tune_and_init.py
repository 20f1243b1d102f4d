"""`tune`, `evaluate init` and `--plot` as they are typed."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import BM25, FRUIT


@pytest.fixture
def typed(run):
    """Run a command; gives code, out and err."""

    def command(*arguments, stdin=None):
        found = run(*arguments, stdin=stdin)
        return found.code, found.out, found.err

    return command


@pytest.fixture
def fruit(typed, jsonl):
    typed("index", jsonl(FRUIT), "-c", "fruit", *BM25, "--progress", "none")
    return typed


def test_a_key_is_a_judgement_and_the_next_command_goes_on(fruit, tmp_path):
    out = tmp_path / "judged"
    asked = ("evaluate", "init", "-c", "fruit", "--out", out)
    code, shown, said = fruit(*asked, "--query", "apples", "--query", "sweet pears", stdin="?\n3\n")
    assert code == 0
    assert "query 1 of 2, document 1 of" in shown
    assert "1 judgements for 1 of 2 queries, 1 of them with a relevant document; 1 documents are left." in said
    code, shown, said = fruit(*asked, stdin="2\n")
    assert code == 0
    assert "2 judgements for 2 of 2 queries" in said
    rows = (out / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    assert sorted(rows[1:]) == ["q1\ta\t3", "q2\tb\t2"]
    code, shown, _ = fruit("evaluate", out, "-c", "fruit", "--modes", "sparse", "--format", "json")
    assert code == 0
    assert json.loads(shown)["queries"] == 2


def test_a_judgement_can_be_taken_back_and_a_document_skipped(fruit, tmp_path):
    out = tmp_path / "judged"
    asked = ("evaluate", "init", "-c", "fruit", "--out", out, "--query", "apples pears bananas")
    code, _, said = fruit(*asked, stdin="1\n0\nb\n3\ns\n")
    assert code == 0
    assert "2 judgements for 1 of 1 queries" in said
    rows = (out / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(row.split("\t")[2] for row in rows) == ["1", "3"]


def test_the_queries_of_a_log_are_judged(fruit, tmp_path):
    log = tmp_path / "log.jsonl"
    for query in ("apples", "pears", "apples"):
        fruit("search", query, "-c", "fruit", "--log", log)
    asked = ("evaluate", "init", "-c", "fruit", "--out", tmp_path / "j")
    code, _, said = fruit(*asked, "--from-log", log, "--limit", 1, stdin="")
    assert code == 0
    assert "0 judgements for 0 of 1 queries" in said


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "There are no queries"),
        (("--query", "a", "--from-log", "x"), "one place"),
        (("--query", "a", "--limit", "3"), "--limit is for --from-log"),
        (("--queries", "missing.txt"), "cannot be read"),
    ],
)
def test_what_cannot_be_judged_is_said(fruit, tmp_path, more, says):
    code, _, said = fruit("evaluate", "init", "-c", "fruit", "--out", tmp_path / "j", *more, stdin="")
    assert code != 0
    assert says in " ".join(said.split())


def test_a_folder_called_init_is_evaluated_by_its_path(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "init").mkdir()
    code, _, said = typed("evaluate", "./init")
    assert code == 3
    assert "is not a BEIR folder" in said


def test_tuning_few_queries_is_inconclusive_and_applies_nothing(typed, jsonl, tmp_path):
    rows = [{**row, "_id": f"{row['_id']}{n}"} for row in FRUIT for n in range(4)]
    typed("index", jsonl(rows), "-c", "both", "--profile", "bundled", "--progress", "none")
    (tmp_path / "set" / "qrels").mkdir(parents=True)
    for name, some in (("corpus", rows), ("queries", [{"_id": "q", "text": "apples"}])):
        (tmp_path / "set" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    (tmp_path / "set" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta0\t1\n", encoding="utf-8")
    code, shown, said = typed("tune", tmp_path / "set", "-c", "both", "--apply", "--seed", 3)
    assert code == 0
    assert "INCONCLUSIVE: 1 judged queries are too few" in shown
    assert "Nothing was applied" in said
    code, shown, _ = typed("tune", tmp_path / "set", "-c", "both", "--format", "json", "--measure", "RR@10")
    assert (json.loads(shown)["verdict"], json.loads(shown)["measure"]) == ("inconclusive", "RR@10")
    assert typed("tune", "-c", "both", "--reset")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tune", "x", "--apply"), "Name the collection"),
        (("tune", "x", "-c", "c", "--reset"), "--reset takes no DATASET"),
        (("tune",), "There is no DATASET"),
        (("evaluate", "x", "--plot", "a.gif"), "ends in none of them"),
    ],
)
def test_wrong_options_are_refused_before_the_work(typed, arguments, says):
    code, _, said = typed(*arguments)
    assert code != 0
    assert says in " ".join(said.split())
