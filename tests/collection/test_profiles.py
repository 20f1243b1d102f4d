"""From names to models: what a new collection gets, and what is recorded of it."""

import json
import shutil
from collections import Counter

import pytest

from hybrid_search.collection.models import ModelRequest, fetch, load_models, open_store_for
from hybrid_search.collection.profiles import select_models
from hybrid_search.encoders import hub
from hybrid_search.encoders.bundled.package import OWN_FOLDER
from hybrid_search.encoders.catalog import PROFILES, card
from hybrid_search.errors import ConfigError, InvalidArgument, ModelError, ModelUnavailable, UnknownModel
from hybrid_search.store.edge.store import EdgeStore
from tests import hub_models


def names(models):
    return {leg: encoder.card.name for leg, encoder in models.encoders.items()}


BUNDLED = {"sparse": PROFILES["bundled"].sparse, "dense": PROFILES["bundled"].dense}
SPLADE = {"sparse": PROFILES["splade"].sparse, "dense": PROFILES["splade"].dense}


@pytest.mark.parametrize(
    ("here", "answers", "profile", "reason"),
    [
        (True, False, "splade", "on this machine"),
        (False, True, "splade", "come from the model hub"),
        (False, False, "bundled", "does not answer"),
    ],
)
def test_auto_takes_what_is_at_hand_and_says_why(settings, monkeypatch, here, answers, profile, reason):
    monkeypatch.setattr(hub, "is_here", lambda card, cache_dir: here)
    monkeypatch.setattr(hub, "hub_answers", lambda: answers)
    models = select_models(ModelRequest(), settings)
    assert models.profile == profile
    assert reason in models.reason
    assert names(models) == {"splade": SPLADE, "bundled": BUNDLED}[profile]


def test_the_hub_is_not_asked_where_every_leg_is_named(settings, monkeypatch):
    asked = Counter()
    monkeypatch.setattr(hub, "hub_answers", lambda: asked.update(["hub"]))
    models = select_models(ModelRequest("auto", {"sparse": "qdrant/bm25-engine", "dense": "none"}), settings)
    assert (names(models), models.reason, asked) == ({"sparse": "qdrant/bm25-engine"}, "", Counter())


@pytest.mark.parametrize(
    ("profile", "given", "expected", "label"),
    [
        ("bundled", {}, BUNDLED, "bundled"),
        ("bundled", {"sparse": None, "dense": None}, BUNDLED, "bundled"),
        ("splade", {}, SPLADE, "splade"),
        ("bundled", {"dense": "none"}, {"sparse": BUNDLED["sparse"]}, "custom"),
        ("bundled", {"sparse": "prithivida/Splade_PP_en_v1"}, {**BUNDLED, "sparse": SPLADE["sparse"]}, "custom"),
        ("auto", SPLADE, SPLADE, "splade"),
        ("auto", BUNDLED, BUNDLED, "bundled"),
    ],
)
def test_names_stand_in_for_the_profiles(settings, profile, given, expected, label):
    models = select_models(ModelRequest(profile, given), settings)
    assert (names(models), models.profile) == (expected, label)


def test_a_folder_is_a_profile(settings, tmp_path):
    sparse = hub_models.splade_folder(tmp_path / "trained")
    assert names(select_models(ModelRequest(str(sparse)), settings)) == {
        "sparse": str(sparse.resolve()),
        "dense": BUNDLED["dense"],
    }
    dense = hub_models.dense_folder(tmp_path / "dense")
    assert names(select_models(ModelRequest(str(dense)), settings)) == {
        "sparse": BUNDLED["sparse"],
        "dense": str(dense.resolve()),
    }


def test_the_folder_of_a_hybrid_model_serves_both_legs_in_one_pass(settings, tmp_path):
    folder = shutil.copytree(OWN_FOLDER, tmp_path / "mine")
    facts = {"kind": "hybrid", "runtime": "bundled", "family": "splade", "dim": 384, "vocab_size": 30522}
    (folder / "hybrid_search.json").write_text(json.dumps({**facts, "max_tokens": 256, "needs_idf": True}))
    models = select_models(ModelRequest(str(folder)), settings)
    assert names(models) == dict.fromkeys(BUNDLED, str(folder))
    [mine] = models.encoders["sparse"].encode_queries(["heart attack"])
    [ours] = select_models(ModelRequest("bundled"), settings).encoders["sparse"].encode_queries(["heart attack"])
    assert mine == ours
    again = load_models("c", models.manifest(200, 40), settings)
    assert again.encoders["sparse"].whole is again.encoders["dense"].whole
    with pytest.raises(ModelError, match=r"a hybrid model .* a reranker model was expected"):
        card(str(folder), "reranker")


