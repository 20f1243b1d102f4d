"""Exports trained weights to folders that `--sparse` takes: ONNX in fp32 and int8, checked against torch."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from hybrid_search.encoders import load
from hybrid_search.encoders.local_card import OWN_FILE, TRAINED, local_card
from hybrid_search.errors import ModelError, TrainingError
from hybrid_search.protocols import SparseEncoder
from hybrid_search.training import checkpoints
from hybrid_search.training.evaluation import Evaluation, encoding, judge
from hybrid_search.training.examples import HeldOut
from hybrid_search.training.graphs import onnx_model
from hybrid_search.training.mlm_head import wordless
from hybrid_search.training.models import TORCH_FOLDER, is_inference_free, query_weights, quiet_libraries
from hybrid_search.training.pooling import dimensions, parts
from hybrid_search.types import SparseVector

FULL_FOLDER, INT8_FOLDER = TRAINED, "int8"
TOLERANCE = 1e-4
"""The largest difference of a weight between torch and the exported fp32 model."""

# Besides texts of the user: nothing, one word, more than a model reads, other scripts, half a character.
_ODD = ("", "a", "the sea " * 600, "Ünïcödé 東京 ?!", "\ud83d film")
_CHECKED = 24
# onnx.TensorProto.FLOAT
_FLOAT = 1


class Exported(NamedTuple):
    """What the exported models do.

    Args:
        difference: the largest difference of any weight between torch and fp32 ONNX.
        int8_cosine: the mean cosine between a text's int8 and fp32 vector.
        full: fp32 on the held-out queries; None if there are none.
        int8: int8 on the same.
        megabytes: sizes of the two ONNX files, fp32 and int8.
    """

    difference: float
    int8_cosine: float
    full: Evaluation | None
    int8: Evaluation | None
    megabytes: tuple[float, float]


def export(model: Any, out: Path, texts: Sequence[str], held_out: HeldOut, *, step: int, licence: str) -> Exported:
    """Write `out/model`, `out/int8` and `out/torch`. Each replaces an earlier one only when it is complete.

    Args:
        model: the trained SparseEncoder of sentence-transformers.
        out: the folder of the training.
        texts: texts of the kind the model is for; the exported models are compared with torch on them.
        held_out: the queries that both exported models are judged on.
        step: the model's step, recorded in those judgements.
        licence: the licence for the models' cards; may be empty.

    Raises:
        TrainingError: the exported model differs from torch or cannot be loaded, or there is no room for it.
    """
    model.eval()
    samples = [*list(dict.fromkeys(texts))[:_CHECKED], *_ODD]
    with tempfile.TemporaryDirectory(prefix="hybrid-search-export-") as cache, quiet_libraries():
        return _export_all(model, out, samples, held_out, step, licence, Path(cache))


def _export_all(
    model: Any, out: Path, samples: Sequence[str], held_out: HeldOut, step: int, licence: str, cache: Path
) -> Exported:
    try:
        with checkpoints.replacing(out / TORCH_FOLDER) as folder:
            model.save_pretrained(str(folder), create_model_card=False)
        with checkpoints.replacing(out / FULL_FOLDER) as folder:
            _write(model, folder, onnx_model(model), licence)
            difference = _compare(model, _load_exported(folder, cache), samples)
        with checkpoints.replacing(out / INT8_FOLDER) as folder:
            _write(model, folder, _quantize(onnx_model(model, tied=False)), licence)
    except OSError as fault:
        raise TrainingError(
            f"The trained model could not be written to {out}: {fault}. The checkpoints are kept: make room, and go on "
            f"with --resume."
        ) from fault
    full, int8 = _load_exported(out / FULL_FOLDER, cache), _load_exported(out / INT8_FOLDER, cache)
    sizes = [(out / name / "model.onnx").stat().st_size / 1e6 for name in (FULL_FOLDER, INT8_FOLDER)]
    return Exported(
        difference,
        _cosine(full.encode_documents(samples), int8.encode_documents(samples)),
        _judge(full, held_out, step),
        _judge(int8, held_out, step),
        (sizes[0], sizes[1]),
    )


def _write(model: Any, folder: Path, graph: bytes, licence: str) -> None:
    """Write graph, tokenizer, config and our own file: everything that `local_card` and the ONNX runner read."""
    (folder / "model.onnx").write_bytes(graph)
    tokenizer = model.tokenizer
    tokenizer.save_pretrained(str(folder))
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    _dump(folder / "special_tokens_map.json", special)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    _dump(folder / "tokenizer_config.json", {**settings, **special, "model_max_length": model.max_seq_length})
    config = _config(model)
    _dump(folder / "config.json", config)
    free = is_inference_free(model)
    if free:
        _dump(folder / "idf.json", _query_table(model))
    own = {
        "kind": "sparse",
        "runtime": "onnx",
        "family": "inference_free_splade" if free else "splade",
        "max_tokens": model.max_seq_length,
        "vocab_size": config["vocab_size"],
        "licence": licence,
    }
    _dump(folder / OWN_FILE, own)


def _config(model: Any) -> dict[str, Any]:
    config = parts(model)[0].auto_model.config
    known = config.to_dict()
    copied = ("model_type", "pad_token_id", "hidden_size", "num_hidden_layers", "max_position_embeddings")
    return {
        "architectures": [type(parts(model)[0].auto_model).__name__],
        **{name: known[name] for name in copied if name in known},
        "vocab_size": dimensions(model),
    }


def _query_table(model: Any) -> Mapping[str, float]:
    weights = query_weights(model).detach().float().cpu().numpy()
    left_out = set(wordless(model.tokenizer))
    return {
        token: float(weights[number])
        for token, number in sorted(model.tokenizer.get_vocab().items(), key=lambda item: item[1])
        if number not in left_out and weights[number] > 0
    }


def _quantize(graph: bytes) -> bytes:
    """Return the graph with int8 weights, one scale per column; activations are scaled at run time.

    Seven of the eight bits are used, because processors without VNNI add pairs of products in sixteen bits.
    """
    quantization: Any = import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory(prefix="hybrid-search-int8-") as folder:
        full, small = Path(folder) / "full.onnx", Path(folder) / "int8.onnx"
        full.write_bytes(graph)
        quantization.quantize_dynamic(
            str(full),
            str(small),
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            # It cannot tell the type of what onnxruntime's own operators give.
            extra_options={"DefaultTensorType": _FLOAT},
        )
        return small.read_bytes()


def _compare(model: Any, exported: SparseEncoder, samples: Sequence[str]) -> float:
    """Return the largest difference between torch and the exported model, run as a user's search runs it."""
    largest = 0.0
    left_out = np.array(wordless(model.tokenizer) if is_inference_free(model) else [], dtype=np.int64)
    for side, encode in (("query", exported.encode_queries), ("document", exported.encode_documents)):
        for text, ours, theirs in zip(samples, encode(samples), encoding(model, side)(samples), strict=True):
            difference = _difference(ours, theirs, left_out)
            if not difference <= TOLERANCE:
                raise TrainingError(
                    f"The exported model differs from the trained one by {difference:.2g} on the {side} "
                    f"{text[:40]!r}; at most {TOLERANCE:g} was expected. The trained weights are kept; --sparse takes "
                    "their folder as well, and runs it with torch."
                )
            largest = max(largest, difference)
    return largest


