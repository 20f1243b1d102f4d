"""Lists every model known by name, as frozen cards, and the named sets of models.

A card says what a model is before a byte of it is read. A test checks the facts of fastembed's models against
fastembed's own lists; prefixes are those of the models' authors. Models that do not retrieve text here are left out:
image-text models, and query-only or document-only halves of a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hybrid_search.encoders.dense_cards import DENSE_CARDS
from hybrid_search.encoders.local_card import local_card, serves
from hybrid_search.encoders.published import PUBLISHED
from hybrid_search.encoders.term_cards import TERM_CARDS
from hybrid_search.encoders.torch_cards import TORCH_SPARSE, torch_card
from hybrid_search.errors import ModelError, UnknownModel
from hybrid_search.types import ModelCard, Published

__all__ = ["BM25_ENGINE", "CARDS", "PROFILES", "Kind", "Profile", "card", "cards", "local_card"]

Kind = Literal["sparse", "dense", "hybrid", "reranker"]

BM25_ENGINE = "qdrant/bm25-engine"
"""The card whose encoder the store supplies."""

BUNDLED_HYBRID = "bundled/minilm-splade"
"""The model that is part of this package."""

_LANGUAGES = (
    "arabic danish dutch english finnish french german greek hungarian italian norwegian portuguese romanian russian "
    "spanish swedish turkish"
)
_ONNX, _NESTED = ("model.onnx",), ("onnx/model.onnx",)
_NESTED_SPLIT = ("onnx/model.onnx", "onnx/model.onnx_data")


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of models: the names of a sparse and a dense card, or of one hybrid card twice."""

    sparse: str
    dense: str


PROFILES: Mapping[str, Profile] = {
    "splade": Profile(sparse="prithivida/Splade_PP_en_v1", dense="BAAI/bge-small-en-v1.5"),
    "bundled": Profile(sparse=BUNDLED_HYBRID, dense=BUNDLED_HYBRID),
}


def _reranker(
    name: str,
    max_tokens: int,
    size_mb: int,
    licence: str,
    *,
    source: str = "",
    files: tuple[str, ...] = _NESTED,
    note: str = "English.",
    languages: tuple[str, ...] = ("en",),
) -> ModelCard:
    return ModelCard(
        name=name,
        kind="reranker",
        runtime="onnx",
        family="cross_encoder",
        licence=licence,
        max_tokens=max_tokens,
        source=source or name,
        files=files,
        size_mb=size_mb,
        note=note,
        languages=languages,
    )


_SPARSE = (
    ModelCard(
        name="prithivida/Splade_PP_en_v1",
        kind="sparse",
        runtime="onnx",
        family="splade",
        licence="apache-2.0",
        vocab_size=30522,
        max_tokens=512,
        source="Qdrant/Splade_PP_en_v1",
        files=_ONNX,
        size_mb=532,
        note="SPLADE++: learned weights and expansion on both sides. English.",
        languages=("en",),
    ),
    ModelCard(
        name="opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte",
        kind="sparse",
        runtime="onnx",
        family="inference_free_splade",
        licence="apache-2.0",
        vocab_size=30522,
        max_tokens=512,
        source="Qdrant/opensearch-neural-sparse-encoding-doc-v3-gte",
        files=("model.onnx", "idf.json"),
        size_mb=550,
        note="Documents are encoded by a model, queries by a table of token weights: fast queries. English.",
        languages=("en",),
    ),
    ModelCard(
        name="Qdrant/bm25",
        kind="sparse",
        runtime="fastembed",
        family="bm25",
        licence="apache-2.0",
        needs_idf=True,
        source="Qdrant/bm25",
        files=("config.json", *(f"{language}.txt" for language in _LANGUAGES.split())),
        size_mb=10,
        note="BM25 with English stemming and stop words; lengths are weighed against a mean of 256 words.",
        languages=("en",),
    ),
    ModelCard(
        name="Qdrant/bm42-all-minilm-l6-v2-attentions",
        kind="sparse",
        runtime="fastembed",
        family="bm42",
        licence="apache-2.0",
        vocab_size=30522,
        max_tokens=512,
        needs_idf=True,
        source="Qdrant/all_miniLM_L6_v2_with_attentions",
        files=("model.onnx", "stopwords.txt"),
        size_mb=90,
        note="Words weighed by the attention a small model gives them. English.",
        languages=("en",),
    ),
    ModelCard(
        name="Qdrant/minicoil-v1",
        kind="sparse",
        runtime="fastembed",
        family="minicoil",
        licence="apache-2.0",
        vocab_size=19125,
        max_tokens=8192,
        needs_idf=True,
        source="Qdrant/minicoil-v1",
        files=("onnx/model.onnx", "stopwords.txt", "minicoil.triplet.model.npy", "minicoil.triplet.model.vocab"),
        size_mb=90,
        note="BM25 whose words carry four numbers of meaning each. English.",
        languages=("en",),
    ),
    ModelCard(
        name=BM25_ENGINE,
        kind="sparse",
        runtime="engine",
        family="bm25",
        needs_idf=True,
        note="BM25 inside Qdrant: no model, nothing to download. English stems; words of other scripts as they are.",
        languages=("en",),
    ),
    *TERM_CARDS,
    *TORCH_SPARSE,
)

