"""Both roads end to end: with small models in the hub's layout, with the bundled ones, and with the real SPLADE++."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hybrid_search import Document, Indexer, Searcher
from hybrid_search.collection.models import load_models
from hybrid_search.encoders import hub
from hybrid_search.encoders.catalog import card
from hybrid_search.settings import load_settings
from tests import hub_models

SPLADE = "prithivida/Splade_PP_en_v1"
MOVIES = Path(__file__).parent.parent / "datasets" / "movies"
# Twenty films, one of them about music: the published example has twenty, too.
TWENTY = {
    "spinal-tap-1984",
    "the-kid-1921",
    "nosferatu-1922",
    "safety-last-1923",
    "metropolis-1927",
    "rocky-1976",
    "kes-1969",
    "jaws-1975",
    "memento-2000",
    "the-shining-1980",
    "the-seventh-seal-1957",
    "groundhog-day-1993",
    "citizen-kane-1941",
    "the-birds-1963",
    "alien-1979",
    "the-wages-of-fear-1953",
    "the-great-escape-1963",
    "knives-out-2019",
    "hotel-rwanda-2004",
    "babettes-feast-1987",
}


def test_splade_from_the_hub_cache_walks_both_roads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cache = tmp_path / "cache"
    hub_models.in_hub_cache(hub_models.splade_folder(tmp_path / "splade"), cache, "Qdrant/Splade_PP_en_v1")
    dense = hub_models.dense_folder(tmp_path / "dense", onnx="model.onnx")
    (dense / "hybrid_search.json").write_text('{"pooling": "mean"}', encoding="utf-8")
    settings = load_settings(store=str(tmp_path / "store"), cache_dir=cache)
    documents = [Document(f"d{n}", f"{a} and {b}") for n, (a, b) in enumerate(pairwise(WORDS))]
    report = Indexer.open("tiny", settings=settings, sparse=SPLADE, dense=str(dense)).index(documents)
    assert (report.documents, report.failed, report.profile) == (len(documents), 0, "custom")

    with Searcher.open("tiny", settings=settings) as searcher:
        assert searcher.manifest.legs["sparse"].model == SPLADE
        assert not searcher.manifest.legs["sparse"].needs_idf
        results = searcher.search("music movies", k=5, mode="sparse")
        encoder = load_models("tiny", searcher.manifest, settings).encoders["sparse"]
    (query,) = encoder.encode_queries(["music movies"])  # type: ignore[attr-defined]
    weights = encoder.encode_documents([document.text for document in documents])  # type: ignore[attr-defined]
    scores = np.array([query.dot(vector) for vector in weights])
    best = sorted(range(len(documents)), key=lambda n: (-scores[n], f"d{n}#0"))[:5]
    assert [hit.doc_id for hit in results] == [f"d{n}" for n in best]
    assert [hit.score for hit in results] == pytest.approx([scores[n] for n in best], abs=1e-4)


WORDS = ["music", "movies", "sea", "man", "old", "house", "night", "city", "war", "love", "child", "road"]


@pytest.mark.hub
def test_the_real_splade_finds_spinal_tap(tmp_path: Path) -> None:
    """Published: over twenty films "A movie about music" finds This Is Spinal Tap first."""
    settings = load_settings(store=str(tmp_path / "store"))
    if not (hub.is_here(card(SPLADE, "sparse"), settings.cache_dir) or hub.hub_answers()):
        pytest.skip(f"{SPLADE} is not on this machine and the model hub does not answer")
    rows = map(json.loads, (MOVIES / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    twenty = [row for row in rows if row["_id"] in TWENTY]
    Indexer.open("twenty", settings=settings, sparse=SPLADE, dense="none").index(twenty)
    with Searcher.open("twenty", settings=settings) as searcher:
        assert searcher.search("A movie about music", k=1)[0].doc_id == "spinal-tap-1984"


def test_the_twenty_films_are_there() -> None:
    rows = map(json.loads, (MOVIES / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    assert {row["_id"] for row in rows} >= TWENTY
    assert len(TWENTY) == 20


def test_a_movie_about_music_leads_to_spinal_tap_without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = load_settings(store=str(tmp_path / "store"))
    report = Indexer.open("movies", settings=settings, profile="bundled").index(MOVIES)
    assert (report.documents, report.chunks, report.failed) == (392, 392, 0)
    with Searcher.open("movies", settings=settings) as searcher:
        results = searcher.search("a movie about music", k=3)
    assert "This Is Spinal Tap" in [hit.title for hit in results]
    assert set(results[0].legs) == {"sparse", "dense"}
