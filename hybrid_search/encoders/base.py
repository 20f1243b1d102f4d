"""What all models with files share, whatever runs them: card, folder, tokenizer, batches."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_search.encoders import hub
from hybrid_search.encoders.batching import BatchLimit, Positions, Result, in_batches, out_of_memory, readable
from hybrid_search.encoders.devices import Device
from hybrid_search.encoders.local_card import cut_side
from hybrid_search.encoders.token_counter import Counter, TokenCount
from hybrid_search.encoders.tokenizer import TruncatingTokenizer
from hybrid_search.encoders.unknown_tokens import Unread
from hybrid_search.encoders.vocabulary import VOCABULARY, wordpiece_tokenizer
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.manifest import Precision
from hybrid_search.protocols import Reading
from hybrid_search.types import ModelCard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TABLE_QUERIES = frozenset({"inference_free_splade", "sparta", "deepimpact"})
"""Families whose queries need no network: they are looked up, or counted."""

PRECISION_VERSION = 1
"""Part of fingerprints: raise it whenever a precision other than fp32 gives other vectors."""


class FileModel(ABC):
    """A model whose files are located and loaded when they are first needed.

    Args:
        card: from the catalogue or of a local folder.
        cache_dir: where files are searched and downloaded to, besides the Hugging Face cache.
        threads: threads of one forward pass; None means every core.
        precision: of the matrix products.
        device: where to run; ignored by models that run in one place only.
    """

    precision: Precision = "fp32"
    """The precision of the matrix products; `fp32` leaves them as the files have them."""

    def __init__(
        self,
        card: ModelCard,
        *,
        cache_dir: Path,
        threads: int | None = None,
        precision: Precision = "fp32",
        device: Device = "auto",
    ) -> None:
        self._card = card
        self._cache_dir = cache_dir
        self._threads = threads
        self.precision = precision
        self._device: Device = device
        self._room = BatchLimit()
        self._lock = threading.RLock()
        self._found: Path | None = None
        self._model: Any = None
        self._tokenizer: Tokenizer | None = None
        self._reader: TruncatingTokenizer | None = None
        self._counter: Counter | None = None
        self._unread: Unread | None = None

    @property
    def card(self) -> ModelCard:
        return self._card

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of the model's files and of everything in the card that changes its output."""

    def _precision_facts(self) -> dict[str, str]:
        """Return what the precision adds to the fingerprint; nothing for fp32."""
        return {} if self.precision == "fp32" else {"precision": f"{self.precision} {PRECISION_VERSION}"}

    def warm_up(self) -> None:
        self._loaded()

    def tokenizer(self) -> Tokenizer | None:
        """Return the model's tokenizer without truncation and padding; None if the model reads texts of any length.

        It is shared: do not change its settings.

        Raises:
            ModelUnavailable: the model has no `tokenizer.json`.
        """
        return None if self._card.max_tokens == 0 and self._card.kind == "sparse" else self._own_tokenizer()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._lengths(self._documents(texts))

    def token_count(self) -> TokenCount | None:
        """Return how `count_tokens` counts, as a value; None without a tokenizer."""
        tokenizer = self.tokenizer()
        return None if tokenizer is None else TokenCount(tokenizer.to_str(), self._card.document_prefix)

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """Return how much of each text the model knows, without prefixes; without a tokenizer, nothing is unknown."""
        unread = self._unknown()
        found = [readable(text) for text in texts]
        return unread.readings(found) if unread else [Reading(1, 0)] * len(texts)

    def reading_of_query(self, text: str) -> tuple[Reading, tuple[str, ...]]:
        """Return how much of a query the model knows, and the parts of it that it does not know."""
        unread = self._unknown()
        return unread.query(readable(text), self._card.max_tokens) if unread else (Reading(1, 0), ())

    def _unknown(self) -> Unread | None:
        tokenizer = self.tokenizer()
        if tokenizer is not None and self._unread is None:
            self._unread = Unread(tokenizer)
        return self._unread

    def _documents(self, texts: Sequence[str]) -> list[str]:
        """Return the texts as the model gets them for documents: readable, with the card's prefix."""
        return [self._card.document_prefix + readable(text) for text in texts]

    def _queries(self, texts: Sequence[str]) -> list[str]:
        """Return the texts as the model gets them for queries: readable, with the card's prefix."""
        return [self._card.query_prefix + readable(text) for text in texts]

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        tokenizer = self.tokenizer()
        if tokenizer is None:
            return [0] * len(texts)
        if self._counter is None:
            self._counter = Counter(tokenizer)
        return self._counter(texts)

    def _batches(
        self, lengths: Sequence[int], size: tuple[int, int], run: Callable[[Positions], Result], concurrency: int = 1
    ) -> Iterator[tuple[Positions, Result]]:
        """Run batches of at most `size` (tokens, texts), counted as the model reads them; see `in_batches`.

        Raises:
            ModelError: the runtime failed, or memory does not suffice for a single text.
        """
        limit = self._card.max_tokens or max(lengths, default=1)
        read = [min(length, limit) for length in lengths]
        with self._running():
            yield from in_batches(read, run, self._room, budget=size[0], limit=size[1], concurrency=concurrency)

    def _folder(self) -> Path:
        if self._found is None:
            self._found = hub.ensure(self._card, self._cache_dir)
        return self._found

    def _own_tokenizer(self) -> Tokenizer:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._read_tokenizer()
            return self._tokenizer

    def _read_tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        # Beside the model, or in the folder of its first module (sentence-transformers).
        places = sorted(self._folder().rglob("tokenizer.json"), key=lambda path: len(path.parts))
        if places:
            tokenizer = Tokenizer.from_file(str(places[0]))
            tokenizer.no_truncation()
            tokenizer.no_padding()
            return tokenizer
        if (self._folder() / VOCABULARY).is_file():
            return wordpiece_tokenizer(self._folder())
        raise ModelUnavailable(f"{self._card.name} has no tokenizer.json and no {VOCABULARY} in {self._folder()}.")

    def _truncating_tokenizer(self) -> TruncatingTokenizer:
        with self._lock:
            if self._reader is None:
                self._reader = TruncatingTokenizer(
                    self._own_tokenizer(), self._card.max_tokens, cut_side(self._folder())
                )
            return self._reader

    def _unloadable(self, fault: Exception) -> ModelUnavailable:
        """Return the error for a model that cannot be loaded; runtimes share no error type."""
        return ModelUnavailable(
            f"{self._card.name} cannot be loaded from {self._folder()}: {fault} "
            f"Check its files: hybrid-search models verify {self._card.name}"
        )

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        try:
            yield
        except Exception as fault:  # whatever a runtime raises for a graph that is not what its card says
            if out_of_memory(fault):
                raise ModelError(
                    f"Memory is not enough for {self._card.name}, even for one text at a time: {fault} Close what else "
                    "fills it, cut documents smaller (--chunk-tokens), or run the model elsewhere (--device cpu)."
                ) from fault
            raise ModelError(f"{self._card.name} ({self._card.family}) failed on a batch of texts: {fault}") from fault

    @abstractmethod
    def _loaded(self) -> Any:
        """Return the runtime's model, loaded on the first call."""
