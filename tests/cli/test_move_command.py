"""`collections push`, `pull`, `copy`, `snapshot` and `restore` as people and programs call them."""

import json

import pytest

from tests.cli.conftest import BM25, FRUIT
from tests.qdrant_over_http import QdrantOverHttp


@pytest.fixture
def fruit(run, tmp_path):
    """The collection `fruit` in the folder of the store."""
    source = tmp_path / "fruit.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in FRUIT))
    assert run("index", source, "-c", "fruit", *BM25).code == 0
    return source


def without_times(out):
    return {name: value for name, value in json.loads(out).items() if name != "timings_ms"}


def test_to_a_server_and_back(fruit, run, monkeypatch):
    asked = ("search", "red apples", "-c", "fruit", "--format", "json")
    before = without_times(run(*asked).out)
    assert before["hits"]
    with QdrantOverHttp() as server:
        pushed = run("collections", "push", "fruit", "--to", f"{server.url}?api-key=secret")
        assert pushed.code == 0, pushed.err
        assert f"fruit in {server.url} is fruit of" in pushed.out
        assert "3 documents in 3 chunks: 3 written, 0 kept" in pushed.out
        assert "sparse 3 vectors and 3 searches" in pushed.out
        assert "secret" not in pushed.out + pushed.err
        assert without_times(run("--store", server.url, *asked).out) == before
        again = run("--store", server.url, "index", fruit, "-c", "fruit", *BM25)
        assert (again.code, "documents indexed  0 in 0" in again.out, "unchanged") == (0, True, "unchanged")
        pulled = run("collections", "pull", "fruit", "--from", server.url, "--as", "back", "--format", "json")
        report = json.loads(pulled.out)
        assert (report["collection"], report["name"], report["written"]) == ("fruit", "back", 3)
        assert report["searches"] == {"sparse": 3}
    assert without_times(run(*(word.replace("fruit", "back") for word in asked)).out)["hits"] == before["hits"]


def test_a_copy_beside_it_and_what_it_refuses(fruit, run):
    assert run("collections", "copy", "fruit", "other", "--progress", "json").code == 0
    assert "3 documents in 3 chunks: 0 written, 3 kept" in run("collections", "copy", "fruit", "other").out
    fruit.write_text(json.dumps(FRUIT[0]) + "\n")
    assert run("index", fruit, "-c", "fruit", "--prune").code == 0
    refused = run("collections", "copy", "fruit", "other")
    assert refused.code == 3
    assert "has other content: it has 3 documents instead of 1. Say --replace" in " ".join(refused.err.split())
    assert run("collections", "copy", "fruit", "other", "--replace").code == 0
    assert json.loads(run("collections", "show", "other").out)["documents"] == 1
    itself = run("collections", "copy", "fruit", "fruit")
    assert itself.code == 2
    assert "cannot be copied onto itself" in itself.err


def test_to_a_file_and_back(fruit, run, tmp_path):
    file = tmp_path / "fruit.snapshot"
    saved = run("collections", "snapshot", "fruit", file)
    assert (saved.code, "3 documents in 3 chunks" in saved.out) == (0, True), saved.err
    assert json.loads(run("collections", "snapshot", "fruit", file, "--format", "json").out)["file"] == str(file)
    restored = run("collections", "restore", file, "back", "--format", "json")
    assert restored.code == 0, restored.err
    assert json.loads(restored.out)["documents"] == 3
    assert "3 kept" in run("collections", "restore", file).out
    hits = [
        without_times(run("search", "pears", "-c", name, "--format", "json").out)["hits"] for name in ("fruit", "back")
    ]
    assert hits[0] == hits[1] != []
    file.write_bytes(file.read_bytes()[:3000])
    assert run("collections", "restore", file, "other").code == 3


@pytest.mark.parametrize("where", ["ftp://u:secret@host/x", "http://u:secret@127.0.0.1:9", "nobody:secret@host:6333"])
def test_a_target_that_cannot_be_reached_is_told_without_its_secret(fruit, run, monkeypatch, where):
    monkeypatch.setenv("HYBRID_SEARCH_RETRY_S", "0")
    told = run("collections", "push", "fruit", "--to", where)
    assert told.code in (2, 3)
    assert told.err
    assert "secret" not in told.out + told.err
