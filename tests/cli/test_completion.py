"""What a shell is offered, how soon, and with what loaded."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hybrid_search.cli.app import app
from tests.cli.test_help_and_imports import HEAVY
from tests.qdrant_over_http import QdrantOverHttp

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")


def offered(line):
    """The offers of bash for the last word of a line."""
    words = line.split(" ")
    environment = {
        "_HYBRID_SEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": f"hybrid-search {line}",
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(app, [], prog_name="hybrid-search", env=environment)
    return result.stdout.split()


@pytest.fixture
def garden(run, fruit, environment):
    """Two collections, one of them with a leg more."""
    run("index", fruit, "-c", "flowers", *BM25, "--legs", "sparse,dense,bm25")
    return environment["HYBRID_SEARCH_STORE"]


OFFERS = [
    ("search x -c ", ["flowers", "fruit"]),
    ("search several words -c fr", ["fruit"]),
    ("search x --collection fl", ["flowers"]),
    ("search x -c zzz", []),
    ("explain x -c ", ["flowers", "fruit"]),
    ("index x -c ", ["flowers", "fruit"]),
    ("evaluate x -c ", ["flowers", "fruit"]),
    ("status -c ", ["flowers", "fruit"]),
    ("tui -c ", ["flowers", "fruit"]),
    ("mcp -c ", ["flowers", "fruit"]),
    ("serve -c ", ["flowers", "fruit"]),
    ("collections show ", ["flowers", "fruit"]),
    ("collections delete f", ["flowers", "fruit"]),
    ("collections add-leg fl", ["flowers"]),
    ("collections add-leg flowers new prithivida/", ["prithivida/Splade_PP_en_v1"]),
    ("export parquet x -c ", ["flowers", "fruit"]),
    ("import parquet x -c fr", ["fruit"]),
    ("import anserini x -c fr", ["fruit"]),
    ("import anserini x --model terms/", ["terms/words", "terms/wordpieces"]),
    ("collections drop-leg flowers ", ["sparse", "bm25"]),
    ("search x -c flowers --mode ", ["hybrid", "sparse", "bm25"]),
    ("search x -c fruit --mode ", ["hybrid", "sparse"]),
    ("search x --mode ", ["hybrid", "sparse", "dense"]),
    ("search x -c nowhere --mode ", []),
    ("index x --profile ", ["auto", "splade", "bundled"]),
    ("search x --rerank Xenova/ms-marco-MiniLM-L-6", ["Xenova/ms-marco-MiniLM-L-6-v2"]),
    ("index x --sparse prithivida/", ["prithivida/Splade_PP_en_v1"]),
    ("index x --dense non", ["none"]),
    ("models download spl", ["splade"]),
]


def test_offers(garden):
    assert [(line, offered(line)) for line, _ in OFFERS] == OFFERS


def test_the_store_is_that_of_the_line_the_environment_or_the_config(garden, tmp_path, monkeypatch):
    assert offered(f"--store {tmp_path / 'none'} search x -c ") == []
    assert offered(f"search x --store {tmp_path / 'none'} -c ") == []
    monkeypatch.setenv("HYBRID_SEARCH_STORE", "")
    config = tmp_path / "other.toml"
    config.write_text(f"store = {json.dumps(garden)}")
    assert offered(f"--config {config} search x -c ") == ["flowers", "fruit"]
    monkeypatch.setenv("HYBRID_SEARCH_CONFIG", str(config))
    assert offered("search x -c ") == ["flowers", "fruit"]
    config.write_text("no = [toml")
    assert offered("search x -c ") == []


def test_damage_gives_no_offers_and_no_noise(garden, tmp_path):
    (tmp_path / "store" / "flowers" / "CURRENT").write_text("rubbish")
    assert offered("search x -c flowers --mode ") == []
    assert offered("search x -c ") == ["flowers", "fruit"]


def test_a_server_is_asked_and_not_waited_for(run, fruit):
    with QdrantOverHttp() as server:
        assert run("--store", server.url, "index", fruit, "-c", "afar", *BM25).code == 0
        assert offered(f"--store {server.url} search x -c ") == ["afar"]
        assert offered(f"--store {server.url} search x -c afar --mode ") == ["hybrid", "sparse"]
    assert offered("--store http://127.0.0.1:9 search x -c ") == []


def test_it_loads_little_more_than_a_bare_start_and_nothing_heavy(garden):
    told = f"[m for m in {HEAVY.split()} if m in sys.modules], len(sys.modules)"
    code = f"import sys; from hybrid_search.cli.app import main\ntry:\n    main()\nfinally:\n    print({told})\n"

    def completing(line):
        words = {"COMP_WORDS": f"hybrid-search {line}", "COMP_CWORD": str(len(line.split(" ")))}
        env = {**os.environ, "_HYBRID_SEARCH_COMPLETE": "complete_bash", **words}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
        heavy, _, count = done.stdout.splitlines()[-1].rpartition(" ")
        return done.stdout.split()[0], heavy, int(count)

    *_, bare = completing("search x -k ")  # a line for which there is nothing to offer
    for line, first in (("search x -c ", "flowers"), ("search x -c fruit --mode ", "hybrid")):
        offer, heavy, count = completing(line)
        assert (offer, heavy) in ((first, "[]"), (first, "['filelock']"))
        assert count - bare < 80
