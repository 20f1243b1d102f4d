"""What the screen asks for at one moment, and the steps from it to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hybrid_search.ranking.fusion import FUSIONS, Fusion
from hybrid_search.search.request import FUSION, Options, SearchRequest, search_options
from hybrid_search.types import Mode

RERANK_BUDGET_MS = 1000.0
"""What re-ranking may take of one answer: who types does not wait for fifty documents to be read."""

OPTIONS = {option.name: option for option in search_options()}
USUAL = SearchRequest()
"""A search with every option at its default."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class SearchState:
    """A search as the screen's controls have it; the fields are those of `request.SearchRequest`.

    Where no fusion is chosen the collection's own is used, `own_fusion`.
    """

    query: str = ""
    mode: Mode = USUAL.mode
    fusion: Fusion | None = None
    own_fusion: Fusion = FUSION
    rerank: bool = False
    where: str = ""
    k: int = 20
    offset: int = USUAL.offset

    def options(self) -> Options:
        """Return the keywords of `Searcher.search`."""
        options: Options = {"k": self.k, "mode": self.mode, "offset": self.offset}
        if self.fusion is not None:  # else it is the collection's own
            options["fusion"] = self.fusion
        options["explain"] = True
        if self.rerank:
            options["rerank"], options["rerank_budget_ms"] = True, RERANK_BUDGET_MS
        if self.where.strip():
            options["where"] = self.where
        return options

    def loaded(self, own_fusion: Fusion) -> SearchState:
        return replace(self, own_fusion=own_fusion)

    def typed(self, query: str) -> SearchState:
        return replace(self, query=query, offset=0)

    def filtered(self, where: str) -> SearchState:
        return replace(self, where=where, offset=0)

    def next_mode(self, modes: Sequence[Mode]) -> SearchState:
        return replace(self, mode=after(modes, self.mode), offset=0)

    def next_fusion(self) -> SearchState:
        return replace(self, fusion=after(FUSIONS, self.fusion or self.own_fusion), offset=0)

    def reranked(self, rerank: bool) -> SearchState:
        return replace(self, rerank=rerank, offset=0)

    def page(self, by: int) -> SearchState:
        """Turn so many pages, back where negative; never before the first or past the last that can be asked for."""
        least, most = OPTIONS["offset"].least or 0, OPTIONS["offset"].most
        offset = max(int(least), self.offset + by * self.k)
        return replace(self, offset=offset) if most is None or offset <= most else self


def after(items: Sequence[Item], item: Item) -> Item:
    """Return the item behind one, the first behind the last.

    >>> after("abc", "c")
    'a'
    """
    return items[(items.index(item) + 1) % len(items)] if item in items else items[0]