def _difference(one: SparseVector, other: SparseVector, left_out: Any) -> float:
    dims = np.setdiff1d(np.union1d(one.indices, other.indices), left_out)
    if not dims.size:
        return 0.0
    values = []
    for vector in (one, other):
        row = np.zeros(int(dims[-1]) + 1)
        inside = vector.indices <= dims[-1]
        row[vector.indices[inside]] = vector.values[inside]
        values.append(row[dims])
    return float(np.abs(values[0] - values[1]).max())


def _cosine(ones: Sequence[SparseVector], others: Sequence[SparseVector]) -> float:
    both = [(a, b) for a, b in zip(ones, others, strict=True) if len(a) and len(b)]
    return float(np.mean([a.dot(b) / np.sqrt(a.dot(a) * b.dot(b)) for a, b in both])) if both else 1.0


def _judge(encoder: SparseEncoder, held_out: HeldOut, step: int) -> Evaluation | None:
    if not held_out.queries:
        return None
    return judge(encoder.encode_queries, encoder.encode_documents, held_out, step)


def _load_exported(folder: Path, cache: Path) -> SparseEncoder:
    try:
        encoder = cast(SparseEncoder, load(local_card(folder, "sparse"), cache_dir=cache))
        encoder.warm_up()
    except ModelError as fault:
        raise TrainingError(f"The exported model cannot be loaded: {fault}") from fault
    return encoder


def _dump(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
