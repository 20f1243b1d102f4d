"""uniCOIL, SPARTA and DeepImpact over tiny models in the hub's layouts, against BERT and the heads in plain numpy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from hybrid_search.encoders import hub, load
from hybrid_search.encoders.batching import readable
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hashing import dimension_of
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.protocols import SparseEncoder
from hybrid_search.types import SparseVector
from tests import hub_models, numpy_bert

pytestmark = [
    pytest.mark.skipif(
        find_spec("transformers") is None or find_spec("torch") is None,
        reason="the torch extra (sentence-transformers, torch) is not installed",
    ),
    # torch and transformers warn of their own future; what we do is checked elsewhere with warnings as errors.
    pytest.mark.filterwarnings("ignore"),
]

TEXTS = [
    "A movie about music, and the music of the sea!",
    "",
    "This is Spinal Tap: the loudest band.",
    "the sea " * 400,
    "Ünïcödé 東京 [SEP] 🙂 $ music",
    "\ud83d movie",
    "music",
]
IDS = {word: number for number, word in enumerate(hub_models.VOCABULARY)}
SPECIAL = [IDS[token] for token in hub_models.SPECIAL]
PUNCTUATION = ".,!?'-"
STOPS = "a about all an and as at for in is of on the to with"
DRAW = np.random.default_rng(31)
PROJECTION = (DRAW.standard_normal((1, hub_models.HIDDEN)).astype(np.float32), np.array([6.6], dtype=np.float32))
TWO_LAYERS = {
    0: (DRAW.standard_normal((hub_models.HIDDEN, hub_models.HIDDEN)).astype(np.float32) / 4, np.zeros(32, np.float32)),
    3: (np.abs(PROJECTION[0]), np.array([-0.2], dtype=np.float32)),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The tokenizer that transformers itself would make of the vocabulary, from a file of its own."""
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    hub_models.tokenizer_files(folder)
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


@pytest.fixture(scope="module")
def unicoil(tmp_path_factory):
    return hub_models.unicoil_folder(tmp_path_factory.mktemp("unicoil"), PROJECTION)


@pytest.fixture(scope="module")
def sparta(tmp_path_factory):
    return hub_models.sparta_folder(tmp_path_factory.mktemp("sparta"))


@pytest.fixture(scope="module")
def deepimpact(tmp_path_factory):
    return hub_models.deepimpact_folder(tmp_path_factory.mktemp("deepimpact"), TWO_LAYERS)


def opened(folder, tmp_path, **own):
    """The encoder of a folder; with `own`, of a copy whose `hybrid_search.json` says that."""
    if own:
        folder = shutil.copytree(folder, tmp_path / "copy")
        path = folder / "hybrid_search.json"
        known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**known, **own}), encoding="utf-8")
    return load(card(str(folder), "sparse"), cache_dir=tmp_path)


def ids_of(reader, text, limit=512):
    return [IDS["[CLS]"], *reader.encode(readable(text), add_special_tokens=False).ids[: limit - 2], IDS["[SEP]"]]


def weights_of(vector):
    return dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))


def largest(pairs, left_out=()):
    """Of (dimension, weight), the largest weight above 0 of each dimension."""
    found: dict[int, float] = {}
    for dimension, weight in pairs:
        if weight > 0 and dimension not in left_out:
            found[dimension] = max(weight, found.get(dimension, 0))
    return found


def assert_same(vector, expected):
    assert weights_of(vector) == pytest.approx(expected, abs=1e-4)


def summed(pairs, left_out=()):
    """Of (dimension, weight), the sum of each dimension's weights above 0."""
    found: dict[int, float] = {}
    for dimension, weight in pairs:
        if weight > 0 and dimension not in left_out:
            found[dimension] = found.get(dimension, 0) + weight
    return found


def numpy_unicoil(ids, left_out, joined=largest):
    rows = numpy_bert.states(hub_models.body_weights(21), ids)
    weights = np.maximum(rows @ PROJECTION[0][0].astype(np.float64) + float(PROJECTION[1][0]), 0)
    return joined(zip(ids, weights.tolist(), strict=True), left_out)


