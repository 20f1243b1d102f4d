"""Runs models that weigh terms with torch: uniCOIL, SPARTA and folders of DeepImpact.

A body of BERT's kind gives a state for each token, and a small head makes weights of them. The files are read by their
own names, so that it does not matter which class of which library saved them.

- uniCOIL: a layer makes one number of a token's state, its ReLU is the token's weight. Queries and documents are both
  encoded. Source: Lin & Ma, A Few Brief Notes on DeepImpact, COIL, and a Conceptual Framework for Information Retrieval
  Techniques, 2021. A model that was trained on expanded texts (doc2query, TILDE) is given texts that have the expansion
  behind them: it is only more text.
- SPARTA: a term of the vocabulary weighs log(1 + ReLU(its word embedding times the state that fits it best, plus a
  bias)), so documents are expanded. A query is the set of its wordpieces. Source: Zhao et al., SPARTA: Efficient
  Open-Domain Question Answering via Sparse Transformer Matching Retrieval, 2021; the form is that of the models of BEIR
  (Thakur et al. 2021).
- DeepImpact: layers make one number of the state of a word's first wordpiece, where the word stands first. Dimensions
  are hashes of words. A query is the set of its words. Source: Mallia et al., Learning Passage Impacts for Inverted
  Indexes, 2021.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.batching import Positions
from hybrid_search.encoders.devices import Device, Sizes
from hybrid_search.encoders.hashing import dimension_of
from hybrid_search.encoders.local_card import cut_side
from hybrid_search.encoders.pruning import kept
from hybrid_search.encoders.token_cache import Ids
from hybrid_search.encoders.tokenizer import attention_mask, pad_rows
from hybrid_search.encoders.torch import TorchModel, check_precision
from hybrid_search.encoders.vocabulary import carries_weight, dimensions_of, is_punctuation, term_names, weighted_ids
from hybrid_search.errors import ModelUnavailable
from hybrid_search.manifest import Precision
from hybrid_search.types import ModelCard, SparseVector

Head = Callable[[Any], Any]
"""States of one text's tokens, shape (tokens, hidden), to weights, shape (tokens,) or (terms,)."""

# (tokens, texts) of one batch. Those of a GPU are an estimate.
_BATCH: Sizes = {"cpu": (4096, 32), "cuda": (32768, 256)}
_EMBEDDINGS = "embeddings.word_embeddings.weight"
_PROJECTION = "tok_proj.weight"
_LAYERS = re.compile(r"impact_score_encoder\.(\d+)\.weight$")
_BIAS = "score_bias"
_UNKNOWN = "[UNK]"


def load(
    card: ModelCard,
    *,
    cache_dir: Path,
    threads: int | None = None,
    precision: Precision = "fp32",
    device: Device = "auto",
) -> TorchTerms:
    """Return the encoder of a card whose runtime is `torch` and whose family is one of `FAMILIES`.

    Raises:
        ModelError: the precision is neither fp32 nor fp16.
    """
    check_precision(card, precision)
    return FAMILIES[card.family](card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)


MakeVector = Callable[[str, Ids, NDArray[np.float32]], SparseVector]
"""Makes the vector of a text, given its tokens and what the head makes of them."""


class Network(NamedTuple):
    """A body, which gives states, and the head over them."""

    body: Any
    head: Head


