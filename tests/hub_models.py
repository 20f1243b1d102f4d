"""Small models in the exact layouts of the hub, so that tests run the code that runs the real ones.

Weights are random but fixed, the vocabulary has some three hundred words, and every file of the real repository that
the code reads is there: `config.json`, `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and the
ONNX graph with the real inputs and outputs. `in_hub_cache` places such a folder where a download would have put it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path

import numpy as np

from hybrid_search.encoders.bundled.graph import BertShape, Graph, bert_body

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 4, 64, 512
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_TEXT = """
a about actor after album all an and angel animal are art as at band bank bass beach bear best big bird black blue
boat body book boy bread bridge bright brother car cat chef child city class cloud cold color concert cook country
crime dance dark day deep desert director doctor dog door dragon dream drum earth east england engine eye face family
farm fast father festival film fire fish flight flower food for forest free friend garden ghost girl gold good great
green guitar hand heart hero high hill history home horse hospital house ice in is island jazz journey king kitchen
knight lake land language law leaf letter life light lion long loud love machine magic man map market mind money moon
mother mountain mouse movie museum music musical musician name new night north ocean of old on opera orchestra painter
paper party peace piano picture pirate planet poem police queen rain recipe record red river road robot rock sail
school science sea secret ship silver sing singer sky small snow soldier song sound south space spinal star stone
storm story street summer sun tap teacher the theater thief time to tower town train travel tree war water west white
wind winter with wolf woman world writer year young
"""
WORDS = _TEXT.split()
PIECES = ("##s", "##ed", "##ing", "##er", "##ly")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = list(
    dict.fromkeys(
        [*SPECIAL, *WORDS, *PIECES, *_CHARACTERS, *"0123456789.,!?'-", *(f"##{character}" for character in _CHARACTERS)]
    )
)
REVISION = "0123456789abcdef0123456789abcdef01234567"


def weights(seed: int = 7) -> dict[str, np.ndarray]:
    """A tiny BERT's weights, named as transformers names them, with an MLM head and a classifier."""
    draw = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.3) -> np.ndarray:
        return (draw.standard_normal(shape) * scale).astype(np.float32)

    found = {
        "embeddings.word_embeddings.weight": normal(len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN, scale=0.05),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN),
        "cls.predictions.transform.dense.weight": normal(HIDDEN, HIDDEN),
        "cls.predictions.transform.dense.bias": normal(HIDDEN),
        "cls.predictions.bias": normal(len(VOCABULARY)) - 0.8,
        "pooler.dense.weight": normal(HIDDEN, HIDDEN),
        "pooler.dense.bias": normal(HIDDEN, scale=0.1),
        "classifier.weight": normal(1, HIDDEN),
        "classifier.bias": normal(1),
    }
    sizes = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (INNER, HIDDEN),
        "output.dense": (HIDDEN, INNER),
    }
    norms = ["embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in range(LAYERS):
        for part, (out, into) in sizes.items():
            found[f"encoder.layer.{layer}.{part}.weight"] = normal(out, into)
            found[f"encoder.layer.{layer}.{part}.bias"] = normal(out, scale=0.1)
        norms += [f"encoder.layer.{layer}.{part}.LayerNorm" for part in ("attention.output", "output")]
    for name in norms:
        found[f"{name}.weight"] = 1 + normal(HIDDEN, scale=0.1)
        found[f"{name}.bias"] = normal(HIDDEN, scale=0.1)
    return found


def config(architecture: str) -> dict[str, object]:
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": len(VOCABULARY),
        "pad_token_id": 0,
        **({"num_labels": 1, "id2label": {"0": "LABEL_0"}} if architecture.endswith("Classification") else {}),
    }


