"""Derived graphs: equal to what fastembed makes of the original, whatever form that has, and kept soundly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from hybrid_search.encoders import load
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.onnx_graphs import cache as keeping
from hybrid_search.encoders.onnx_graphs.weights import WeightFiles, strip_weights
from hybrid_search.encoders.pruning import sparse_rows
from hybrid_search.errors import ModelError, ModelUnavailable
from tests import hub_models

onnx = import_module("onnx")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

TEXTS = ["A movie about music", "", "the sea " * 30, "Ünïcödé 東京 🙂 \x00", "spinal tap, the loudest band", "movie"]
SIZE = len(hub_models.VOCABULARY)


@pytest.fixture(scope="module")
def splade(tmp_path_factory):
    return hub_models.splade_folder(tmp_path_factory.mktemp("splade"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    folder = hub_models.dense_folder(tmp_path_factory.mktemp("dense"), onnx="model.onnx")
    (folder / "hybrid_search.json").write_text(json.dumps({"pooling": "mean"}), encoding="utf-8")
    return folder


def encoded(folder, cache, kind="sparse", texts=TEXTS):
    found = load(card(str(folder), kind), cache_dir=cache).encode_documents(texts)
    return found if kind == "dense" else rows_of(found)


def rows_of(vectors):
    rows = np.zeros((len(vectors), SIZE), dtype=np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        row[vector.indices] = vector.values
    return rows


def changed(folder, to, change):
    """A copy of a model folder whose graph was changed."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    model = onnx.load(to / "model.onnx")
    model = change(model) or model
    onnx.save(model, to / "model.onnx")
    return to


def of_fastembed(folder):
    """What fastembed's own class makes of the same files, all texts in one batch."""
    from fastembed.common.model_description import ModelSource, SparseModelDescription
    from fastembed.sparse.splade_pp import SpladePP

    described = SparseModelDescription(
        model="local",
        sources=ModelSource(hf="x"),
        model_file="model.onnx",
        description="",
        license="",
        size_in_GB=0,
        vocab_size=SIZE,
    )
    theirs = type("Theirs", (SpladePP,), {"_list_supported_models": classmethod(lambda cls: [described])})
    return list(theirs("local", specific_model_path=str(folder)).embed(TEXTS))


def test_splade_is_what_fastembed_gives(splade, tmp_path):
    ours = load(card(str(splade), "sparse"), cache_dir=tmp_path).encode_documents(TEXTS)
    for mine, theirs in zip(ours, of_fastembed(splade), strict=True):
        assert mine.indices.tolist() == theirs.indices.tolist()
        np.testing.assert_allclose(mine.values, theirs.values, atol=1e-5)


def shorter(model):
    """Without the last bias: the logits are a bare product."""
    last = model.graph.node[-1]
    [product] = [node for node in model.graph.node if node.output[0] == model.graph.node[-2].input[0]]
    last.input[0] = product.output[0]


def with_a_relu(model):
    """Something behind the bias: the pattern of a plain last layer is not there."""
    last = model.graph.node[-1]
    last.op_type = "Relu"


def masks_of_32_bits(model):
    for given in model.graph.input:
        if given.name == "attention_mask":
            given.type.tensor_type.elem_type = TensorProto.INT32


def without_token_types(model):
    zeros = helper.make_node("Sub", ["input_ids", "input_ids"], ["zero_types"])
    model.graph.node.insert(0, zeros)
    for node in model.graph.node:
        node.input[:] = ["zero_types" if name == "token_type_ids" else name for name in node.input]
    kept = [given for given in model.graph.input if given.name != "token_type_ids"]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def with_more_outputs(model):
    first = next(node for node in model.graph.node if node.op_type == "LayerNormalization").output[0]
    shape = ["batch", "length", hub_models.HIDDEN]
    model.graph.output.insert(0, helper.make_tensor_value_info(first, TensorProto.FLOAT, shape))


def of_an_unknown_rank(model):
    model.graph.output[0].type.tensor_type.ClearField("shape")


