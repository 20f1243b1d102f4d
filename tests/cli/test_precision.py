"""--precision, --device, --max-active-dims, --min-weight, and what `models verify` measures."""

from __future__ import annotations

import json

import pytest

from hybrid_search.collection import profiles
from hybrid_search.encoders import devices
from tests import hub_models


@pytest.fixture
def folder(tmp_path):
    return str(hub_models.splade_folder(tmp_path / "splade"))


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "films.jsonl"
    rows = [{"id": "1", "text": "a movie about music"}, {"id": "2", "text": "the sea and the ship"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


@pytest.fixture
def dataset(tmp_path):
    """A BEIR folder of two documents and two queries."""
    place = tmp_path / "small"
    (place / "qrels").mkdir(parents=True)
    texts = {"1": "a movie about music", "2": "the sea and the ship"}
    for name in ("corpus", "queries"):
        rows = [{"_id": number, "text": text if name == "corpus" else text[-5:]} for number, text in texts.items()]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (place / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n2\t2\t1\n", encoding="utf-8")
    return str(place)


def test_a_collection_is_built_in_eight_bits_and_cut(run, folder, source):
    given = ["-c", "c", "--sparse", folder, "--dense", "none", "--progress", "none"]
    limits = ["--max-active-dims", "queries=3,documents=5", "--min-weight", "documents=0.01"]
    assert run("index", source, *given, "--precision", "int8", *limits).code == 0
    shown = json.loads(run("collections", "show", "c").out)
    leg = shown["manifest"]["legs"]["sparse"] if "manifest" in shown else shown["legs"]["sparse"]
    assert leg["precision"] == "int8"
    assert leg["sparsity"] == {"max_active_dims": [3, 5], "min_weight": [0.0, 0.01]}
    assert run("search", "music", "-c", "c", "--format", "json").code == 0
    other = run("index", source, "-c", "c", "--precision", "fp32", "--progress", "none")
    assert other.code == 3
    assert "int8, not with fp32" in other.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "int4"], "take one of: fp32, int8, bf16, fp16"),
        (["--device", "gpu"], "--device is 'gpu'; take one of: auto, cpu, cuda"),
        (["--max-active-dims", "250"], "queries=60,documents=250"),
        (["--max-active-dims", "sparse=250"], "no side 'sparse'"),
        (["--min-weight", "documents=-1"], "must be 0"),
    ],
)
def test_options_that_cannot_be_meant(run, folder, source, options, message):
    done = run("index", source, "-c", "c", "--sparse", folder, "--dense", "none", *options)
    assert done.code == 2
    assert message in done.err


def test_a_leg_is_added_in_eight_bits(run, folder, source):
    assert run("index", source, "-c", "c", "--sparse", folder, "--dense", "none").code == 0
    done = run("collections", "add-leg", "c", "small", folder, "--precision", "int8")
    assert done.code == 0, done.err


def test_what_a_precision_costs_is_measured(run, folder, dataset):
    pytest.importorskip("ir_measures", reason="the extra eval is not installed")
    asked = ["models", "verify", folder, "--precision", "int8", "--dataset", dataset]
    done = run(*asked, "--format", "json")
    assert done.code == 0, done.err
    [found] = json.loads(done.out)
    assert (found["precision"], found["measure"]) == ("int8", "nDCG@10")
    [result] = found["results"]
    assert result["loss"] == pytest.approx(result["fp32"] - result["int8"], abs=1e-4)
    assert found["mean_loss"] == result["loss"]
    table = run(*asked, "--dataset", dataset)
    assert "mean" in table.out
    assert "fp32" in table.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "int8"], "There is no dataset"),
        (["--dataset", "x"], "--precision is ''"),
        (["--precision", "fp32", "--dataset", "x"], "take one of: int8, bf16, fp16"),
    ],
)
def test_a_measurement_needs_both(run, folder, options, message):
    done = run("models", "verify", folder, *options)
    assert done.code == 2
    assert message in done.err


def test_a_model_without_a_choice_is_not_compared(run, dataset):
    done = run("models", "verify", "bundled/minilm-splade", "--precision", "int8", "--dataset", dataset)
    assert done.code == 2
    assert "others are run as their files are" in done.err


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "onnx_has_cuda", lambda: False)


def test_cuda_where_there_is_none_is_an_error_by_name(run, folder, source, dataset, no_gpu, monkeypatch):
    given = ["--sparse", folder, "--dense", "none"]
    assert run("index", source, "-c", "c", *given, "--device", "cpu").code == 0
    asked = [
        ["index", source, "-c", "new", *given],
        ["collections", "add-leg", "c", "more", folder],
        ["search", "music", "-c", "c"],
        ["evaluate", dataset, *given],
        ["models", "verify", folder, "--precision", "int8", "--dataset", dataset],
    ]
    for words in asked:
        done = run(*words, "--device", "cuda")
        assert done.code == 3, words
        assert "cannot run on cuda: this onnxruntime has no CUDAExecutionProvider" in done.err
    monkeypatch.setenv("HYBRID_SEARCH_DEVICE", "cuda")
    assert run("search", "music", "-c", "c").code == 3
    # The option goes before the environment; the collection does not remember where it was built.
    assert run("search", "music", "-c", "c", "--device", "auto").code == 0
    assert "device" not in run("collections", "show", "c").out


def test_fp16_is_built_on_gpus_and_searched_everywhere(run, folder, source, no_gpu, monkeypatch):
    given = [source, "-c", "c", "--sparse", folder, "--dense", "none", "--precision", "fp16"]
    refused = run("index", *given)
    assert refused.code == 3
    assert "not built in fp16 here" in refused.err
    assert run("collections", "show", "c").code == 3
    with monkeypatch.context() as on_another_machine:
        on_another_machine.setattr(profiles, "check_building", lambda *asked: None)
        assert run("index", *given).code == 0
    leg = json.loads(run("collections", "show", "c").out)["manifest"]["legs"]["sparse"]
    assert leg["precision"] == "fp16"
    assert run("search", "music", "-c", "c").code == 0
    assert run("index", source, "-c", "c").code == 0
    added = run("collections", "add-leg", "c", "more", folder, "--precision", "fp16")
    assert (added.code, "not built in fp16" in added.err) == (3, True)