@pytest.mark.parametrize(("verb", "joined"), [("encode_documents", largest), ("encode_queries", summed)])
def test_unicoil_weighs_each_token_by_its_places(unicoil, reader, tmp_path, verb, joined):
    encoder = opened(unicoil, tmp_path)
    assert isinstance(encoder, SparseEncoder)
    assert (encoder.card.family, encoder.card.runtime, encoder.card.vocab_size) == ("unicoil", "torch", len(IDS))
    found = getattr(encoder, verb)(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        assert_same(vector, numpy_unicoil(ids_of(reader, text), SPECIAL, joined))
    assert len(found[0]) > 3
    assert IDS["music"] in found[0].indices
    assert len(found[1]) == 0
    assert encoder.terms([IDS["music"], 9999]) == ["music", "#9999"]
    assert encoder.encode_documents([]) == []
    assert encoder.count_tokens(TEXTS[:2]) == [14, 2]


@pytest.mark.parametrize("unweighted", ["punctuation", "stop_words"])
def test_unicoil_without_punctuation_and_without_stop_words(unicoil, reader, tmp_path, unweighted):
    plain, without = opened(unicoil, tmp_path), opened(unicoil, tmp_path, unweighted=unweighted)
    left_out = {*SPECIAL, *(IDS[sign] for sign in PUNCTUATION)}
    if unweighted == "stop_words":
        left_out |= {IDS[word] for word in hub_models.WORDS if word in STOPS.split()}
        left_out |= {IDS[letter] for letter in "stdma"}
    for text, vector in zip(TEXTS, without.encode_documents(TEXTS), strict=True):
        ids = ids_of(reader, text)
        assert_same(vector, numpy_unicoil(ids, left_out))
    assert len(without.encode_queries(TEXTS[:1])[0]) < len(plain.encode_queries(TEXTS[:1])[0])
    assert plain.fingerprint() != without.fingerprint()


def test_an_expansion_is_more_text(unicoil, reader, tmp_path):
    encoder = opened(unicoil, tmp_path)
    expanded = f"{TEXTS[2]} opera guitar concert"
    assert_same(encoder.encode_documents([expanded])[0], numpy_unicoil(ids_of(reader, expanded), SPECIAL))


@pytest.mark.parametrize("prefix", ["", "bert.", "coil_encoder."])
def test_weights_are_found_whatever_class_saved_them(unicoil, tmp_path, prefix):
    import torch

    folder = shutil.copytree(unicoil, tmp_path / "other")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state = {
        name.replace("coil_encoder.bert.", prefix).replace("coil_encoder.tok", "tok"): tensor
        for name, tensor in state.items()
    }
    (folder / "pytorch_model.bin").unlink()
    hub_models.write_safetensors(
        folder / "model.safetensors", {name: tensor.numpy() for name, tensor in state.items() if "_ids" not in name}
    )
    assert opened(folder, tmp_path).encode_documents(TEXTS) == opened(unicoil, tmp_path).encode_documents(TEXTS)


@pytest.mark.parametrize("bias", [None, 0.7, -2.0])
def test_sparta_is_the_best_place_of_every_term(tmp_path, reader, bias):
    encoder = opened(hub_models.sparta_folder(tmp_path / "sparta", bias=bias), tmp_path)
    weights = hub_models.body_weights(22)
    terms = weights["embeddings.word_embeddings.weight"].astype(np.float64)
    found = encoder.encode_documents(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        scores = (terms @ numpy_bert.states(weights, ids_of(reader, text)).T).max(axis=1) + (bias or 0.0)
        expected = np.log(1 + np.maximum(scores, 0)).tolist()
        assert_same(vector, largest(enumerate(expected), SPECIAL))
    assert len(found[6]) > 10  # one word, and what fits it


def test_queries_of_sparta_are_sets_of_wordpieces_and_load_no_network(sparta, tmp_path):
    encoder = opened(sparta, tmp_path)
    encoder.warm_up()
    found = encoder.encode_queries(["Music, music and unknowing [SEP] 東京", "", "the sea " * 400])
    pieces = ["music", ",", "and", "u", "##n", "##k", "##o", "##w", "##ing"]
    assert weights_of(found[0]) == dict.fromkeys((IDS[piece] for piece in pieces), 1.0)
    assert len(found[1]) == 0
    assert weights_of(found[2]) == {IDS["the"]: 1.0, IDS["sea"]: 1.0}
    assert encoder._model is None


def test_sparta_keeps_the_heaviest_terms_that_its_card_allows(sparta, tmp_path):
    whole, cut = opened(sparta, tmp_path), opened(sparta, tmp_path, max_active_dims=[0, 7])
    assert whole.card.max_active_dims == (0, 2000)
    for every, some in zip(whole.encode_documents(TEXTS), cut.encode_documents(TEXTS), strict=True):
        heaviest = sorted(every.values.tolist(), reverse=True)[:7]
        assert sorted(some.values.tolist(), reverse=True) == pytest.approx(heaviest)
        assert some.indices.size == 7
    assert whole.fingerprint() != cut.fingerprint()


def numpy_deepimpact(text, reader, layers, limit=512):
    """As the authors' code: the first place of each word, by counting tokens that do not go on in a word."""
    normal = reader.normalizer.normalize_str(text)
    words = [word for word, _ in reader.pre_tokenizer.pre_tokenize_str(normal)]
    ids = [IDS["[CLS]"]]
    places = []
    for word in words:
        places.append(len(ids))
        ids += reader.encode(word, add_special_tokens=False).ids
    ids = [*ids[: limit - 1], IDS["[SEP]"]]
    rows = numpy_bert.states(hub_models.body_weights(23), ids)
    for number in sorted(layers):
        rows = np.maximum(rows @ layers[number][0].T.astype(np.float64) + layers[number][1], 0)
    found: dict[str, float] = {}
    for word, place in zip(words, places, strict=True):
        if place < limit - 1 and not all(sign in PUNCTUATION + ":$🙂" for sign in word):
            found.setdefault(word, float(rows[place, 0]))
    return {dimension_of(word): weight for word, weight in found.items() if weight > 0}


WITHOUT_SPECIAL = [*TEXTS[:4], "Ünïcödé 東京 loudest, the loudest loudly", "music"]


@pytest.mark.parametrize("layers", [TWO_LAYERS, {0: PROJECTION}], ids=["two", "one"])
def test_deepimpact_weighs_the_first_wordpiece_of_each_word(tmp_path, reader, layers):
    encoder = opened(hub_models.deepimpact_folder(tmp_path / "deep", layers), tmp_path)
    assert (encoder.card.family, encoder.card.vocab_size) == ("deepimpact", 0)
    found = encoder.encode_documents(WITHOUT_SPECIAL)
    for text, vector in zip(WITHOUT_SPECIAL, found, strict=True):
        assert_same(vector, numpy_deepimpact(text, reader, layers))
    assert len(found[0]) > 2
    assert encoder.terms([dimension_of("music")]) == [f"#{dimension_of('music')}"]


def test_queries_of_deepimpact_are_sets_of_words_and_load_no_network(deepimpact, tmp_path):
    encoder = opened(deepimpact, tmp_path)
    encoder.warm_up()
    found = encoder.encode_queries(["The LOUDEST café, the 東京-music! [SEP] $ 🙂", "", "?!"])
    words = ["the", "loudest", "cafe", "東", "京", "music"]
    assert weights_of(found[0]) == dict.fromkeys(map(dimension_of, words), 1.0)
    assert [len(vector) for vector in found[1:]] == [0, 0]
    assert encoder._model is None


def test_deepimpact_reads_a_text_with_a_special_token_in_it(deepimpact, tmp_path):
    encoder = opened(deepimpact, tmp_path)
    (vector,) = encoder.encode_documents(["music [SEP] loudest [MASK] sea"])
    words = {dimension_of(word) for word in ("music", "loudest", "sea")}
    assert set(vector.indices.tolist()) <= words


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_long_text_loses_its_words_on_one_side(deepimpact, tmp_path, side):
    folder = shutil.copytree(deepimpact, tmp_path / side)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "truncation_side": side, "model_max_length": 10}), encoding="utf-8"
    )
    encoder = opened(folder, tmp_path)
    long = "unmusical wolf moon opera sea land river music winter"
    cut = {"left": "sea land river music winter", "right": "unmusical wolf moon opera"}[side]
    whole, part = encoder.encode_documents([long, cut])
    names = {dimension_of(word): word for word in long.split()}
    assert {names[dimension] for dimension in whole.indices.tolist()}
    tokens = encoder.tokenizer().encode(long, add_special_tokens=False).ids
    kept = tokens[-8:] if side == "left" else tokens[:8]
    decoded = encoder.tokenizer().decode(kept).split()
    assert {names[dimension] for dimension in whole.indices.tolist()} <= {*decoded, *cut.split()}
    assert set(part.indices.tolist()) <= set(names)