_RERANKERS = (
    _reranker("Xenova/ms-marco-MiniLM-L-6-v2", 512, 80, "apache-2.0"),
    _reranker("Xenova/ms-marco-MiniLM-L-12-v2", 512, 120, "apache-2.0"),
    _reranker("BAAI/bge-reranker-base", 512, 1040, "mit", note="English and Chinese.", languages=("en", "zh")),
    _reranker(
        "BAAI/bge-reranker-v2-m3",
        8192,
        2270,
        "apache-2.0",
        source="onnx-community/bge-reranker-v2-m3-ONNX",
        files=_NESTED_SPLIT,
        note="Multilingual.",
        languages=("mul",),
    ),
    _reranker(
        "BAAI/bge-reranker-v2-m3-int8",
        8192,
        570,
        "apache-2.0",
        source="onnx-community/bge-reranker-v2-m3-ONNX",
        files=("onnx/model_int8.onnx",),
        note="Multilingual.",
        languages=("mul",),
    ),
    _reranker("jinaai/jina-reranker-v1-tiny-en", 8192, 130, "apache-2.0", note="English, long texts."),
    _reranker("jinaai/jina-reranker-v1-turbo-en", 8192, 150, "apache-2.0", note="English, long texts."),
    _reranker(
        "jinaai/jina-reranker-v2-base-multilingual",
        1024,
        1110,
        "cc-by-nc-4.0",
        note="Multilingual.",
        languages=("mul",),
    ),
    torch_card("cross-encoder/ms-marco-MiniLM-L6-v2", "reranker", "cross_encoder", "apache-2.0", 91, 0, "English."),
)

_HYBRID = (
    ModelCard(
        name=BUNDLED_HYBRID,
        kind="hybrid",
        runtime="bundled",
        family="splade",
        licence="apache-2.0",
        dim=384,
        vocab_size=30522,
        max_tokens=256,
        size_mb=31,
        needs_idf=True,
        note="Part of this package: sparse and dense vectors in one pass. Taught on MS MARCO queries. English.",
        languages=("en",),
    ),
)

CARDS: tuple[ModelCard, ...] = tuple(
    replace(one, published=PUBLISHED.get(one.name, Published()))
    for one in (*_SPARSE, *_HYBRID, *DENSE_CARDS, *_RERANKERS)
)


def card(name: str, kind: Kind) -> ModelCard:
    """Return the card of a model: by its name (case is ignored), or of a folder on this machine.

    A hybrid model's card is returned for `sparse` and for `dense` too.

    Raises:
        UnknownModel: there is no such model; the message names similar ones of this kind.
        ModelError: the model is of another kind, or the folder holds no usable model.
    """
    for found in CARDS:
        if found.name.lower() == name.lower():
            if not serves(found.kind, kind):
                raise ModelError(f"{found.name!r} is a {found.kind} model; a {kind} model was expected here.")
            return found
    if Path(name).expanduser().is_dir():
        return local_card(name, kind)
    raise UnknownModel(name, _names(cards(kind)), f"{kind} model")


def kind_of(name: str, leg: str = "") -> Literal["sparse", "dense"]:
    """Return the kind of leg a model fills if nobody named one: sparse if it has sparse vectors, else dense.

    Args:
        name: of the model.
        leg: the name of the leg to be; a model of both kinds of vectors gives a leg called `dense` its dense ones.

    Raises:
        UnknownModel: there is no such model; the message names similar ones of both kinds.
        ModelError: the model gives neither kind, or the folder holds no usable model.
    """
    try:
        return "dense" if card(name, "sparse").kind == "hybrid" and leg == "dense" else "sparse"
    except UnknownModel:
        raise UnknownModel(name, _names([*cards("sparse"), *cards("dense")]), "sparse or dense model") from None
    except ModelError as error:
        try:
            card(name, "dense")
            return "dense"
        except ModelError:
            raise error from None


def cards(kind: Kind | None = None) -> tuple[ModelCard, ...]:
    """Return all cards, or those that serve as one kind, in the catalogue's order: the default of each kind first."""
    return tuple(found for found in CARDS if kind is None or serves(found.kind, kind))


def _names(found: Iterable[ModelCard]) -> list[str]:
    return [one.name for one in found]
