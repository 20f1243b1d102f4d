"""Our cross-encoders as LangChain's document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field, PrivateAttr

from hybrid_search.errors import InvalidArgument, ModelError
from hybrid_search.integrations.langchain.rebuild import Remade
from hybrid_search.ranking.fusion import round_score
from hybrid_search.search.rerank import RerankerCache, score_all
from hybrid_search.settings import Settings


class CrossEncoderCompressor(Remade, BaseDocumentCompressor):
    """Documents of any retriever in the order that a cross-encoder gives them.

    It reads the query with each `page_content`, the `title` of the metadata in front where there is one, as the
    re-ranking of a search does. Documents come back as copies, best first, with `rerank_score` in the metadata (higher
    is better, comparable within one call); equal scores keep the order they came in.

        CrossEncoderCompressor(k=5).compress_documents(documents, "a film about music")

    Where our own retriever is in front, `HybridSearchRetriever(rerank=True)` does the same in one step.

    Args:
        model: the name or the folder of a cross-encoder, `hybrid-search models list` has the names; the settings'
            `reranker`, else the catalogue's first, when not given. It is loaded on the first call.
        k: documents to keep, 1 or more; all when not given.
        settings: read from the environment and the config file when not given.

    Raises:
        InvalidArgument: k below 1.
        ModelError: on a call: it is unknown, or cannot be loaded here.
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    k: int | None = None
    settings: Settings | None = Field(default=None, exclude=True, repr=False)

    _rerankers: RerankerCache = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what is invalid, before anything is loaded."""
        super().model_post_init(context)
        if self.k is not None and self.k < 1:
            raise InvalidArgument(f"k is {self.k}; it must be 1 or more.")
        self._rerankers = RerankerCache(self.settings)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Keep the k documents that answer a query best, best first."""
        if not documents:
            return []
        reranker = self._rerankers.get(self.model or True)
        assert reranker is not None
        scores = score_all(reranker, query, [_read(document) for document in documents])
        if any(score != score for score in scores):
            raise ModelError(f"{reranker.card.name} gave a score that is not a number for the query {query!r}.")
        order = sorted(range(len(scores)), key=lambda place: -round_score(scores[place]))
        return [_scored(documents[place], scores[place]) for place in order[: self.k]]


def _read(document: Document) -> str:
    title = document.metadata.get("title")
    return f"{title}\n{document.page_content}" if title and isinstance(title, str) else document.page_content


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "rerank_score": score}})
