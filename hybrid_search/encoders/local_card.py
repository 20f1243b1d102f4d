"""Reads a model folder on this machine as a card: from its files, never from its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from hybrid_search.errors import ModelError
from hybrid_search.types import ModelCard

OWN_FILE = "hybrid_search.json"
TRAINED = "model"
"""The subfolder of a training's folder that holds the model."""

POOLINGS = ("mean", "cls", "last_token", "none")
_ONNX_FILES = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx")
_TORCH_FILES = ("model.safetensors", "pytorch_model.bin")
_FIELDS = frozenset(field.name for field in fields(ModelCard)) - {"name", "published"}
_UNWEIGHTED = ("", "punctuation", "stop_words")
# Beginnings of the names of classes whose weights were saved, in small letters.
_TERM_FAMILIES = ("unicoil", "sparta", "deepimpact")
_KIND_OF = {"splade": "sparse", "inference_free_splade": "sparse", "dense": "dense", "cross_encoder": "reranker"}
_NEED_IDF = frozenset({"bm25", "bm42", "minicoil"})
_LOGARITHMS = {"relu": 1, "log1p_relu": 2}
# What transformers writes as "no limit" is astronomically large.
_NO_LIMIT = 1 << 24


def local_card(path: str | Path, kind: Literal["sparse", "dense", "hybrid", "reranker"]) -> ModelCard:
    """Read the card of a model folder; its name is the folder's absolute path.

    These files are read: `config.json` (architecture, sizes), `tokenizer_config.json` and `sentence_bert_config.json`
    (length), `modules.json` and `config_sentence_transformers.json` (the sentence-transformers layout, prompts),
    `idf.json` (queries without inference), and `hybrid_search.json`. The fields of the last, which are those of
    ModelCard, override all others. With an ONNX file (`model.onnx`, `onnx/model.onnx`, `model_optimized.onnx`)
    onnxruntime runs the model, otherwise torch.

    The folder that `hybrid-search train` leaves stands for the model in it. A hybrid model, which must be declared in
    `hybrid_search.json`, serves as sparse and as dense.

    Raises:
        ModelError: there is no such folder, a file is missing or damaged, or the model is of another kind.
    """
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise ModelError(f"No model folder {str(folder)!r}.")
    if not (folder / "config.json").is_file() and (folder / TRAINED / OWN_FILE).is_file():
        folder = folder / TRAINED
    own = _own(folder)
    onnx = [name for name in _ONNX_FILES if (folder / name).is_file()]
    inner = _transformer_folder(folder)
    config = as_json(inner, "config.json")
    facts: dict[str, Any] = {"runtime": own.get("runtime") or _runtime(folder, bool(onnx))}
    facts["family"] = own.get("family") or _family(folder, config)
    # Folders of ours that were made when fastembed ran these models say so.
    if facts["runtime"] == "fastembed" and facts["family"] in _KIND_OF:
        facts["runtime"] = own["runtime"] = "onnx"
    facts["kind"] = own.get("kind") or _KIND_OF.get(facts["family"], "sparse")
    if not serves(facts["kind"], kind):
        raise ModelError(
            f"{folder} holds a {facts['kind']} model ({facts['family']}); a {kind} model was expected here."
        )
    if facts["kind"] == "dense":
        facts["dim"] = own.get("dim") or _dim(folder, config)
        facts["pooling"] = pooling_of(folder) or ""
    if facts["kind"] == "sparse":
        facts["vocab_size"] = 0 if facts["family"] == "deepimpact" else config.get("vocab_size", 0)
    facts["max_tokens"] = own.get("max_tokens") or _max_tokens(inner, config)
    prompts = as_json(folder, "config_sentence_transformers.json").get("prompts") or {}
    facts["query_prefix"] = prompts.get("query") or ""
    facts["document_prefix"] = prompts.get("document") or prompts.get("passage") or ""
    facts["extra"] = "torch" if facts["runtime"] == "torch" else ""
    facts["needs_idf"] = facts["family"] in _NEED_IDF
    facts["files"] = own.get("files") or (_files(folder, onnx) if facts["runtime"] in ("onnx", "fastembed") else ())
    facts.update({name: value for name, value in own.items() if name in _FIELDS})
    languages = facts.get("languages", ())
    facts["files"] = tuple(facts["files"])
    _check_weights(folder, facts)
    facts["languages"] = (languages,) if isinstance(languages, str) else tuple(languages)
    try:
        return ModelCard(name=str(folder), **facts)
    except TypeError as fault:
        raise ModelError(f"{folder / OWN_FILE}: {fault}") from fault


