"""Runs ONNX models with onnxruntime: SPLADE, inference-free SPLADE, dense models, cross-encoders.

The graph that runs is derived from the model's own (`onnx_graphs/`) and gives one row per text. Texts are tokenised
once, batched by length within a limit of tokens, and returned in their order. Networks run on the processor or on a
GPU, tables on the processor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders import hub
from hybrid_search.encoders.base import FileModel
from hybrid_search.encoders.batching import Positions
from hybrid_search.encoders.devices import ActiveDevice, Device, NoCuda, Sizes, resolve_device
from hybrid_search.encoders.hashing import file_hash, fingerprint_of
from hybrid_search.encoders.local_card import cut_side
from hybrid_search.encoders.onnx_graphs.artifacts import Derived, Source
from hybrid_search.encoders.onnx_graphs.cache import get_or_build
from hybrid_search.encoders.onnx_graphs.pooling import OUTPUT, NoPooling, OutputSpec
from hybrid_search.encoders.onnx_graphs.shared_weights import is_worth_sharing, shared_graph
from hybrid_search.encoders.onnx_session import open_with_fallback, sharing_weights
from hybrid_search.encoders.openvino import OpenVinoSession
from hybrid_search.encoders.pruning import sparse_rows
from hybrid_search.encoders.query_table import QueryWeightTable
from hybrid_search.encoders.threads import split_cores
from hybrid_search.encoders.token_cache import Ids
from hybrid_search.encoders.tokenizer import Pair, TruncatingTokenizer, attention_mask, dimensions_of, pad_rows
from hybrid_search.errors import ModelError
from hybrid_search.manifest import Precision
from hybrid_search.types import ModelCard, SparseVector

# (tokens, texts) of one batch. On a GPU a SPLADE model's logits take 1 GB, the array that is pooled; these sizes are
# estimates: no GPU was at hand to measure them on.
_SPLADE_BATCH: Sizes = {"cpu": (512, 32), "cuda": (8192, 128)}
_DENSE_BATCH: Sizes = {"cpu": (1024, 64), "cuda": (32768, 256)}
_RERANK_BATCH: Sizes = {"cpu": (1024, 64), "cuda": (32768, 256)}
_NUMPY = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16}
# What jina-embeddings-v3 calls its tasks.
_TASKS = {"queries": 0, "documents": 1}


def load(
    card: ModelCard,
    *,
    cache_dir: Path,
    threads: int | None = None,
    precision: Precision = "fp32",
    device: Device = "auto",
) -> OnnxSparse | OnnxDense | OnnxReranker:
    """Return the encoder or reranker of a card whose runtime is `onnx`."""
    classes: dict[str, type[OnnxSparse | OnnxDense | OnnxReranker]] = {"sparse": OnnxSparse, "dense": OnnxDense}
    encoder_class = classes.get(card.kind, OnnxReranker)
    return encoder_class(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)


class Network:
    """A derived graph with an open session.

    Args:
        graph: the graph to run.
        threads: threads of one run; None means every core.
        precision: `bf16` runs with OpenVINO; int8 and fp16 are properties of the graph.
        place: where to run.
        quick: see `onnx_session.open_session`.
        strict: refuse to fall back to the processor if the GPU cannot be started.

    Raises:
        NoCuda: `strict` is set, and the GPU cannot be started.
    """

    place: ActiveDevice = "cpu"
    """Where it runs."""

    def __init__(
        self,
        graph: Derived,
        threads: int | None,
        precision: Precision = "fp32",
        place: ActiveDevice = "cpu",
        *,
        quick: bool = False,
        strict: bool = False,
    ) -> None:
        self.graph = graph
        if precision == "bf16":
            if graph.file is None:
                raise ModelError("bf16 needs a cache folder that can be written, and there is none.")
            self._session: Any = OpenVinoSession(graph.file, threads)
            return
        # Held: the session reads the weights from where they are mapped.
        options: dict[str, Any] = {"threads": threads, "place": place, "tf32": precision == "fp16"}
        shares = place == "cpu" and sharing_weights() and is_worth_sharing(graph)
        self._arrays = {} if shares else graph.arrays()
        options |= {"quick": quick, "strict": strict, "mapped": shares}
        self._session, self.place = open_with_fallback(
            shared_graph(graph) if shares else graph.graph, self._arrays, **options
        )
        graph.maps.release_memory()

    def rows(self, texts: Sequence[Ids | Pair], side: str) -> NDArray[np.float32]:
        """Return one row per text; texts are padded to the longest."""
        ids = [text.ids if isinstance(text, Pair) else text for text in texts]
        attended = attention_mask(ids)
        inputs: dict[str, NDArray[Any]] = {}
        for name, kind in self.graph.inputs.items():
            dtype = _NUMPY.get(kind, np.int64)
            if name == "input_ids":
                inputs[name] = pad_rows(ids, attended, dtype)
            elif name == "attention_mask":
                inputs[name] = attended.astype(dtype)
            elif name == "token_type_ids":
                types = [text.types for text in texts if isinstance(text, Pair)]
                inputs[name] = pad_rows(types, attended, dtype) if types else np.zeros(attended.shape, dtype)
            elif name == "position_ids":
                inputs[name] = np.where(attended, np.arange(attended.shape[1]), 0).astype(dtype)
            elif name == "task_id":
                inputs[name] = np.array(_TASKS[side], dtype=dtype)
            else:
                raise ModelError(f"The graph asks for {name!r}, which is not known here.")
        [rows] = self._session.run([OUTPUT], inputs)
        found: NDArray[np.float32] = rows
        return found


class _Onnx(FileModel):
    """What the three models share: fingerprint, network, tokenizer, errors."""

    _reader: TruncatingTokenizer | None = None
    _narrow: Network | None = None

    def fingerprint(self) -> str:
        names = (*hub.needed_files(self._card), "special_tokens_map.json")
        facts: dict[str, Any] = {}
        if self._card.kind == "dense" and not self._card.source:
            facts["pooling"] = self._card.pooling or None
        if cut_side(self._folder()) == "left":  # which versions before did not honour
            facts["cut"] = "left"
        return fingerprint_of(self._card, self._hashes(names), **facts, **self._precision_facts())

    def warm_up(self) -> None:
        """Load what a query needs."""
        self._truncating_tokenizer()
        self._loaded(quick=True)

    def _loaded(self, *, quick: bool = False, narrow: bool = False) -> Network:
        """Return the network, opened when first needed; `narrow` is for batches that run at once."""
        with self._lock:
            narrow = narrow and self._split_cores()[0] > 1
            found: Network | None = self._narrow if narrow else self._model
            if found is None:
                threads = self._split_cores()[1] if narrow else self._threads
                with self._faults():
                    place = resolve_device(self._card, self.precision, self._device)
                    graph, strict = self._derive(), self._device == "cuda"
                    found = Network(graph, threads, self.precision, place, quick=quick, strict=strict)
                if narrow:
                    self._narrow = found
                else:
                    self._model = found
            return found

    def _split_cores(self) -> tuple[int, int | None]:
        """Return how many batches run at once, and on how many threads each."""
        alone = self.precision == "bf16" or resolve_device(self._card, self.precision, self._device) != "cpu"
        return (1, self._threads) if alone else split_cores(self._threads)

    def _network(self, count: int, side: str) -> Network:
        """Return the network for this many texts."""
        return self._loaded(quick=side == "queries", narrow=side == "documents" or count > 1)

    def _derive(self) -> Derived:
        return get_or_build(self._source(), self._output_spec(), self.precision, self._cache_dir)

    def _source(self) -> Source:
        files = [name for name in self._card.files if name != "idf.json"]
        return Source(self._folder(), files[0], self._hashes(files))

    def _output_spec(self) -> OutputSpec:
        return OutputSpec(self._card.family, self._card.pooling, self._card.dim or self._card.vocab_size)

    def _hashes(self, names: Sequence[str]) -> dict[str, str]:
        folder = self._folder()
        return {name: file_hash(folder / name, self._cache_dir) for name in names if (folder / name).is_file()}

    def _truncating_tokenizer(self) -> TruncatingTokenizer:
        with self._lock:
            if self._reader is None:
                self._reader = TruncatingTokenizer(
                    self._own_tokenizer(), self._card.max_tokens, cut_side(self._folder())
                )
            return self._reader

    def _rows(
        self, texts: Sequence[Ids | Pair], sizes: Sizes, side: str
    ) -> Iterator[tuple[Positions, NDArray[np.float32]]]:
        """Yield, batch by batch, the positions of its texts and their rows."""
        network = self._network(len(texts), side)

        def run(batch: Positions) -> NDArray[np.float32]:
            rows = network.rows([texts[place] for place in batch], side)
            if len(rows) != len(batch):
                raise ModelError(f"{len(rows)} rows came back for {len(batch)} texts.")
            return rows

        lengths = [len(text.ids if isinstance(text, Pair) else text) for text in texts]
        concurrency = self._split_cores()[0] if network.place == "cpu" else 1
        return self._batches(lengths, sizes[network.place], run, concurrency)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except NoPooling as fault:
            raise ModelError(
                f"{self._folder()} does not say how its token vectors become one. Add 1_Pooling/config.json "
                '(sentence-transformers) or hybrid_search.json with {"pooling": "mean"} ("cls", "last_token").'
            ) from fault
        except (MemoryError, NoCuda):
            raise
        except Exception as fault:  # onnxruntime has no error type of its own
            raise self._unloadable(fault) from fault


class OnnxSparse(_Onnx):
    """A SPLADE model. Queries of an inference-free one are looked up in a table, without a network."""

    _table: QueryWeightTable | None = None

    def warm_up(self) -> None:
        """Load what a query needs."""
        self._truncating_tokenizer()
        if self._is_inference_free():
            self._query_table()
        else:
            self._loaded(quick=True)

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        ids = self._truncating_tokenizer().texts(self._documents(texts), shared=True)
        return self._encode(ids, "documents")

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        ids = self._truncating_tokenizer().texts(self._queries(texts))
        if self._is_inference_free():
            return [self._query_table().vector(each) for each in ids]
        return self._encode(ids, "queries")

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return the wordpiece of each dimension."""
        tokenizer = self._own_tokenizer()
        return [tokenizer.id_to_token(int(index)) or f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each vocabulary entry; None for what is none."""
        return dimensions_of(self._own_tokenizer(), terms, self._card.vocab_size)

    def _is_inference_free(self) -> bool:
        return self._card.family == "inference_free_splade"

    def _query_table(self) -> QueryWeightTable:
        with self._lock:
            if self._table is None:
                with self._faults():
                    self._table = QueryWeightTable.read(self._folder(), self._own_tokenizer())
            return self._table

    def _encode(self, ids: Sequence[Ids], side: str) -> list[SparseVector]:
        encoded: list[Any] = [None] * len(ids)
        pooled = bool(ids) and self._network(len(ids), side).graph.pooled
        for batch, rows in self._rows(ids, _SPLADE_BATCH, side):
            if self._is_inference_free():
                rows[:, self._query_table().special] = 0
            logs = (2 if self._is_inference_free() else 1) if pooled else 0
            for place, vector in zip(batch, sparse_rows(rows, logs), strict=True):
                encoded[place] = vector
        return encoded


class OnnxDense(_Onnx):
    """A dense encoder; its vectors have unit length, whatever the model does."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._documents(texts), "documents")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._queries(texts), "queries")

    def _encode(self, texts: Sequence[str], side: str) -> NDArray[np.float32]:
        encoded = np.zeros((len(texts), self._card.dim), dtype=np.float32)
        ids = self._truncating_tokenizer().texts(texts, shared=side == "documents")
        for batch, rows in self._rows(ids, _DENSE_BATCH, side):
            if rows.shape[1:] != (self._card.dim,):
                raise ModelError(f"{self._card.name} gave {rows.shape[1]} dimensions; its card says {self._card.dim}.")
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            encoded[batch] = rows / np.maximum(norms, np.finfo(np.float32).tiny)
        return encoded


class OnnxReranker(_Onnx):
    """A cross-encoder, which reads query and text together. Scores are the model's raw outputs."""

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        (asked,) = self._queries([query])
        pairs = self._truncating_tokenizer().pairs(asked, self._documents(texts))
        scores = np.zeros(len(pairs), dtype=np.float32)
        for batch, rows in self._rows(pairs, _RERANK_BATCH, "documents"):
            if rows.ndim > 2:
                raise ModelError(
                    f"{self._card.name} ({self._card.family}) failed on a batch of texts: {rows.shape[1:]} numbers "
                    "came back for each; one was expected."
                )
            scores[batch] = rows.reshape(len(batch), -1)[:, 0]
        return scores