def of_opset_18(model):
    """From here on the axes of a maximum are an input."""
    model.opset_import[0].version = 18


@pytest.mark.parametrize(
    "change",
    [masks_of_32_bits, without_token_types, with_more_outputs, of_an_unknown_rank, of_opset_18],
    ids=lambda change: change.__name__,
)
def test_other_forms_of_the_same_graph_give_the_same(splade, tmp_path, change):
    other = changed(splade, tmp_path / "other", change)
    np.testing.assert_allclose(encoded(other, tmp_path), encoded(splade, tmp_path), atol=1e-6)


@pytest.mark.parametrize("change", [shorter, with_a_relu], ids=lambda change: change.__name__)
def test_logits_of_other_last_layers(splade, tmp_path, change):
    other = changed(splade, tmp_path / "other", change)
    theirs = np.zeros((len(TEXTS), SIZE), dtype=np.float32)
    for row, found in zip(theirs, of_fastembed(other), strict=True):
        row[found.indices] = found.values
    np.testing.assert_allclose(encoded(other, tmp_path), theirs, atol=1e-5)


def test_logits_of_sixteen_bits(splade, tmp_path):
    def halved(model):
        model.graph.node.append(helper.make_node("Cast", [model.graph.node[-1].input[0]], ["half"], to=10))
        model.graph.output[0].name = "half"
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16

    other = changed(splade, tmp_path / "other", halved)
    np.testing.assert_allclose(encoded(other, tmp_path), encoded(splade, tmp_path), atol=2e-3)


def test_a_graph_that_pools_itself_is_taken_at_its_word(splade, tmp_path):
    def pooled(model):
        name = model.graph.output[0].name
        nodes = [
            helper.make_node("ReduceMax", [name], ["top"], axes=[1], keepdims=0),
            helper.make_node("Relu", ["top"], ["weights"]),
        ]
        model.graph.node.extend(nodes)
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["batch", SIZE]))

    other = changed(splade, tmp_path / "other", pooled)
    [theirs] = encoded(splade, tmp_path, texts=TEXTS[:1])
    np.testing.assert_allclose(np.log1p(encoded(other, tmp_path, texts=TEXTS[:1])[0]), theirs, atol=1e-5)


def test_the_dense_output_that_is_pooled_already(dense, tmp_path):
    """As embeddinggemma: token vectors first, then the sentence's."""

    def both(model):
        first = [helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0)))]
        first.append(helper.make_node("Gather", ["last_hidden_state", "zero"], ["sentence_embedding"], axis=1))
        model.graph.node.extend(first)
        shape = ["batch", hub_models.HIDDEN]
        model.graph.output.append(helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, shape))

    other = changed(dense, tmp_path / "other", both)
    for pooling, place in (("none", other), ("cls", dense)):
        (place / "hybrid_search.json").write_text(json.dumps({"pooling": pooling}), encoding="utf-8")
    np.testing.assert_allclose(encoded(other, tmp_path, "dense"), encoded(dense, tmp_path, "dense"), atol=1e-6)
    (dense / "hybrid_search.json").write_text(json.dumps({"pooling": "mean"}), encoding="utf-8")


@pytest.mark.parametrize("name", ["model.onnx_data", "weights/part-1.bin"])
def test_weights_in_a_file_of_their_own_stay_there(splade, tmp_path, name):
    other = tmp_path / "other"
    changed(splade, other, lambda model: None)
    (other / name).parent.mkdir(exist_ok=True)
    onnx.save(onnx.load(other / "model.onnx"), other / "model.onnx", save_as_external_data=True, location=name)
    files = ["model.onnx", name]
    (other / "hybrid_search.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    np.testing.assert_allclose(encoded(other, tmp_path), encoded(splade, tmp_path), atol=1e-6)
    [kept] = [path for path in (tmp_path / "derived").iterdir() if name in (path / "index.json").read_text("utf-8")]
    assert not (kept / "weights.bin").exists()


def test_weights_outside_of_the_folder_are_refused(splade, tmp_path):
    def outside(model):
        big = next(tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 4096)
        big.ClearField("raw_data")
        big.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "../elsewhere"), ("offset", "0")):
            entry = big.external_data.add()
            entry.key, entry.value = key, value

    other = tmp_path / "other"
    changed(splade, other, lambda model: None)
    model = onnx.load(other / "model.onnx")
    outside(model)
    (other / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelUnavailable, match="cannot be read from"):
        encoded(other, tmp_path)