def test_without_stop_words_deepimpact_has_none_on_either_side(deepimpact, tmp_path):
    encoder = opened(deepimpact, tmp_path, unweighted="stop_words")
    (query,) = encoder.encode_queries(["the music of the sea"])
    assert set(query.indices.tolist()) == {dimension_of("music"), dimension_of("sea")}
    (document,) = encoder.encode_documents(["the music of the sea"])
    assert dimension_of("the") not in document.indices


@pytest.mark.parametrize("family", ["unicoil", "sparta", "deepimpact"])
def test_a_text_has_the_same_vector_in_every_batch(request, family, tmp_path):
    encoder = opened(request.getfixturevalue(family), tmp_path)
    together = encoder.encode_documents(TEXTS * 8)
    for place, text in enumerate(TEXTS):
        (alone,) = encoder.encode_documents([text])
        for again in (together[place], together[-len(TEXTS) + place]):
            assert weights_of(again) == pytest.approx(weights_of(alone), abs=1e-5)


@pytest.mark.parametrize("family", ["sparta", "deepimpact"])
def test_queries_without_a_network_load_no_torch(request, family, tmp_path):
    folder = request.getfixturevalue(family)
    script = (
        "from pathlib import Path\nimport sys\nfrom hybrid_search.encoders import load\n"
        "from hybrid_search.encoders.catalog import card\n"
        f"model = load(card({str(folder)!r}, 'sparse'), cache_dir=Path({str(tmp_path)!r}))\n"
        "model.warm_up()\nmodel.fingerprint()\nassert len(model.encode_queries(['music'])[0]) == 1\n"
        "print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_weights_that_are_missing_are_named(unicoil, sparta, deepimpact, tmp_path):
    import torch

    lacks = {
        unicoil: ("tok_proj.weight", "tok_proj.weight"),
        sparta: ("ffn.lin1.bias", "transformer.layer.0.ffn.lin1.bias"),
        deepimpact: ("impact_score_encoder.0.bias", "impact_score_encoder.0.bias"),
    }
    for number, (whole, (ending, named)) in enumerate(lacks.items()):
        folder = shutil.copytree(whole, tmp_path / str(number))
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        torch.save({k: v for k, v in state.items() if not k.endswith(ending)}, folder / "pytorch_model.bin")
        with pytest.raises(ModelUnavailable, match=f"lack .*{named}"):
            opened(folder, tmp_path).encode_documents(["music"])


def test_a_head_of_several_numbers_is_refused(tmp_path):
    wide = (np.ones((32, hub_models.HIDDEN), np.float32), np.zeros(32, np.float32))
    with pytest.raises(ModelUnavailable, match=r"32 numbers for each token \(coil_encoder\.tok_proj\.weight\)"):
        opened(hub_models.unicoil_folder(tmp_path / "wide", wide), tmp_path).encode_documents(["music"])


def test_weights_that_are_no_numbers_are_an_error_of_the_model(tmp_path):
    nan = (np.full((1, hub_models.HIDDEN), np.nan, np.float32), np.zeros(1, np.float32))
    with pytest.raises(ModelError, match=r"\(unicoil\) failed on a batch of texts: values must be finite"):
        opened(hub_models.unicoil_folder(tmp_path / "nan", nan), tmp_path).encode_documents(["music"])


def test_a_precision_of_onnx_is_refused(unicoil, tmp_path):
    with pytest.raises(ModelError, match="in fp32 or fp16 only; int8 is for ONNX models"):
        load(card(str(unicoil), "sparse"), cache_dir=tmp_path, precision="int8")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"max_active_dims": 7}, "max_active_dims 7; expected are two numbers"),
        ({"max_active_dims": [1, -1]}, r"max_active_dims \[1, -1\]; expected are two numbers"),
        ({"max_active_dims": [True, 1]}, r"max_active_dims \[True, 1\]"),
        ({"unweighted": "words"}, "unweighted 'words'; known are punctuation, stop_words"),
        ({"published": {"beir": 99}}, "unknown fields published"),
    ],
)
def test_what_a_folder_says_of_weights_is_checked(unicoil, tmp_path, own, said):
    with pytest.raises(ModelError, match=said):
        opened(unicoil, tmp_path, **own)


