"""A sequence-to-sequence model predicts what documents are expanded with: a tiny T5 in the layout of the hub."""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec

import pytest

from hybrid_search import Document, Indexer, Searcher
from hybrid_search._util import extras
from hybrid_search.collection import expansion
from hybrid_search.collection.expansion import ExpandWith, expansion_for
from hybrid_search.errors import ManifestMismatch, MissingExtra, ModelError, ModelUnavailable
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.store.edge.store import EdgeStore
from tests import hub_models

needs_torch = pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("torch") is None,
    reason="the torch extra (sentence-transformers, torch) is not installed",
)
# torch and transformers warn of their own future; what we do is checked elsewhere with warnings as errors.
pytestmark = pytest.mark.filterwarnings("ignore")

DOCUMENTS = [Document("sea", "the ship and the sea"), Document("band", "a band on tour"), Document("cat", "the cat")]
TEXTS = [document.text for document in DOCUMENTS]


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    if find_spec("torch") is None or find_spec("sentence_transformers") is None:
        pytest.skip("the torch extra (sentence-transformers, torch) is not installed")
    return hub_models.t5_folder(tmp_path_factory.mktemp("t5") / "doc2query")


@pytest.fixture
def settings(settings, monkeypatch):
    """Short texts in one thread: several take turns with other processes at every step."""
    monkeypatch.setattr(expansion, "MAX_LENGTH", 8)
    return settings.model_copy(update={"threads": 1})


def generated(settings, source, texts, samples=4):
    return expansion_for("c", None, ExpandWith(str(source), samples), settings).generate(texts)


@needs_torch
def test_each_text_gets_its_samples_whatever_is_beside_it(settings, t5, capfd):
    found = generated(settings, t5, TEXTS)
    assert all(0 < len(text.split("\n")) <= 4 for text in found)
    assert len(set(found)) == 3
    assert set(" ".join(found).split()) & set(hub_models.WORDS)
    assert not {"</s>", "<pad>"} & set(" ".join(found).split())
    assert [generated(settings, t5, [text])[0] for text in reversed(TEXTS)] == found[::-1]
    assert generated(settings, t5, []) == []
    assert len(generated(settings, t5, ["", "\ud83d movie", "the sea " * 2_000, "東京"], 2)) == 4
    assert capfd.readouterr() == ("", "")


@needs_torch
def test_the_random_numbers_of_others_go_on_as_before(settings, t5):
    import torch

    torch.manual_seed(1)
    wanted = torch.rand(1).item()
    torch.manual_seed(1)
    generated(settings, t5, TEXTS)
    assert torch.rand(1).item() == wanted


@needs_torch
@pytest.mark.parametrize("pickled", [False, True])
def test_a_model_of_the_hub_is_found_in_the_cache(settings, tmp_path, pickled):
    folder = hub_models.t5_folder(tmp_path / "t5", pickled=pickled)
    hub_models.in_hub_cache(folder, tmp_path / "cache", "castorini/doc2query-t5-base-msmarco")
    cached = settings.model_copy(update={"cache_dir": tmp_path / "cache"})
    assert generated(cached, "castorini/doc2query-t5-base-msmarco", TEXTS) == generated(settings, folder, TEXTS)


@needs_torch
def test_a_collection_is_expanded_by_a_model(settings, fakes, t5):
    options = {
        "sparse": "fake/sparse",
        "dense": "fake/dense",
        "legs": ["sparse", "dense", "bm25"],
        "settings": settings,
    }
    report = Indexer.open("c", expand_with=ExpandWith(str(t5), 4), **options).index(DOCUMENTS)
    assert (report.documents, report.expanded) == (3, None)
    manifest = EdgeStore(settings.store).manifest("c")
    assert (manifest.expansion.source, manifest.expansion.samples) == (str(t5), 4)
    Indexer.open("plain", **options).index(DOCUMENTS)
    assert (
        manifest.legs["bm25"].average_tokens > EdgeStore(settings.store).manifest("plain").legs["bm25"].average_tokens
    )

    [text] = generated(settings, t5, TEXTS[:1])
    [word, *_] = [word for word in text.split() if word in hub_models.WORDS and word not in " ".join(TEXTS)]
    add_leg("c", "more", "fake/sparse-2", settings=settings)
    with closing(Searcher.open("c", settings=settings)) as searcher:
        for mode in ("sparse", "bm25", "more"):
            hits = searcher.search(word, mode=mode)
            assert "sea" in [hit.doc_id for hit in hits], mode
            assert {passage.text for hit in hits for passage in hit.passages} <= set(TEXTS)
    # Without the option a collection goes on with its own model, and its own number of samples.
    again = Indexer.open("c", settings=settings, expand_with=t5).index([*DOCUMENTS, Document("new", "a red boat")])
    assert (again.documents, again.unchanged) == (1, 3)
    assert Indexer.open("c", settings=settings).index(DOCUMENTS, dry_run=True).unchanged == 3
    with pytest.raises(ManifestMismatch, match=r"the expansion .* 4 samples\), not with .* 5 samples"):
        Indexer.open("c", settings=settings, expand_with=ExpandWith(str(t5), 5)).index(DOCUMENTS)


@needs_torch
def test_workers_generate_what_one_process_does(settings, bundled, t5):
    options = {"profile": "bundled", "legs": ["bm25"], "expand_with": ExpandWith(str(t5), 3), "settings": settings}
    Indexer.open("one", **options).index(DOCUMENTS)
    Indexer.open("two", **options).index(DOCUMENTS, workers=2)
    chunk_ids, vectors = [f"{document.doc_id}#0" for document in DOCUMENTS], []
    for name in ("one", "two"):
        with closing(EdgeStore(settings.store).reader(name)) as reader:
            vectors.append(reader.vectors("bm25", chunk_ids))
    assert vectors[0] == vectors[1]


@needs_torch
def test_a_model_that_generates_nothing_is_refused(settings, fakes, tmp_path):
    folder = hub_models.torch_folder(tmp_path / "bert", "BertForMaskedLM", seed=7)
    with pytest.raises(ModelError, match="no sequence-to-sequence model"):
        generated(settings, folder, TEXTS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelUnavailable, match="lacks its config or weights"):
        generated(settings, tmp_path / "empty", TEXTS)


@needs_torch
def test_a_model_that_cannot_be_fetched_is_told_with_the_way_to_get_it(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    away = settings.model_copy(update={"cache_dir": tmp_path / "cache"})
    with pytest.raises(ModelUnavailable, match="run `hf download acme/doc2query --cache-dir"):
        generated(away, "acme/doc2query", TEXTS)


def test_without_torch_it_is_said_how_to_get_it(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "are_installed", lambda *packages: False)
    with pytest.raises(MissingExtra, match=r"The model castorini/doc2query.*needs the 'torch' extra.*\[torch\]"):
        generated(settings, "castorini/doc2query-t5-base-msmarco", TEXTS)