def kept_folder(cache):
    [folder] = (cache / "derived").iterdir()
    return folder


def test_what_is_kept_is_small_and_used_again(splade, tmp_path, monkeypatch):
    first = encoded(splade, tmp_path)
    folder = kept_folder(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"graph.onnx", "index.json"}
    assert (folder / "graph.onnx").stat().st_size < (splade / "model.onnx").stat().st_size
    weights = json.loads((folder / "index.json").read_text("utf-8"))["weights"]
    assert {file for file, *_ in weights.values()} == {"model.onnx"}
    monkeypatch.setattr("hybrid_search.encoders.onnx_graphs.build.make", None)
    np.testing.assert_array_equal(encoded(splade, tmp_path), first)


@pytest.mark.parametrize("file", ["graph.onnx", "index.json"])
def test_what_was_damaged_is_made_again(splade, tmp_path, file):
    first = encoded(splade, tmp_path)
    path = kept_folder(tmp_path) / file
    good = path.read_bytes()
    for content in (good[: len(good) // 2], b"", good[:-9] + b"?" + good[-8:], None):
        path.unlink() if content is None else path.write_bytes(content)
        np.testing.assert_array_equal(encoded(splade, tmp_path), first)
        assert path.read_bytes() == good


def test_another_original_or_derivation_gets_its_own(splade, tmp_path, monkeypatch):
    encoded(splade, tmp_path)
    encoded(hub_models.splade_folder(tmp_path / "other", seed=3), tmp_path)
    assert len(list((tmp_path / "derived").iterdir())) == 2
    before = set((tmp_path / "derived").iterdir())
    monkeypatch.setattr(keeping, "VERSION", keeping.VERSION + 1)
    encoded(splade, tmp_path)
    assert len(set((tmp_path / "derived").iterdir()) - before) == 1


def test_a_cache_that_cannot_be_written_is_done_without(splade, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    np.testing.assert_array_equal(encoded(splade, tmp_path / "file"), encoded(splade, tmp_path))


def test_a_kept_graph_needs_no_onnx_package(splade, tmp_path):
    encoded(splade, tmp_path, texts=["movie"])
    code = (
        "import sys; from pathlib import Path\n"
        "from hybrid_search.encoders import load; from hybrid_search.encoders.catalog import card\n"
        f"load(card({str(splade)!r}, 'sparse'), cache_dir=Path({str(tmp_path)!r})).encode_queries(['movie'])\n"
        "print([name for name in ('onnx', 'fastembed', 'google.protobuf') if name in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("content", [b"", b"\x08", b"no graph at all, but long enough" * 200, bytes(5000)])
def test_a_file_that_is_no_graph_is_named(splade, tmp_path, content):
    other = changed(splade, tmp_path / "other", lambda model: None)
    (other / "model.onnx").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded from .*models verify"):
        encoded(other, tmp_path)


def test_every_truncation_of_a_graph_is_noticed(splade, tmp_path):
    content = (splade / "model.onnx").read_bytes()
    for part in range(1, 20):
        (tmp_path / "model.onnx").write_bytes(content[: len(content) * part // 20])
        with pytest.raises(ModelError):
            strip_weights(tmp_path, "model.onnx")


def test_a_skeleton_names_every_large_weight(splade):
    lean, weights = strip_weights(splade, "model.onnx")
    maps, whole = WeightFiles(splade), onnx.load(splade / "model.onnx")
    large = {tensor.name for tensor in whole.graph.initializer if len(tensor.raw_data) >= 4096}
    assert set(weights) == large
    assert large
    for tensor in whole.graph.initializer:
        if tensor.name in large:
            np.testing.assert_array_equal(maps.array(weights[tensor.name]), numpy_helper.to_array(tensor))
    small = [tensor for tensor in onnx.ModelProto.FromString(lean).graph.initializer if tensor.name not in large]
    assert all(tensor.raw_data for tensor in small)
    maps.release_memory()


def test_rows_become_vectors_in_one_look():
    rows = np.array([[0, 1, -1, 3], [0, 0, 0, 0], [2, 0, 0, 5]], dtype=np.float32)
    first, none, last = sparse_rows(rows, 1)
    assert first.indices.tolist() == [1, 3]
    assert first.values.tolist() == pytest.approx(np.log1p([1, 3]))
    assert len(none) == 0
    assert last.indices.tolist() == [0, 3]
    assert sparse_rows(rows, 0)[2].values.tolist() == [2, 5]


def test_an_input_that_is_not_known_is_named(splade, tmp_path):
    def asks_more(model):
        model.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1]))
        name = model.graph.output[0].name
        model.graph.node.append(helper.make_node("Add", [name, "pixels"], ["more"]))
        model.graph.output[0].name = "more"

    other = changed(splade, tmp_path / "other", asks_more)
    with pytest.raises(ModelError, match="asks for 'pixels'"):
        encoded(other, tmp_path)


def test_tasks_are_told(dense, tmp_path):
    """As jina-embeddings-v3: an input says whether it is a query."""

    def with_a_task(model):
        model.graph.input.append(helper.make_tensor_value_info("task_id", TensorProto.INT64, []))
        add = [helper.make_node("Cast", ["task_id"], ["task"], to=1)]
        add.append(helper.make_node("Add", ["last_hidden_state", "task"], ["tasked"]))
        model.graph.node.extend(add)
        model.graph.output[0].name = "tasked"

    other = changed(dense, tmp_path / "other", with_a_task)
    encoder = load(card(str(other), "dense"), cache_dir=tmp_path)
    plain = load(card(str(dense), "dense"), cache_dir=tmp_path)
    np.testing.assert_allclose(encoder.encode_queries(["movie"]), plain.encode_queries(["movie"]), atol=1e-6)
    assert np.abs(encoder.encode_documents(["movie"]) - plain.encode_documents(["movie"])).max() > 0.01


def test_a_graph_too_old_is_refused(splade, tmp_path):
    def old(model):
        model.opset_import[0].version = 9

    other = changed(splade, tmp_path / "other", lambda model: None)
    model = onnx.load(other / "model.onnx")
    old(model)
    (other / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelUnavailable, match="opset 9; 11 or newer"):
        encoded(other, tmp_path)


def test_a_newer_derivation_removes_what_older_ones_made_of_the_same(splade, dense, tmp_path, monkeypatch):
    first, other = encoded(splade, tmp_path), encoded(dense, tmp_path, "dense")
    old = set((tmp_path / "derived").iterdir())
    assert len(old) == 2
    monkeypatch.setattr(keeping, "VERSION", keeping.VERSION + 1)
    np.testing.assert_array_equal(encoded(splade, tmp_path), first)
    kept = set((tmp_path / "derived").iterdir())
    assert len(kept) == 2
    assert len(kept & old) == 1  # the dense model's: nothing newer has been made of it
    monkeypatch.undo()
    np.testing.assert_array_equal(encoded(dense, tmp_path, "dense"), other)


def test_an_older_derivation_that_cannot_be_removed_does_no_harm(splade, tmp_path, monkeypatch):
    first = encoded(splade, tmp_path)
    monkeypatch.setattr(keeping, "VERSION", keeping.VERSION + 1)
    real = os.unlink

    def refuse(path, *args, **options):
        if str(path).endswith(("graph.onnx", "index.json")):
            raise PermissionError(path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    np.testing.assert_array_equal(encoded(splade, tmp_path), first)
    assert len(list((tmp_path / "derived").iterdir())) == 2
