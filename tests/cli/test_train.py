"""`train` as a command: options, output, exit codes, and what an interrupted one says."""

from __future__ import annotations

import json
import signal
import sys

import pytest
import rich.progress
import typer

from hybrid_search._util import extras
from hybrid_search.cli import train_view
from hybrid_search.cli.app import app
from hybrid_search.training.callbacks import Progress as Told
from hybrid_search.training.recipe import Recipe
from hybrid_search.training.train import command_of
from tests.training.conftest import bases, beir, train_extra  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = ("--steps", "4", "--batch-size", "8", "--eval-every", "2", "--max-tokens", "32", "--device", "cpu")


@pytest.fixture
def films(beir, bases):  # noqa: F811
    return (beir, "--base", bases["BertForMaskedLM"], *SMALL)


def test_every_setting_has_an_option():
    command = typer.main.get_command(app).commands["train"]
    options = {name for parameter in command.params for name in parameter.opts}
    wanted = {"--" + name.replace("_", "-") for name in Recipe.__dataclass_fields__} - {"--teachers"}
    assert wanted | {"--teacher", "--out", "--resume", "--progress", "--format"} <= options


def test_a_command_line_is_read_as_it_is_written(run, tmp_path, monkeypatch):
    """What `command_of` writes, the options read back to the same recipe."""
    asked = Recipe(
        base="some/model", loss="kl", regularizer="l1", query_weight=0.1, document_weight=0.2, warmup_fraction=0.5,
        inference_free=True, mine_from="films", mine_depth=7, mine_negatives=3, mine_margin=0.1, teachers=("a b", "c"),
        skip_bad_rows=True, held_out="dev set", epochs=2.5, steps=9, batch_size=3, accumulate=2, learning_rate=1e-4,
        head_learning_rate=1e-3, precision="bf16", device="cpu", eval_every=5, patience=1, checkpoint_every=6, seed=7,
        max_tokens=99,
    )  # fmt: skip
    got = []

    def train(sources, out, recipe, **_):
        got.append((sources, out, recipe))
        raise KeyboardInterrupt

    monkeypatch.setattr("hybrid_search.training.train.train", train)
    import shlex

    done = run(*shlex.split(command_of(["my films"], tmp_path / "out", asked))[1:])
    assert done.code == 130
    assert got == [(["my films"], tmp_path / "out", asked)]
    assert all(getattr(asked, name) != getattr(Recipe(), name) for name in Recipe.__dataclass_fields__)


def test_nothing_to_train_on_is_a_usage_error(run, tmp_path):
    done = run("train", "--out", tmp_path / "out")
    assert done.code == 2
    assert "Name what to train on" in done.err
    assert run("train", "x.jsonl").code == 2


def test_the_missing_extra_is_said_before_anything_is_read(run, tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    done = run("train", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.code == 3
    assert "pip install 'hybrid-search-qdrant[train]'" in done.err.replace("\n", " ")


def test_a_table_for_people_and_a_folder_for_searches(run, films, beir, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    done = run("train", *films, "--out", out)
    assert done.code == 0, done.err
    for word in ("before", "trained", "exported", "int8", "nDCG@10", f"--sparse {out}"):
        assert word in done.out
    assert [line.split(":")[0] for line in done.err.splitlines() if line.startswith("step")] == [
        "step 0",
        "step 2",
        "step 4",
    ]
    assert run("index", beir, "-c", "films", "--sparse", out, "--dense", "none").code == 0
    found = json.loads(run("search", "music of the sea", "-c", "films", "--format", "json").out)
    assert found["hits"]
    judged = run("evaluate", beir, "--sparse", out / "int8", "--dense", "none", "--modes", "sparse", "--format", "json")
    assert judged.code == 0, judged.err


def test_the_bar_shows_what_is_being_done_and_nothing_that_is_over():
    with rich.progress.Progress(disable=True) as bars:
        tell, _ = train_view._bars(bars)
        seen = []
        for now in (("data",), ("base",), ("judge",), ("train", 1, 6), ("judge",), ("train", 6, 6), ("export",)):
            tell(Told(*now))
            seen.append([task.description for task in bars.tasks if task.visible])
    assert seen == [
        ["reading"], ["loading the base"], ["judging"], ["training"], ["judging", "training"], ["training"],
        ["training", "exporting"],
    ]  # fmt: skip


def test_json_for_machines(run, films, tmp_path):
    done = run("train", *films, "--out", tmp_path / "out", "--format", "json", "--progress", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    events = [json.loads(line) for line in done.err.splitlines()]
    assert {event["event"] for event in events} == {"progress"}
    assert [event["evaluation"]["step"] for event in events if "evaluation" in event] == [0, 2, 4]


def test_resumed_otherwise_is_refused(run, films, tmp_path):
    out = tmp_path / "out"
    assert run("train", *films, "--out", out).code == 0
    done = run("train", "--out", out, "--resume", "--seed", "9")
    assert done.code == 3
    assert "seed is 9, was 0" in done.err
    assert "already holds a training" in run("train", *films, "--out", out).err.replace("\n", " ")
    again = run("train", *films, "--out", out, "--resume", "--checkpoint-every", "1")
    assert again.code == 0, again.err


def test_left_out_rows_are_listed_and_the_exit_code_says_so(run, films, tmp_path, beir):  # noqa: F811
    pairs = tmp_path / "pairs.jsonl"
    words = ["sea", "river", "lake", "ocean", "rain", "snow"]
    rows = [{"query": f"music {word}", "positive": f"the {word}"} for word in words]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows) + "nothing\n", encoding="utf-8")
    done = run("train", pairs, *films[1:], "--out", tmp_path / "out", "--skip-bad-rows", "--held-out", "2")
    assert done.code == 4
    assert "1 rows were left out" in done.err
    assert "pairs.jsonl:7" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_says_how_to_go_on(start, films, tmp_path):
    out = tmp_path / "out"
    process = start("train", *films[:3], "--steps", "10000", *SMALL[2:], "--out", out, "--progress", "json")
    for line in process.stderr:
        if line.startswith("{") and json.loads(line).get("done", 0) >= 3:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130
    assert f"Go on with it: hybrid-search train --out {out} --resume" in rest
    assert (out / "checkpoints" / "checkpoint-2" / "complete.json").is_file()