def tokenizer_files(folder: Path, *, model_max_length: int = 512) -> None:
    """The tokenizer of a lower-casing BERT, in its three files."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    ids = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    # As in the real repositories, which carry truncation and padding that callers have to switch off.
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    _dump(folder / "special_tokens_map.json", special)
    settings = {
        **special,
        "do_lower_case": True,
        "model_max_length": model_max_length,
        "tokenizer_class": "BertTokenizer",
    }
    _dump(folder / "tokenizer_config.json", settings)


def splade_folder(folder: Path, *, onnx: str = "model.onnx", seed: int = 7) -> Path:
    """As Qdrant/Splade_PP_en_v1: three inputs, `logits` (batch, length, vocabulary)."""
    return _folder(folder, "BertForMaskedLM", onnx, seed, _mlm_head, "logits", ("batch", "length", len(VOCABULARY)))


def inference_free_folder(folder: Path, *, seed: int = 8) -> Path:
    """As Qdrant/opensearch-neural-sparse-encoding-doc-v3-gte: the same, and `idf.json` (token -> weight)."""
    splade_folder(folder, seed=seed)
    _dump(folder / "idf.json", {word: round(1 + number % 7 / 2, 3) for number, word in enumerate(WORDS)})
    return folder


def dense_folder(folder: Path, *, onnx: str = "model_optimized.onnx", seed: int = 9) -> Path:
    """As Qdrant/bge-small-en-v1.5-onnx-Q: `last_hidden_state`, pooled by the caller."""
    return _folder(folder, "BertModel", onnx, seed, _no_head, "last_hidden_state", ("batch", "length", HIDDEN))


def reranker_folder(folder: Path, *, onnx: str = "onnx/model.onnx", seed: int = 10) -> Path:
    """As Xenova/ms-marco-MiniLM-L-6-v2: `logits` (batch, 1)."""
    return _folder(folder, "BertForSequenceClassification", onnx, seed, _classifier, "logits", ("batch", 1))


def bm25_folder(folder: Path) -> Path:
    """As Qdrant/bm25: an empty config and lists of stop words."""
    from hybrid_search.encoders.catalog import card

    folder.mkdir(parents=True, exist_ok=True)
    for name in card("Qdrant/bm25", "sparse").files:
        (folder / name).write_text("{}" if name == "config.json" else "a\nabout\nis\nthe\nthis\n", encoding="utf-8")
    return folder


def bm42_folder(folder: Path, *, seed: int = 12) -> Path:
    """As Qdrant/all_miniLM_L6_v2_with_attentions: `attention_6` (batch, heads, length, length), and stop words."""
    _folder(folder, "BertModel", "model.onnx", seed, _attention, "attention_6", ("batch", 1, "length", "length"))
    (folder / "stopwords.txt").write_text("a\nabout\nthe\n", encoding="utf-8")
    return folder


def minicoil_folder(folder: Path, *, known: dict[str, str], seed: int = 13) -> Path:
    """As Qdrant/minicoil-v1, a vocabulary of `known` words (stem -> word) with four numbers each."""
    dense_folder(folder, onnx="onnx/model.onnx", seed=seed)
    (folder / "stopwords.txt").write_text("a\nabout\nthe\n", encoding="utf-8")
    _dump(folder / "minicoil.triplet.model.vocab", {"vocab": list(known.values()), "stem_mapping": known})
    matrices = np.random.default_rng(seed).standard_normal((len(known) + 1, HIDDEN, 4)).astype(np.float32)
    np.save(folder / "minicoil.triplet.model.npy", matrices)
    return folder


def in_hub_cache(folder: Path, cache: Path, repository: str, *, links: bool = True) -> Path:
    """Place a folder's files where a download of `repository` puts them; returns the snapshot.

    Large files are blobs named by their SHA-256, small ones by git's SHA-1 of them; the snapshot links to them.
    `links=False` is the layout of systems without links: plain files in the snapshot.
    """
    home = cache / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / REVISION
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = snapshot / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not links:
            shutil.copyfile(path, place)
            continue
        content = path.read_bytes()
        name = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if path.suffix == ".onnx":
            name = hashlib.sha256(content).hexdigest()
        blob = home / "blobs" / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        up = Path(*[".."] * (len(place.relative_to(home).parts) - 1))
        place.symlink_to(up / "blobs" / name)
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(REVISION, encoding="ascii")
    return snapshot


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Source: the safetensors format: length, JSON header, raw data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = np.ascontiguousarray(tensor, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def torch_folder(folder: Path, architecture: str, *, seed: int) -> Path:
    """The same tiny BERT as transformers saves it: `model.safetensors` and no ONNX."""
    folder.mkdir(parents=True, exist_ok=True)
    _dump(folder / "config.json", config(architecture))
    tokenizer_files(folder)
    head = ("cls.", "classifier.")
    bare = architecture == "BertModel"
    found = {}
    for name, tensor in weights(seed).items():
        if not name.startswith(head):
            found[name if bare else f"bert.{name}"] = tensor
        elif not bare:
            found[name] = tensor
    write_safetensors(folder / "model.safetensors", found)
    return folder


def vocabulary_files(folder: Path, *, lower: bool = True) -> None:
    """A tokenizer from before `tokenizer.json`: a token a line, and what is done to letters."""
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    _dump(folder / "tokenizer_config.json", {"do_lower_case": lower, "strip_accents": None, "model_max_length": 512})
    _dump(folder / "special_tokens_map.json", {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]"})


def body_weights(seed: int) -> dict[str, np.ndarray]:
    """The tiny BERT's weights without its heads."""
    return {name: tensor for name, tensor in weights(seed).items() if not name.startswith(("cls.", "classifier."))}


