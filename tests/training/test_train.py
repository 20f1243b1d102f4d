"""The whole road: data to folders and report; and on again, or not, where settings or data are others."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace

import pytest
from filelock import FileLock

from hybrid_search.encoders.catalog import card
from hybrid_search.errors import (
    CollectionNotFound,
    CorpusError,
    InvalidArgument,
    ModelError,
    TrainingError,
    UnknownModel,
)
from hybrid_search.indexer import Indexer
from hybrid_search.searcher import Searcher
from hybrid_search.training import train as training
from hybrid_search.training.augment import EXAMPLES_FILE
from hybrid_search.training.recipe import Recipe
from tests import hub_models

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("train_extra")]

BM25 = "qdrant/bm25-engine"


def test_from_a_beir_folder_to_a_search(beir, recipe, settings, tmp_path):
    out, told = tmp_path / "made" / "model", []
    report = training.train([beir], out, recipe, settings=settings, on_progress=told.append)
    names = {path.name for path in out.iterdir()} - {".lock"}
    assert names == {
        "README.md", "checkpoints", "int8", "model", "report.html", "report.json", "torch", "training.json",
    }  # fmt: skip
    assert told[0].stage == "data"
    assert told[-1].stage == "export"
    stages = [one.stage for one, before in zip(told[1:], told, strict=False) if one.stage != before.stage]
    assert stages[:3] == ["base", "judge", "train"]
    assert report.data == {
        "examples": 32, "queries": 32, "negatives": 0, "held-out queries": 8, "held-out documents": 40,
    }  # fmt: skip
    assert {path.rsplit("/", 1)[1] for path in report.hashes} == {"corpus.jsonl", "queries.jsonl", "test.tsv"}
    assert (report.steps, report.made, report.base["head"]) == (6, 6, "its own")
    assert report.before.step == 0
    assert report.after.step == report.best
    assert report.exported.full.ndcg == pytest.approx(report.after.ndcg, abs=0.02)  # nearly equal scores may swap
    assert json.loads((out / "report.json").read_text("utf-8"))["best"] == report.best
    assert (out / "README.md").read_text("utf-8") == (out / "model" / "README.md").read_text("utf-8")
    assert card(str(out), "sparse").max_tokens == 32
    # What is done needs no more than its last checkpoint, and the best weights that this one names.
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"checkpoint-6", f"best-{report.best}"}

    for place in (out, out / "int8"):
        Indexer.open(place.name, settings=settings, sparse=str(place), dense="none", chunk_tokens=0).index(beir)
        with Searcher.open(place.name, settings=settings) as searcher:
            assert len(searcher.search("music and the sea", k=5, mode="sparse"))
    shutil.rmtree(out / "int8")
    with pytest.raises(ModelError, match=r"'int8' was built with .*/int8', a folder that is no longer there\. Bring"):
        Searcher.open("int8", settings=settings)


def test_the_command_in_the_report_trains_the_same(beir, recipe, settings, tmp_path):
    command = training.command_of([str(beir)], tmp_path / "out", recipe)
    for part in ("--steps 6", "--seed 3", "--learning-rate 0.001", "--device cpu", "--checkpoint-every 2"):
        assert part in command
    assert "--epochs" not in command


def begun(beir, recipe, settings, out):
    """A training that ended after its first evaluation, as after a kill."""

    class Killed(Exception):
        pass

    def kill(now):
        if now.evaluation and now.evaluation.step == 3:
            raise Killed

    with pytest.raises(TrainingError, match="Killed"):
        training.train([beir], out, recipe, settings=settings, on_progress=kill)
    return out


def test_resumed_with_nothing_but_the_folder(beir, recipe, settings, tmp_path):
    out = begun(beir, recipe, settings, tmp_path / "out")
    told = []
    resumed = training.resume(out, settings=settings, on_progress=told.append)
    assert "going on from step 2" in [one.note for one in told]
    whole = training.train([beir], tmp_path / "whole", recipe, settings=settings)
    assert resumed.evaluations == whole.evaluations
    assert resumed.curve == whole.curve
    ours, theirs = (folder / "model" / "model.onnx" for folder in (out, tmp_path / "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_resumed_otherwise_is_refused_by_name(beir, recipe, settings, tmp_path):
    out = begun(beir, recipe, settings, tmp_path / "out")
    with pytest.raises(TrainingError, match=r"begun otherwise: seed is 4, was 3; loss is kl, was contrastive\. Leave"):
        training.resume(out, given={"seed": 4, "loss": "kl", "batch_size": 8}, settings=settings)
    with pytest.raises(TrainingError, match=r"the sources are .*other, were .*tiny-set"):
        training.resume(out, sources=[tmp_path / "other"], settings=settings)
    with (beir / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"_id": "more", "text": "a new one"}\n')
    with pytest.raises(
        TrainingError, match=r"data .* has changed since it was begun: \S+corpus\.jsonl\. Bring it back"
    ):
        training.resume(out, settings=settings)
    assert (out / "checkpoints" / "checkpoint-2").is_dir()


def test_another_base_under_the_same_name_is_refused(beir, recipe, settings, tmp_path):
    folder = shutil.copytree(recipe.base, tmp_path / "base")
    out = begun(beir, replace(recipe, base=str(folder)), settings, tmp_path / "out")
    hub_models.torch_folder(folder, "BertForMaskedLM", seed=8)
    with pytest.raises(TrainingError, match=r"The base \S+base has changed since"):
        training.resume(out, settings=settings)


def test_what_is_no_training_to_go_on_with(recipe, settings, tmp_path):
    with pytest.raises(TrainingError, match=r"holds no training that could go on \(training\.json is missing\)"):
        training.resume(tmp_path, settings=settings)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(TrainingError, match=r"training\.json cannot be read"):
        training.resume(tmp_path, settings=settings)


def test_a_folder_that_is_in_use_is_left_alone(beir, recipe, settings, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(TrainingError, match="is no empty folder"):
        training.train([beir], tmp_path / "full", recipe, settings=settings)
    out = begun(beir, recipe, settings, tmp_path / "out")
    with pytest.raises(TrainingError, match=r"already holds a training\. Go on with it: .* --resume"):
        training.train([beir], out, recipe, settings=settings)
    with FileLock(out / ".lock"), pytest.raises(TrainingError, match="Another process is training into"):
        training.resume(out, settings=settings)


def test_mined_and_scored_once(beir, recipe, settings, tmp_path):
    Indexer.open("tiny", settings=settings, sparse=BM25, dense="none", chunk_tokens=0).index(beir)
    asked = replace(recipe, loss="margin-mse", mine_from="tiny", mine_negatives=2, mine_margin=0.0, teachers=(BM25,))
    out = begun(beir, asked, settings, tmp_path / "out")
    assert (out / EXAMPLES_FILE).is_file()
    # What was worked out is kept, so the collection is not needed again.
    shutil.rmtree(tmp_path / "store")
    told = []
    report = training.resume(out, settings=settings, on_progress=told.append)
    assert report.data["negatives"] == report.data["mined negatives"] > 32
    assert report.data["teachers"] == 1
    assert "mine" not in [one.stage for one in told]
    (out / EXAMPLES_FILE).write_bytes(b"half")
    with pytest.raises(TrainingError, match="is damaged"):
        training.resume(out, settings=settings)
    (out / EXAMPLES_FILE).unlink()
    with pytest.raises(CollectionNotFound):
        training.resume(out, settings=settings)


def test_what_cannot_be_is_said_before_anything_is_written(beir, recipe, settings, tmp_path):
    out = tmp_path / "out"

    def asked(**given):
        return training.train([beir], out, replace(recipe, **given), settings=settings)

    with pytest.raises(InvalidArgument, match="batch_size is 0"):
        asked(batch_size=0)
    with pytest.raises(InvalidArgument, match="fp16, which needs a GPU"):
        asked(precision="fp16")
    with pytest.raises(CorpusError, match="nowhere"):
        training.train([tmp_path / "nowhere.jsonl"], out, recipe, settings=settings)
    assert not out.exists()
    with pytest.raises(InvalidArgument, match="does not read teachers' scores"):
        asked(teachers=(BM25,))
    with pytest.raises(ModelError, match="no model folder"):
        asked(base=str(tmp_path / "nowhere"))
    with pytest.raises(UnknownModel, match="Unknown teacher"):
        asked(loss="kl", teachers=("no-such-model",))
    with pytest.raises(UnknownModel, match="Unknown teacher"):  # before anything is mined, from whatever collection
        asked(loss="kl", mine_from="nowhere", teachers=("no-such-model",))
    # So the same folder can be asked for again.
    assert not out.exists()


def test_a_full_disk_before_the_first_checkpoint_leaves_a_training_to_go_on_with(
    beir, recipe, settings, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", full)
        with pytest.raises(TrainingError, match=r"could not be written .*There is no checkpoint yet\. .*--resume"):
            training.train([beir], tmp_path / "out", recipe, settings=settings)
    assert training.resume(tmp_path / "out", settings=settings).made == 6


def test_no_gpu_is_said(beir, recipe, settings, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TrainingError, match="torch finds no GPU"):
        training.train([beir], tmp_path / "out", replace(recipe, device="cuda"), settings=settings)


def test_bad_rows_are_told_or_left_out(recipe, settings, tmp_path, tiny):
    file = tmp_path / "pairs.jsonl"
    rows = [json.dumps({"query": one.query, "positive": one.positive}) for one in tiny.examples]
    file.write_text("\n".join([*rows, '{"query": "no answer"}', "not json"]), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"pairs\.jsonl:31: .*pairs\.jsonl:32: "):
        training.train([file], tmp_path / "out", recipe, settings=settings)
    left_out = []
    training.train(
        [file], tmp_path / "out", replace(recipe, skip_bad_rows=True), settings=settings, on_failure=left_out.append
    )
    assert [one.origin.rsplit(":", 1)[1] for one in left_out] == ["31", "32"]


@pytest.mark.slow
def test_films_get_better(settings, tmp_path, bundled):
    """The films' own pairs, the default base, and settings of a test's size: better on queries it never saw."""
    from pathlib import Path

    films = Path(__file__).resolve().parents[2] / "datasets" / "movies"
    recipe = Recipe(steps=40, max_tokens=64, eval_every=20, device="cpu")
    report = training.train([films], tmp_path / "out", recipe, settings=settings)
    assert report.before.ndcg > 0.15
    assert report.after.ndcg > report.before.ndcg
    assert report.exported.full.ndcg == pytest.approx(report.after.ndcg, abs=1e-3)
    assert report.exported.int8.ndcg > report.before.ndcg