def _check_weights(folder: Path, facts: dict[str, Any]) -> None:
    """Check what `hybrid_search.json` says of sparse vectors."""
    caps, unweighted = facts.get("max_active_dims", (0, 0)), facts.get("unweighted", "")
    if not (isinstance(caps, list | tuple) and len(caps) == 2 and all(type(cap) is int and cap >= 0 for cap in caps)):
        raise ModelError(
            f"{folder / OWN_FILE} says max_active_dims {caps!r}; expected are two numbers from 0, of queries and of "
            "documents, such as [50, 192]."
        )
    if unweighted not in _UNWEIGHTED:
        raise ModelError(f"{folder / OWN_FILE} says unweighted {unweighted!r}; known are {', '.join(_UNWEIGHTED[1:])}.")
    facts["max_active_dims"] = tuple(caps)


def serves(kind: str, wanted: str) -> bool:
    """Return whether a model of one kind can serve as another: a hybrid model gives both vectors."""
    return kind == wanted or (kind == "hybrid" and wanted in ("sparse", "dense"))


def pooling_of(folder: Path) -> str | None:
    """Return how token vectors become one, one of POOLINGS; None if the folder does not say.

    Raises:
        ModelError: a file is damaged, or the pooling is unknown.
    """
    own = _own(folder).get("pooling")
    if own is not None:
        if own not in POOLINGS:
            raise ModelError(f"{folder / OWN_FILE} asks for pooling {own!r}; known are {', '.join(POOLINGS)}.")
        return str(own)
    config = as_json(folder, "1_Pooling/config.json")
    modes = {
        "mean": config.get("pooling_mode_mean_tokens"),
        "cls": config.get("pooling_mode_cls_token"),
        "last_token": config.get("pooling_mode_lasttoken"),
    }
    # Newer files carry one word instead of a flag for each mode.
    named = config.get("pooling_mode")
    chosen = [mode for mode, on in modes.items() if on] or [
        {"lasttoken": "last_token"}.get(mode, mode) for mode in ([named] if isinstance(named, str) else named or [])
    ]
    if not config:
        return None
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ModelError(f"{folder / '1_Pooling/config.json'} asks for a pooling not known here: {chosen or config}.")
    return chosen[0]


def length_limit(folder: Path) -> int | None:
    """Return the limit of `tokenizer_config.json`, in tokens; None if it gives none.

    `max_length` comes second: transformers writes into it what the tokenizer was last cut at, not what the model reads.
    """
    config = as_json(folder, "tokenizer_config.json")
    limits = [config.get("model_max_length"), config.get("max_length")]
    valid = [limit for limit in limits if type(limit) is int and 0 < limit < _NO_LIMIT]
    return valid[0] if valid else None


def cut_side(folder: Path) -> Literal["left", "right"]:
    """Return the side on which too long a text loses tokens, by `tokenizer_config.json`."""
    return "left" if as_json(folder, "tokenizer_config.json").get("truncation_side") == "left" else "right"


def logarithms(folder: Path) -> int | None:
    """Return how many times a SPLADE model's activation takes log(1 + x) of ReLU(x); None if the folder does not say.

    Once in SPLADE, twice in OpenSearch's third series (Geng et al. 2025, arXiv 2504.14839); sentence-transformers notes
    it beside its pooling of documents.

    Raises:
        ModelError: the file is damaged, or names another activation.
    """
    for place in sorted(folder.glob("*_SpladePooling/config.json")):
        named = as_json(folder, place.relative_to(folder).as_posix()).get("activation_function", "relu")
        if named not in _LOGARITHMS:
            raise ModelError(f"{place} asks for activation {named!r}; known are {', '.join(_LOGARITHMS)}.")
        return _LOGARITHMS[named]
    return None