def pickled_folder(folder: Path, tensors: dict[str, np.ndarray], settings: dict[str, object]) -> Path:
    """As repositories of 2021: `config.json`, `vocab.txt` and `pytorch_model.bin`, no `tokenizer.json`."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    _dump(folder / "config.json", settings)
    vocabulary_files(folder)
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, folder / "pytorch_model.bin")
    return folder


def unicoil_folder(folder: Path, head: tuple[np.ndarray, np.ndarray], *, seed: int = 21) -> Path:
    """As castorini/unicoil-msmarco-passage: a BERT and `tok_proj` (1 x hidden), both below `coil_encoder.`."""
    tensors = {f"coil_encoder.bert.{name}": tensor for name, tensor in body_weights(seed).items()}
    tensors["coil_encoder.bert.embeddings.position_ids"] = np.arange(POSITIONS)[None]
    tensors |= {"coil_encoder.tok_proj.weight": head[0], "coil_encoder.tok_proj.bias": head[1]}
    return pickled_folder(folder, tensors, config("UniCoilEncoder"))


def sparta_folder(folder: Path, *, seed: int = 22, bias: float | None = None) -> Path:
    """As BeIR/sparta-msmarco-distilbert-base-v1: a bare DistilBERT. Its class does not say what it is for."""
    from tests.numpy_bert import as_distilbert

    tensors = as_distilbert(body_weights(seed))
    if bias is not None:
        tensors["score_bias"] = np.array(bias, dtype=np.float32)
    settings: dict[str, object] = {
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "activation": "gelu",
        "dim": HIDDEN,
        "hidden_dim": INNER,
        "n_heads": HEADS,
        "n_layers": LAYERS,
        "max_position_embeddings": POSITIONS,
        "vocab_size": len(VOCABULARY),
    }
    pickled_folder(folder, tensors, settings)
    _dump(folder / "hybrid_search.json", {"family": "sparta", "max_active_dims": [0, 2000]})
    return folder


def deepimpact_folder(folder: Path, layers: dict[int, tuple[np.ndarray, np.ndarray]], *, seed: int = 23) -> Path:
    """As DeepImpact's `save_pretrained` leaves it: a BERT and `impact_score_encoder`, numbered as in its Sequential."""
    tensors = {f"bert.{name}": tensor for name, tensor in body_weights(seed).items()}
    for number, (weight, bias) in layers.items():
        tensors |= {f"impact_score_encoder.{number}.weight": weight, f"impact_score_encoder.{number}.bias": bias}
    return pickled_folder(folder, tensors, config("DeepImpact"))