class TorchTerms(TorchModel):
    """What the three share: a body and a head, run in batches."""

    _weighted: NDArray[np.bool_] | None = None

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        return kept(self._encode(self._documents(texts)), self._card.max_active_dims[1])

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        return kept(self._of_queries(self._queries(texts)), self._card.max_active_dims[0])

    def terms(self, indices: Sequence[int]) -> list[str]:
        return term_names(self._own_tokenizer(), indices)

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each vocabulary entry; None for what is none."""
        return dimensions_of(self._own_tokenizer(), terms, self._card.vocab_size)

    @abstractmethod
    def _of_queries(self, texts: list[str]) -> list[SparseVector]:
        """Return the vectors of queries, of any length."""

    @abstractmethod
    def _vector(self, text: str, ids: Ids, weights: NDArray[np.float32]) -> SparseVector:
        """Return the vector of a text, given its tokens and what the head makes of them."""

    @abstractmethod
    def _head(self, state: Mapping[str, Any], body: Any) -> Head:
        """Return the head, given the weights in the model's file and the body that was made of them."""

    def _encode(self, texts: list[str], make: MakeVector | None = None) -> list[SparseVector]:
        vector_of = make or self._vector
        network = self._loaded()
        ids = self._truncating_tokenizer().texts(texts)
        encoded: list[Any] = [None] * len(texts)

        def run(batch: Positions) -> list[SparseVector]:
            rows = self._forward(network, [ids[place] for place in batch])
            return [vector_of(texts[place], ids[place], row) for place, row in zip(batch, rows, strict=True)]

        for batch, vectors in self._batches([len(each) for each in ids], _BATCH[self._place], run):
            for place, vector in zip(batch, vectors, strict=True):
                encoded[place] = vector
        return encoded

    def _forward(self, network: Network, ids: Sequence[Ids]) -> list[NDArray[np.float32]]:
        """Return what the head gives for each text; padding is kept from it."""
        import torch

        attended = attention_mask(ids)
        inputs = {"input_ids": pad_rows(ids, attended, np.int64), "attention_mask": attended.astype(np.int64)}
        with torch.inference_mode(), self._mixed():
            given = {name: torch.from_numpy(value).to(self._place) for name, value in inputs.items()}
            states = network.body(**given).last_hidden_state
            rows = [network.head(states[place, : len(each)]) for place, each in enumerate(ids)]
        return [row.float().cpu().numpy() for row in rows]

    def _may_weigh(self) -> NDArray[np.bool_]:
        with self._lock:
            if self._weighted is None:
                self._weighted = weighted_ids(self._folder(), self._own_tokenizer(), self._card.unweighted)
            return self._weighted

    def _open(self, folder: str) -> Network:
        from transformers import AutoConfig, AutoModel

        state = read_state(Path(folder))
        body = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True)).float().eval()
        prefix = next((name[: -len(_EMBEDDINGS)] for name in state if name.endswith(_EMBEDDINGS)), "")
        wanted = [name for name in body.state_dict() if not name.startswith("pooler.")]
        self._refuse_missing([f"{prefix}{name}" for name in wanted if f"{prefix}{name}" not in state])
        body.load_state_dict({name: state[f"{prefix}{name}"] for name in wanted}, strict=False)
        body.to(self._place)
        return Network(body, self._head(state, body))

    def _refuse_missing(self, missing: Sequence[str]) -> None:
        if missing:
            raise ModelUnavailable(
                f"The weights of {self._card.name} in {self._folder()} lack {', '.join(sorted(missing)[:5])}; "
                f"they are not those of a {self._card.family} model."
            )

    def _scalars(self, layers: Sequence[str], state: Mapping[str, Any]) -> Head:
        """Return a head of layers with a ReLU each, the last of one number; `layers` are the names of their weights."""
        pairs = [(name, f"{name.removesuffix('weight')}bias") for name in layers]
        self._refuse_missing([name for pair in pairs for name in pair if name not in state])
        tensors = [[state[name].float().to(self._place) for name in pair] for pair in pairs]
        numbers = len(tensors[-1][0])
        if numbers != 1:
            raise ModelUnavailable(
                f"{self._card.name} gives {numbers} numbers for each token ({layers[-1]}); one was expected."
            )

        def head(states: Any) -> Any:
            for weight, bias in tensors:
                states = (states @ weight.T + bias).relu()
            return states[:, 0]

        return head


class UniCoil(TorchTerms):
    """uniCOIL: a weight for each token of a text; of a repeated one a document has the largest, a query the sum.

    So each place of a query counts: its score is the sum over its tokens. Source: Lin & Ma 2021, equation 1.
    """

    def _of_queries(self, texts: list[str]) -> list[SparseVector]:
        return self._encode(texts, self._summed)

    def _vector(self, text: str, ids: Ids, weights: NDArray[np.float32]) -> SparseVector:
        return SparseVector.of(ids, np.where(self._may_weigh()[ids], weights, 0))

    def _summed(self, text: str, ids: Ids, weights: NDArray[np.float32]) -> SparseVector:
        dimensions, places = np.unique(ids, return_inverse=True)
        kept_weights = np.where(self._may_weigh()[ids], weights, 0).astype(np.float64)
        return SparseVector.of(dimensions, np.bincount(places, kept_weights, len(dimensions)))

    def _head(self, state: Mapping[str, Any], body: Any) -> Head:
        return self._scalars([next((name for name in state if name.endswith(_PROJECTION)), _PROJECTION)], state)


