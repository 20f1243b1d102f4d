"""`hybrid-search doctor`: what it prints, in which order, and its exit codes."""

import json

import pytest

from hybrid_search.diagnostics import doctor as doctor_module
from hybrid_search.diagnostics.diagnosis import Diagnosis, Report
from tests.cli.conftest import BM25, FRUIT

WELL = Diagnosis("open", "store", "ok", "can be read")
WARNING = Diagnosis("idf", "collection films", "warning", "odd \x1b[31m[bold]", "hybrid-search index SOURCE -c films")
PROBLEM = Diagnosis("points", "collection films", "problem", "lost", "rm x")
UNCHECKED = Diagnosis("hub", "models", "unchecked", "no network")


@pytest.fixture
def answers(monkeypatch):
    """Have `doctor` find these; gives what it was asked."""

    def answers(*diagnoses):
        asked = {}

        def doctor(name, **options):
            asked.update(options, name=name)
            return Report(list(diagnoses))

        monkeypatch.setattr(doctor_module, "doctor", doctor)
        return asked

    return answers


@pytest.mark.parametrize(
    ("found", "code"),
    [([WELL], 0), ([], 0), ([UNCHECKED, WELL], 0), ([WELL, WARNING], 4), ([PROBLEM], 4)],
)
def test_only_problems_and_warnings_count(run, answers, found, code):
    answers(*found)
    assert run("doctor").code == code
    assert run("doctor", "--format", "json").code == code


def test_it_is_grouped_by_subject_with_problems_first_and_their_commands(run, answers):
    answers(WELL, WARNING._replace(state="ok", check="fine", command=""), WARNING, PROBLEM)
    result = run("doctor", "--store", "/data/my store")
    output = result.out
    order = ["store", "collection films", "points: lost", "-> rm x", "idf: odd", "fine: odd"]
    places = [output.index(words) for words in order]
    assert places == sorted(places)
    assert "-> hybrid-search --store '/data/my store' index SOURCE -c films" in output
    assert "\x1b" not in output
    assert "[bold]" in output
    assert "1 problem, 1 warning" in result.err


def test_json_has_every_finding(run, answers):
    asked = answers(WELL, PROBLEM)
    result = run("doctor", "films", "--deep", "--format", "json")
    data = json.loads(result.out)
    assert data["found"] is True
    assert data["diagnoses"] == [WELL._asdict(), PROBLEM._asdict()]
    assert (asked["name"], asked["deep"]) == ("films", True)


def test_another_format_and_an_unknown_collection_are_refused(run):
    assert run("doctor", "--format", "yaml").code == 2
    result = run("doctor", "gone")
    assert result.code == 3
    assert "gone" in result.err


def test_it_runs_on_a_true_store(run, jsonl):
    run("index", str(jsonl(FRUIT)), "-c", "fruit", *BM25)
    diagnoses = json.loads(run("doctor", "fruit", "--format", "json").out)["diagnoses"]
    mine = [one for one in diagnoses if one["subject"] in ("store", "collection fruit")]
    assert {one["state"] for one in mine} == {"ok"}, mine
    assert {"readable", "model of sparse", "idf", "vectors", "known document"} <= {one["check"] for one in mine}