def test_an_encoding_is_a_sparse_vector(unicoil, tmp_path):
    assert all(isinstance(each, SparseVector) for each in opened(unicoil, tmp_path).encode_documents(TEXTS))


# ---------------------------------------------------------------- the catalogue's cards


@pytest.mark.parametrize(
    ("name", "made"),
    [("castorini/unicoil-msmarco-passage", "unicoil"), ("BeIR/sparta-msmarco-distilbert-base-v1", "sparta")],
)
def test_a_card_runs_what_a_download_leaves(request, name, made, tmp_path):
    """`config.json`, `vocab.txt` and `pytorch_model.bin` of 2021; the card says what the files do not."""
    folder = shutil.copytree(request.getfixturevalue(made), tmp_path / "repository")
    (folder / "hybrid_search.json").unlink(missing_ok=True)
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "cache", name)
    found = card(name, "sparse")
    assert hub.folder_of(found, tmp_path / "cache") == snapshot
    encoder = load(found, cache_dir=tmp_path / "cache")
    short = TEXTS[:3]
    assert encoder.encode_documents(short) == opened(request.getfixturevalue(made), tmp_path).encode_documents(short)


REAL = {
    "castorini/unicoil-msmarco-passage": ("generation", "normal"),
    "BeIR/sparta-msmarco-distilbert-base-v1": ("generation", "random"),
    "ibm-granite/granite-embedding-30m-sparse": (),
    "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini": ("generation", "random"),
}
CACM_2636 = (
    "Generation of Random Correlated Normal Variables (Algorithm R425) CACM June, 1974 Page, R. L. CA740610 JB January "
    "17, 1978 2:57 PM 2636 5 2636 2636 5 2636 2636 5 2636\n"
)


@pytest.fixture(params=REAL)
def real(request, tmp_path_factory):
    home = tmp_path_factory.getbasetemp() / "hub"
    found = card(request.param, "sparse")
    if hub.folder_of(found, home) is None and not hub.hub_answers():
        pytest.skip(f"no model hub answers here, and {found.name} is not in the Hugging Face cache")
    return load(found, cache_dir=home)


@pytest.mark.hub
def test_the_real_models_weigh_the_words_of_a_text(real):
    vector, other = real.encode_documents([CACM_2636, "The sea is cold in winter."])
    (query,) = real.encode_queries(["random variables"])
    assert query.dot(vector) > query.dot(other)
    weights = dict(zip(real.terms(vector.indices), vector.values.tolist(), strict=True))
    assert set(REAL[real.card.name]) <= set(weights)
    for cap, found in zip(real.card.max_active_dims, (query, vector), strict=True):
        assert not cap or len(found) <= cap
    if real.card.name == "castorini/unicoil-msmarco-passage":  # published: Pyserini, tests of UniCoilDocumentEncoder
        assert weights["generation"] == pytest.approx(2.2441, abs=1e-3)
        assert weights["normal"] == pytest.approx(2.4618, abs=1e-3)