def _own(folder: Path) -> dict[str, Any]:
    own = as_json(folder, OWN_FILE)
    unknown = sorted(set(own) - _FIELDS)
    if unknown:
        raise ModelError(
            f"{folder / OWN_FILE} has unknown fields {', '.join(unknown)}; known are {', '.join(sorted(_FIELDS))}."
        )
    return own


def as_json(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a model's file; empty if there is no such file.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    path = folder / name
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise ModelError(f"{path} is not a file.")
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise ModelError(f"{path} cannot be read: {fault}") from fault
    if not isinstance(found, dict):
        raise ModelError(f"{path} must hold a JSON object, not {type(found).__name__}.")
    return found


def _transformer_folder(folder: Path) -> Path:
    """Return the folder of the network: this one, or the documents' side of a sentence-transformers router."""
    structure = as_json(folder, "router_config.json").get("structure") or {}
    for name in structure.get("document") or []:
        if not (folder / "config.json").is_file() and (folder / name / "config.json").is_file():
            return folder / str(name)
    return folder


def _runtime(folder: Path, has_onnx: bool) -> str:
    if has_onnx:
        return "onnx"
    if (folder / "modules.json").is_file() or any((folder / name).is_file() for name in _TORCH_FILES):
        return "torch"
    expected = ", ".join((*_ONNX_FILES, *_TORCH_FILES))
    raise ModelError(f"{folder} holds no model: expected one of {expected}, or modules.json.")


def _family(folder: Path, config: Mapping[str, Any]) -> str:
    made_by = as_json(folder, "config_sentence_transformers.json").get("model_type")
    idf = (folder / "idf.json").is_file() or (folder / "router_config.json").is_file()
    architectures = config.get("architectures") or []
    for family in _TERM_FAMILIES:
        if any(name.lower().startswith(family) for name in architectures):
            return family
    if made_by == "SparseEncoder" or any(name.endswith("ForMaskedLM") for name in architectures):
        return "inference_free_splade" if idf else "splade"
    if made_by == "CrossEncoder" or any(name.endswith("ForSequenceClassification") for name in architectures):
        return "cross_encoder"
    if made_by == "SentenceTransformer" or architectures:
        return "dense"
    raise ModelError(
        f"{folder} does not say what it is: config.json with `architectures` is missing. "
        f'Add it, or {OWN_FILE} with {{"kind": ..., "family": ...}}.'
    )


def _max_tokens(folder: Path, config: Mapping[str, Any]) -> int:
    limit = as_json(folder, "sentence_bert_config.json").get("max_seq_length") or length_limit(folder)
    limit = limit or config.get("max_position_embeddings")
    if type(limit) is not int or limit < 1:
        raise ModelError(
            f"{folder} does not say how much the model reads: no model_max_length in tokenizer_config.json, "
            f'no max_position_embeddings in config.json. Add {OWN_FILE} with {{"max_tokens": ...}}.'
        )
    return limit


def _dim(folder: Path, config: Mapping[str, Any]) -> int:
    dim = config.get("hidden_size") or config.get("dim") or config.get("d_model")
    for place in sorted(folder.glob("*_Dense/config.json")):
        dim = as_json(place.parent, place.name).get("out_features", dim)
    if type(dim) is not int or dim < 1:
        raise ModelError(
            f'{folder} does not say its dimensions: no hidden_size in config.json. Add {OWN_FILE} with {{"dim": ...}}.'
        )
    return dim


def _files(folder: Path, onnx: list[str]) -> tuple[str, ...]:
    if not onnx:
        raise ModelError(f"{folder} has no ONNX file ({', '.join(_ONNX_FILES)}) to run.")
    beside = [f"{onnx[0]}_data", f"{onnx[0]}.data", "idf.json"]
    return (onnx[0], *(name for name in beside if (folder / name).is_file()))