def _folder(
    folder: Path, architecture: str, onnx: str, seed: int, head, output: str, shape: tuple[str | int, ...]
) -> Path:
    (folder / onnx).parent.mkdir(parents=True, exist_ok=True)
    settings, found = config(architecture), weights(seed)
    _dump(folder / "config.json", settings)
    tokenizer_files(folder)
    graph = Graph()
    value = head(graph, bert_body(graph, BertShape.of(settings), found, token_types="token_type_ids"), found)
    inputs = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("batch", "length"))
    (folder / onnx).write_bytes(graph.model(inputs, {output: (value, shape)}).SerializeToString())
    return folder


def _no_head(graph: Graph, hidden: str, found: dict[str, np.ndarray]) -> str:
    return hidden


def _attention(graph: Graph, hidden: str, found: dict[str, np.ndarray]) -> str:
    """One head over the last states; the tests need a matrix whose rows sum to 1, not a meaning."""
    products = graph.add("MatMul", hidden, graph.add("Transpose", hidden, perm=[0, 2, 1]))
    scaled = graph.add("Mul", products, graph.weight(np.array([0.02], dtype=np.float32)))
    # Padding is not looked at.
    padding = graph.add("Sub", graph.add("Cast", "attention_mask", to=1), graph.weight(np.array([1], dtype=np.float32)))
    padding = graph.add("Mul", padding, graph.weight(np.array([1e4], dtype=np.float32)))
    scaled = graph.add("Add", scaled, graph.add("Unsqueeze", padding, graph.weight(np.array([1]))))
    return graph.add("Unsqueeze", graph.add("Softmax", scaled, axis=-1), graph.weight(np.array([1])))


def _mlm_head(graph: Graph, hidden: str, found: dict[str, np.ndarray]) -> str:
    at = "cls.predictions.transform."
    value = graph.add("MatMul", hidden, graph.weight(found[f"{at}dense.weight"].T))
    value = graph.add("BiasGelu", value, graph.weight(found[f"{at}dense.bias"]), domain="com.microsoft")
    norm = [graph.weight(found[f"{at}LayerNorm.{part}"]) for part in ("weight", "bias")]
    value = graph.add("LayerNormalization", value, *norm, axis=-1, epsilon=1e-12)
    value = graph.add("MatMul", value, graph.weight(found["embeddings.word_embeddings.weight"].T))
    return graph.add("Add", value, graph.weight(found["cls.predictions.bias"]))


def _classifier(graph: Graph, hidden: str, found: dict[str, np.ndarray]) -> str:
    place = graph.weight(np.array([0])), graph.weight(np.array([1]))
    first = graph.add("Squeeze", graph.add("Slice", hidden, *place, place[1]), place[1])
    for part in ("pooler.dense", "classifier"):
        kernel, bias = (graph.weight(found[f"{part}.{kind}"].T) for kind in ("weight", "bias"))
        first = graph.add("Add", graph.add("MatMul", first, kernel), bias)
        first = first if part == "classifier" else graph.add("Tanh", first)
    return first


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def t5_folder(folder: Path, *, seed: int = 3, pickled: bool = False) -> Path:
    """A tiny T5 as `castorini/doc2query-t5-base-msmarco` is laid out; needs torch. `pickled` weights are as in it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5Config, T5ForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS), "▁", *_CHARACTERS, *"0123456789.,!?'-"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(n) / 100) for n, piece in enumerate(pieces)], unk_id=2))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(list(pieces[:3]))
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _dump(folder / "special_tokens_map.json", special)
    settings = {**special, "extra_ids": 0, "model_max_length": 512, "tokenizer_class": "T5TokenizerFast"}
    _dump(folder / "tokenizer_config.json", settings)
    torch.manual_seed(seed)
    sizes = {"vocab_size": len(pieces), "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, **sizes))
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