def test_what_cannot_be_chosen(settings):
    with pytest.raises(InvalidArgument, match=r"'splad'.*auto, splade, bundled"):
        select_models(ModelRequest("splad"), settings)
    with pytest.raises(InvalidArgument, match="'splad'"):
        select_models(ModelRequest("splad", BUNDLED), settings)
    with pytest.raises(InvalidArgument, match="keep at least one"):
        select_models(ModelRequest("bundled", {"sparse": "none", "dense": "none"}), settings)
    with pytest.raises(UnknownModel) as caught:
        select_models(ModelRequest("bundled", {"dense": "BAAI/bge-smal-en-v1.5"}), settings)
    assert "BAAI/bge-small-en-v1.5" in caught.value.near


def test_only_bm25_measures_the_corpus_and_only_then_it_is_read(settings, bundled):
    models = select_models(ModelRequest("bundled", {"sparse": "qdrant/bm25-engine"}), settings)
    assert models.measuring
    fitted = models.fitted(iter(["one two three", "four"]))
    assert fitted.encoders["sparse"].average_tokens == 2.0
    assert fitted.encoders["dense"] is models.encoders["dense"]
    dense = select_models(ModelRequest("bundled", {"sparse": "none"}), settings)
    assert not dense.measuring

    def unread():
        raise AssertionError("the corpus was read for nothing")
        yield ""

    assert names(dense.fitted(unread())) == {"dense": BUNDLED["dense"]}


def test_the_manifest_brings_the_same_models_back(settings, bundled):
    models = select_models(ModelRequest("bundled", {}, ["sparse", "dense", "bm25"]), settings).fitted(["one two three"])
    manifest = models.manifest(128, 16)
    assert (manifest.profile, manifest.chunk_tokens, manifest.overlap_tokens, manifest.schema) == (
        "bundled",
        128,
        16,
        2,
    )
    assert manifest.created.endswith("+00:00")
    dense, sparse, bm25 = (manifest.legs[leg] for leg in ("dense", "sparse", "bm25"))
    assert (dense.model, dense.dim, dense.max_tokens, dense.needs_idf) == (bundled, 384, 256, False)
    assert (sparse.model, sparse.dim, sparse.max_tokens, sparse.needs_idf) == (bundled, 0, 256, True)
    assert (bm25.model, bm25.dim, bm25.max_tokens, bm25.needs_idf) == ("qdrant/bm25-engine", 0, 0, True)
    assert (sparse.average_tokens, bm25.average_tokens) == (0.0, 3.0)
    again = load_models("c", manifest, settings)
    assert {leg: encoder.fingerprint() for leg, encoder in again.encoders.items()} == {
        leg: spec.fingerprint for leg, spec in manifest.legs.items()
    }
    assert again.encoders["bm25"].average_tokens == 3.0


def test_models_that_are_not_here_and_cannot_be_fetched(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-hub"))
    nowhere = settings.model_copy(update={"cache_dir": tmp_path / "none"})
    with pytest.raises(ModelUnavailable, match=r"Splade_PP_en_v1.*hybrid-search models download"):
        fetch(select_models(ModelRequest("splade"), nowhere), nowhere)


def test_a_place_is_a_store_a_folder_or_the_settings_store(settings, tmp_path):
    store = EdgeStore(tmp_path / "mine")
    assert open_store_for(store, settings) is store
    assert open_store_for(tmp_path / "other", settings).location == str(tmp_path / "other")
    assert open_store_for(None, settings).location == settings.store


def test_an_api_key_does_not_travel_unencrypted(settings):
    with pytest.raises(ConfigError, match="unencrypted"):
        open_store_for("http://example.org:6333", settings.model_copy(update={"api_key": type_of_key("secret")}))


def type_of_key(text):
    from pydantic import SecretStr

    return SecretStr(text)
