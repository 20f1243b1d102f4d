"""The second half of a search: a cross-encoder reads the best chunk of each of the first documents, if asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, cast

from hybrid_search.encoders import hub, load
from hybrid_search.encoders.catalog import card, cards
from hybrid_search.errors import MissingExtra, ModelError, ModelUnavailable
from hybrid_search.protocols import Reranker
from hybrid_search.ranking.rerank import RankedDocument, rerank
from hybrid_search.search.open_collection import Payloads
from hybrid_search.search.request import SearchRequest
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import chunk_of
from hybrid_search.types import Hit

TIME_SAFETY = 0.75
"""Share of the time left that the next batch is planned to take: other work on the machine may slow it down."""

BATCH = 8
"""Texts read at once, at most, where the time is limited: the clock is looked at between batches."""


class RerankOutcome(NamedTuple):
    """The documents in their last order.

    Args:
        documents: all of them; those that were not read follow those that were.
        model: the re-ranker's name; empty where nothing was to be re-ranked.
        scored: how many documents it read.
        candidates: how many it was to read; more than `scored` where the time ran out.
    """

    documents: Sequence[RankedDocument]
    model: str = ""
    scored: int = 0
    candidates: int = 0


class RerankerCache:
    """The cross-encoders of one searcher: each found, fetched and loaded once, when it is first asked for."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings
        self._loaded: dict[str, Reranker] = {}
        self._lock = threading.Lock()

    def get(self, wanted: bool | str | None) -> Reranker | None:
        """Return the re-ranker that a search asks for, loaded; None where it asks for none.

        Raises:
            UnknownModel: no such model; names the near ones.
            ModelError: a model of another kind, or a folder that is no usable model.
            ModelUnavailable: it cannot be loaded here; names those that can.
        """
        if not wanted:
            return None
        with self._lock:
            settings = self._settings = self._settings or load_settings()
            name = wanted if isinstance(wanted, str) else default_name(settings)
            if name not in self._loaded:
                self._loaded[name] = open_reranker(name, settings)
            return self._loaded[name]

    def asked_by(self, request: SearchRequest) -> Reranker | None:
        """Return the re-ranker of a request, as `get`; an error says where the collection's own defaults ask for it."""
        try:
            return self.get(request.rerank)
        except ModelError as error:
            if request.defaults is None or request.defaults.rerank is None:
                raise
            own = "The collection's own search defaults ask for it: leave it out with --rerank none (rerank=False)."
            kind = ModelUnavailable if isinstance(error, ModelUnavailable) else ModelError
            raise kind(f"{error} {own}") from error


def default_name(settings: Settings) -> str:
    """Return the re-ranker where none is named: the settings', else the catalogue's first."""
    return settings.reranker or cards("reranker")[0].name


def open_reranker(name: str, settings: Settings) -> Reranker:
    """Find a cross-encoder by its name or folder, fetch it where it is not here, and load it.

    An ONNX model runs in the settings' precision.

    Raises:
        HybridSearchError: as `RerankerCache.get`.
    """
    model = card(name, "reranker")
    precision = settings.precision if model.runtime == "onnx" else "fp32"
    options: dict[str, Any] = {"threads": settings.threads, "precision": precision, "device": settings.device}
    reranker = cast(Reranker, load(model, cache_dir=settings.cache_dir, **options))
    try:
        reranker.warm_up()
        reranker.score("warm", ["up"])  # the first pass is slower than all others, and nobody's budget is to pay for it
    except (ModelUnavailable, MissingExtra) as fault:
        here = [one.name for one in cards("reranker") if one != model and hub.is_here(one, settings.cache_dir)]
        others = f"Re-rankers on this machine: {', '.join(here)}." if here else "No other re-ranker is on this machine."
        raise ModelUnavailable(
            f"Nothing can be re-ranked with {model.name}. {fault} {others} A folder with a cross-encoder is taken too."
        ) from fault
    return reranker


def rerank_documents(
    query: str,
    documents: Sequence[tuple[Hit, ...]],
    payloads: Payloads,
    reranker: Reranker | None,
    request: SearchRequest,
    clock: Callable[[], float] = perf_counter,
) -> RerankOutcome:
    """Score the best chunk of each of the first `rerank_depth` documents, and put these in the order of the scores.

    Args:
        query: its text.
        documents: in fused order, each its chunks, best first.
        payloads: of chunks, by their ids.
        reranker: None leaves everything as it is. Its loading is not part of the budget, reading the texts is.
        request: the depth and the budget.
        clock: in seconds.

    Raises:
        ModelError: the model gave a score that is not a number.
    """
    if reranker is None:
        return RerankOutcome([RankedDocument(hits, place) for place, hits in enumerate(documents, 1)])
    deadline = None if request.rerank_budget_ms is None else clock() + request.rerank_budget_ms / 1e3
    heads = [hits[0] for hits in documents[: request.effective_rerank_depth]]
    by_id = payloads([hit.chunk_id for hit in heads])
    texts = [chunk_of(by_id[hit.chunk_id]).searchable for hit in heads]
    scores = (
        score_all(reranker, query, texts) if deadline is None else score_until(deadline, reranker, query, texts, clock)
    )
    if any(score != score for score in scores):
        raise ModelError(f"{reranker.card.name} gave a score that is not a number for the query {query!r}.")
    return RerankOutcome(rerank(documents, scores), reranker.card.name, len(scores), len(heads))


def score_all(reranker: Reranker, query: str, texts: Sequence[str]) -> list[float]:
    """Score every text."""
    return [float(score) for score in reranker.score(query, texts)]


def score_until(
    deadline: float, reranker: Reranker, query: str, texts: Sequence[str], clock: Callable[[], float] = perf_counter
) -> list[float]:
    """Score the first texts, as many as fit before `deadline`, on the clock's time in seconds.

    One text comes first and shows what a text takes; after it no batch begins that would not end within `TIME_SAFETY`
    of the time left if it took as long, for its length, as the slower of the last two. So only the first text can make
    it late, or a batch that takes much longer than its length lets expect.
    """
    scores: list[float] = []
    paces: list[float] = []  # seconds a character, of each batch
    batch = 1
    while batch and len(scores) < len(texts):
        start = clock()
        if start >= deadline:
            break
        some = texts[len(scores) : len(scores) + batch]
        scores += score_all(reranker, query, some)
        now = clock()
        paces.append((now - start) / _size(query, some))
        batch = _fitting(query, texts[len(scores) :][:BATCH], TIME_SAFETY * (deadline - now) / max(*paces[-2:], 1e-12))
    return scores


def _fitting(query: str, texts: Sequence[str], characters: float) -> int:
    """How many of the texts have together no more than so many characters."""
    fit = 0
    while fit < len(texts) and _size(query, texts[: fit + 1]) <= characters:
        fit += 1
    return fit


def _size(query: str, texts: Sequence[str]) -> int:
    """Return what a batch costs, in characters: each text is read with the query, and filled up to the longest."""
    return len(texts) * (len(query) + max(len(text) for text in texts) + 1)
