"""Our cross-encoders as a node postprocessor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from hybrid_search.errors import InvalidArgument, ModelError
from hybrid_search.integrations.collection_handle import settings_of
from hybrid_search.search.rerank import RerankerCache
from hybrid_search.settings import Settings


class HybridSearchRerank(BaseNodePostprocessor):
    """Puts nodes into the order of a cross-encoder's scores, ties by node id.

    It reads the title, where the metadata has one, and the text, as `Searcher.search(rerank=...)` does. A node's score
    is then the cross-encoder's, which is in the metadata as `rerank_score` too.

    Args:
        model: the name or folder of a cross-encoder; the setting `reranker`, else the catalogue's first.
        top_n: nodes to keep, all when not given.
        settings: or a dict of some of them; read from the environment and the config file when not given.
    """

    model: str | None = Field(default=None, description="name or folder of a cross-encoder")
    top_n: int | None = Field(default=None, ge=1, description="nodes to keep")
    _rerankers: RerankerCache = PrivateAttr()

    def __init__(
        self,
        model: str | None = None,
        top_n: int | None = None,
        *,
        settings: Settings | Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        super().__init__(model=model, top_n=top_n, **given)
        self._rerankers = RerankerCache(settings_of(settings))

    @classmethod
    def class_name(cls) -> str:
        return "HybridSearchRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InvalidArgument("Nodes are re-ranked for a query; give query_bundle or query_str.")
        if not nodes:
            return []
        reranker = self._rerankers.get(self.model or True)
        assert reranker is not None, "one was asked for"
        scores = [float(score) for score in reranker.score(query_bundle.query_str, [_text(node) for node in nodes])]
        if any(map(math.isnan, scores)):
            raise ModelError(f"{reranker.card.name} gave a score that is not a number for {query_bundle.query_str!r}.")
        order = sorted(zip(scores, nodes, strict=True), key=lambda pair: (-pair[0], pair[1].node.node_id))
        return [_scored(node, score) for score, node in order[: self.top_n]]


def _text(given: NodeWithScore) -> str:
    title, text = given.node.metadata.get("title"), given.node.get_content(MetadataMode.NONE)
    return f"{title}\n{text}" if isinstance(title, str) and title else text


def _scored(given: NodeWithScore, score: float) -> NodeWithScore:
    node = given.node.model_copy()  # the caller's stays as it is
    node.metadata = {**node.metadata, "rerank_score": score}
    hidden = "rerank_score"
    node.excluded_llm_metadata_keys = list(dict.fromkeys([*node.excluded_llm_metadata_keys, hidden]))
    node.excluded_embed_metadata_keys = list(dict.fromkeys([*node.excluded_embed_metadata_keys, hidden]))
    return NodeWithScore(node=node, score=score)
