"""The recipe of the bundled model, on a transformer of two layers and a data folder of some dozen passages."""

import gzip
import json
import math

import numpy as np
import pytest

from hybrid_search.encoders.bundled.hybrid import BundledHybrid
from hybrid_search.training.bundled.graph import Lexicon
from hybrid_search.training.bundled.vocabulary import word_classes
from hybrid_search.types import ModelCard
from tests import hub_models

# Its fixture trains a whole, if small, model with torch.
pytestmark = pytest.mark.timeout(900)

TORCH = "the recipe trains with torch, of the 'train' extra"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Passages of random words, each with a query of some of its words, and teacher's vectors of other queries."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(5)
    passages, pairs = [], []
    for source in ("MedQuAD", "osbooks-statistics"):
        for _ in range(60):
            words = draw.choice(hub_models.WORDS, 24).tolist()
            text = f"{' '.join(words[:12])}. {' '.join(words[12:])}."
            passages.append({"text": text, "source": source})
            pairs.append({"query": " ".join(draw.choice(words, 3)), "passage": text, "source": source})
    taught = []
    for _ in range(80):
        words = draw.choice(hub_models.WORDS[5:], 3, replace=False).tolist()
        vector = dict.fromkeys(words, 2.0) | {draw.choice(hub_models.WORDS[5:]): 0.7}
        taught.append({"text": " ".join(words), "vector": vector})
    rows = {"passages": passages, "pairs": pairs, "splade_pp_ed_queries": taught}
    for name, content in rows.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in content)
    return folder


@pytest.fixture(scope="module")
def shipped(data, tmp_path_factory):
    pytest.importorskip("torch", reason=TORCH)
    from hybrid_search.training.bundled import ship as recipe
    from hybrid_search.training.bundled import states
    from hybrid_search.training.bundled.teach import Recipe

    base = hub_models.torch_folder(tmp_path_factory.mktemp("base"), "BertModel", seed=3)
    place = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "model_folder", lambda: base)
        patch.setattr(recipe, "_HELD_OUT", 20)
        small = Recipe(
            imitation_steps=500,
            imitation_batch=16,
            imitation_rate=0.01,
            rate=0.003,
            steps=30,
            passages=12,
            neighbours=8,
            watch_every=15,
        )
        return recipe.ship(data, place / "work", place / "out", small)


def encoder(shipped) -> BundledHybrid:
    card = ModelCard(
        name="bundled/tiny",
        kind="hybrid",
        runtime="bundled",
        family="splade",
        licence="apache-2.0",
        dim=hub_models.HIDDEN,
        vocab_size=len(hub_models.VOCABULARY),
        max_tokens=64,
        needs_idf=True,
    )
    return BundledHybrid(card, cache_dir=shipped.folder, folder=shipped.folder)


def test_the_head_learns_and_the_folder_says_how(shipped):
    before, after = shipped.measured[0], shipped.measured[30]
    # An untaught head gives 0 on this transformer of random weights; ranking leaves expansion as it was taught.
    assert after["cosine"] == before["cosine"] > 0.1
    assert all(math.isfinite(value) for value in (*before.values(), *after.values()))
    record = json.loads((shipped.folder / "training.json").read_text("utf-8"))
    assert record["recipe"]["steps"] == 30
    assert set(record["data"]) == {"passages.jsonl.gz", "pairs.jsonl.gz", "splade_pp_ed_queries.jsonl.gz"}


def test_the_graph_gives_what_torch_gives(shipped):
    # `ship` itself refuses more than 1e-4.
    assert shipped.largest_difference < 1e-4
    assert min(shipped.int8_cosines) > 0.95


def test_the_encoder_reads_the_folder(shipped):
    model = encoder(shipped)
    [(sparse, dense)] = model.encode_queries(["music in the film"])
    terms = model.terms(sparse.indices)
    assert {"music", "film"} <= set(terms)
    assert "the" not in terms
    assert dense.shape == (hub_models.HIDDEN,)
    assert np.linalg.norm(dense) == pytest.approx(1.0, abs=1e-5)


def test_a_vector_does_not_depend_on_its_batch(shipped):
    model = encoder(shipped)
    texts = ["music", "a film about the sea and the stars", "jazz piano concert in the city at night " * 4, ""]
    together = model.encode_documents(texts)
    for text, (sparse, dense) in zip(texts, together, strict=True):
        [(alone, lone)] = model.encode_documents([text])
        np.testing.assert_array_equal(alone.indices, sparse.indices)
        np.testing.assert_allclose(alone.values, sparse.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(lone, dense, atol=1e-5)


def test_the_trick_of_the_decoder_changes_neither_result_nor_gradient():
    torch = pytest.importorskip("torch", reason=TORCH)
    from hybrid_search.training.bundled import head as heads

    draw = torch.Generator().manual_seed(1)
    stems = np.arange(12)
    lexicon = Lexicon(stems, np.arange(2, 12), np.ones(12, dtype=np.float32))
    head = heads.new_head(4 * np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32), lexicon, 1)
    head["bias"].data.zero_()
    inside = torch.tensor([[False, True, True, True, False, False], [False, True, False, False, False, False]])
    batch = heads.Batch(torch.randn(2, 6, 8, generator=draw) * 9, inside, torch.full((2, 6), -1))
    found = heads.expansion(head, batch)
    lifted = torch.nn.functional.gelu(batch.states @ head["transform"] + head["transform_bias"])
    normed = torch.nn.functional.layer_norm(lifted, (4,), head["norm_gain"], head["norm_bias"])
    logits = (normed @ head["decoder"].T).masked_fill(~inside[..., None], -1e4).amax(1) + head["bias"]
    plain = torch.log1p(torch.relu(logits))
    sparse = torch.zeros_like(plain).index_put((found.rows, found.columns), found.weights)
    assert 0 < len(found.rows) < plain.numel()
    torch.testing.assert_close(sparse, plain)
    [mine] = torch.autograd.grad(sparse.square().sum(), head["decoder"], retain_graph=True)
    [theirs] = torch.autograd.grad(plain.square().sum(), head["decoder"])
    torch.testing.assert_close(mine, theirs)


def test_word_classes_join_inflections_and_leave_out_what_means_nothing():
    pieces = ["[CLS]", "compute", "computers", "##ing", "the", "7", "!", "музыка", "doing", "do"]
    assert word_classes(pieces).tolist() == [-1, 1, 1, 3, -1, 5, -1, -1, 8, -1]


def test_a_missing_training_file_is_named(tmp_path):
    from hybrid_search.errors import CorpusError
    from hybrid_search.training.bundled.data import read_material

    with pytest.raises(CorpusError, match=r"passages\.jsonl\.gz"):
        read_material(tmp_path, 0)