class Sparta(TorchTerms):
    """SPARTA: a weight for each term of the vocabulary; queries are sets of wordpieces, and need no network."""

    def warm_up(self) -> None:
        """Load what a query needs."""
        self._may_weigh()

    def _of_queries(self, texts: list[str]) -> list[SparseVector]:
        reader, limit, weighted = self._truncating_tokenizer(), self._card.max_tokens, self._may_weigh()
        pieces = [np.unique(reader.truncate(ids, limit) if limit else ids) for ids in reader.pieces(texts, limit)]
        return [SparseVector.of(ids, weighted[ids]) for ids in pieces]

    def _vector(self, text: str, ids: Ids, weights: NDArray[np.float32]) -> SparseVector:
        weighted = self._may_weigh()
        found = np.flatnonzero(weighted[: len(weights)] & (weights[: len(weighted)] > 0))
        return SparseVector.of(found, np.log1p(weights[found]))

    def _head(self, state: Mapping[str, Any], body: Any) -> Head:
        embeddings = body.get_input_embeddings().weight
        biases = [state[name].float().reshape(-1)[0].item() for name in state if name.rpartition(".")[2] == _BIAS]
        bias = biases[0] if biases else 0.0

        def head(states: Any) -> Any:
            return (states @ embeddings.T).amax(dim=0) + bias

        return head


class DeepImpact(TorchTerms):
    """DeepImpact: a weight for each word of a text; dimensions are hashes, queries sets of words without a network."""

    def warm_up(self) -> None:
        """Load what a query needs."""
        self._truncating_tokenizer()

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return `#<index>` for each dimension: dimensions are hashes of words."""
        return [f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each word; None for what is no single word."""
        return [dimension_of(word) if self._is_word(word) else None for word in terms]

    def _is_word(self, term: str) -> bool:
        return [word for _, word in self._words(term)] == [term]

    def _of_queries(self, texts: list[str]) -> list[SparseVector]:
        dimensions = [[dimension_of(word) for _, word in self._words(text)] for text in texts]
        return [SparseVector.of(some, np.ones(len(some))) for some in dimensions]

    def _vector(self, text: str, ids: Ids, weights: NDArray[np.float32]) -> SparseVector:
        before, after = self._truncating_tokenizer().around
        end = len(ids) - after
        words = self._words(text)
        if cut_side(self._folder()) == "left":  # places count from the end: a longer text lost its first tokens
            lost = max(0, self._lengths([text])[0] - len(ids))
            words = [(place - lost, word) for place, word in words]
        first: dict[int, float] = {}
        for place, word in words:
            if 0 <= place < end - before:
                first.setdefault(dimension_of(word), float(weights[before + place]))
        return SparseVector.of(list(first), list(first.values()))

    def _words(self, text: str) -> list[tuple[int, str]]:
        """Return the words of a text that may have a weight, each with the place of its first piece among the tokens.

        Words are those of the tokenizer, in its spelling. Punctuation is none, nor is what stands for a special token.
        """
        tokenizer, weighted = self._own_tokenizer(), self._may_weigh()
        encoding = tokenizer.encode(text, add_special_tokens=False)
        # Each is made anew whenever it is asked for.
        ids, offsets, word_ids = encoding.ids, encoding.offsets, encoding.word_ids
        unknown = tokenizer.token_to_id(_UNKNOWN)
        found = []
        for _, pieces in groupby(range(len(ids)), key=word_ids.__getitem__):
            places = list(pieces)
            written = text[offsets[places[0]][0] : offsets[places[-1]][1]]
            # BERT's normalizer puts blanks around Chinese signs.
            word = tokenizer.normalizer.normalize_str(written).strip() if tokenizer.normalizer else written
            known = weighted[ids[places[0]]] or ids[places[0]] == unknown
            if known and not is_punctuation(word) and carries_weight(word, self._card.unweighted):
                found.append((places[0], word))
        return found

    def _head(self, state: Mapping[str, Any], body: Any) -> Head:
        named = {int(match[1]): name for name in state if (match := _LAYERS.search(name))}
        return self._scalars([named[number] for number in sorted(named)] or ["impact_score_encoder.0.weight"], state)


FAMILIES: Mapping[str, type[TorchTerms]] = {"unicoil": UniCoil, "sparta": Sparta, "deepimpact": DeepImpact}


def read_state(folder: Path) -> Mapping[str, Any]:
    """Return the weights in a folder by their names: of `model.safetensors`, or else of `pytorch_model.bin`.

    Raises:
        OSError: neither can be read.
    """
    safe = folder / "model.safetensors"
    if safe.is_file():
        found: Mapping[str, Any] = import_module("safetensors.torch").load_file(safe)
        return found
    import torch

    loaded: Mapping[str, Any] = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return loaded
