"""The documents of a query in both sides of a comparison: their ranks, and what each leg gave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.result_view import LEG_STYLES

if TYPE_CHECKING:
    from hybrid_search.evaluation.comparison import DocumentMove, QueryChange
    from hybrid_search.evaluation.rank_moves import Place

DOCUMENTS, OTHERS = 4, 3
"""Relevant documents of a query that are shown, and of others that only one side has."""

_RANKS = 15
_TITLE = 24
"""Columns of a title that are shown, whatever the length of the id behind it."""

_STYLES = {"rose": "green", "only_b": "green", "fell": "red", "only_a": "red", "same": "", "neither": "dim"}


def documents_lines(one: QueryChange, k: int, width: int, most: int | None = DOCUMENTS) -> Iterator[RenderableType]:
    """Yield the relevant documents of a query with their ranks in A and B and what each leg gave, then the others.

    Args:
        one: the query.
        k: documents that were compared.
        width: in columns.
        most: documents of each kind, at most; None for all relevant ones.
    """
    shown = one.relevant if most is None else one.relevant[:most]
    for document in shown:
        yield _document(document, k, width)
        yield from _evidence(document, width)
    if len(one.relevant) > len(shown):
        yield Text(f"  and {len(one.relevant) - len(shown):,} more relevant ones", style="dim")
    for letter, documents in (("A", one.only_a), ("B", one.only_b)):
        others = [document for document in documents if not document.relevance or document.relevance <= 0]
        for document in others[:OTHERS]:
            yield _document(document, k, width)
            yield from _evidence(document, width)
        if len(others) > OTHERS:
            yield Text(f"  and {len(others) - OTHERS:,} more of the first 10 that only {letter} has", style="dim")


def lists_table(lists: tuple[Sequence[DocumentMove], Sequence[DocumentMove]], ranks: int, width: int) -> RenderableType:
    """Return both rankings side by side, each document with its mark and its rank in each leg."""
    sides = [
        ("A", [(document, document.a) for document in lists[0]]),
        ("B", [(document, document.b) for document in lists[1]]),
    ]
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), width=width)
    grid.add_column("rank", justify="right", width=4)
    columns = []
    for letter, ranking in sides:
        legs = list(dict.fromkeys(leg for _, place in ranking if place for leg in place.legs))
        grid.add_column(letter, ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column("/".join(legs), justify="right", no_wrap=True, overflow="ellipsis")
        columns.append([_half(document, place, legs) for document, place in ranking[:ranks]])
    for rank, (a, b) in enumerate(zip_longest(*columns, fillvalue=(Text(), Text())), 1):
        grid.add_row(str(rank), *a, *b)
    return grid


def _half(document: DocumentMove, place: Place | None, legs: Sequence[str]) -> tuple[Text, Text]:
    """Return a document of one list, and its ranks in the legs."""
    name = Text.assemble(_mark(document.relevance), (one_line(document.title or document.doc_id), _weight(document)))
    found = [place.legs.get(leg) if place else None for leg in legs]
    return name, Text("/".join("-" if hit is None else f"{hit.rank:,}" for hit in found), style="dim")


def _weight(document: DocumentMove) -> str:
    return "bold" if document.relevance is not None and document.relevance > 0 else ""


def _document(document: DocumentMove, k: int, width: int) -> Text:
    """Return a line: the ranks in A and B, the mark of the judgement, title and id."""
    ranks = f"{_rank(document.a, k)} → {_rank(document.b, k)}"
    line = Text.assemble((f"  {ranks:<{_RANKS}}", _STYLES[document.move]), _mark(document.relevance))
    title = Text(one_line(document.title or document.doc_id), style=_weight(document))
    doc_id = Text(f"  {one_line(document.doc_id)}" if document.title else "", style="dim")
    title.truncate(max(_TITLE, width - line.cell_len - doc_id.cell_len), overflow="ellipsis")
    line.append_text(title).append_text(doc_id).truncate(width, overflow="ellipsis")
    return line


def _rank(place: Place | None, k: int) -> str:
    return f">{k:,}" if place is None else f"{place.rank:,}"


def _mark(relevance: int | None) -> tuple[str, str]:
    """Return how a document was judged: relevant with its grade, not relevant, or not at all."""
    if relevance is None:
        return "   ", ""
    return (f"●{relevance:<2}", "green") if relevance > 0 else ("○  ", "dim")


def _evidence(document: DocumentMove, width: int) -> Iterator[Text]:
    """Yield what gave the ranks: a line for each side, one for both where the legs say the same."""
    a, b = document.a, document.b
    if a is not None and b is not None and a.legs and a.legs == b.legs and a.fused_rank == b.fused_rank:
        yield from _legs_of("A, B", a, width)
    else:
        for letter, place in (("A", a), ("B", b)):
            if place is not None:
                yield from _legs_of(letter, place, width)


def _legs_of(letter: str, place: Place, width: int) -> Iterator[Text]:
    line = Text(" " * (_RANKS + 2)).append(f"{letter:<5}", style="dim")
    if place.fused_rank is not None:
        read = "not re-ranked" if place.rerank_score is None else f"re-ranked {place.rerank_score:.3f}"
        line.append(f"{read}, was {place.fused_rank}  ")
    for leg, hit in place.legs.items():
        found = f" {hit.rank:,} ({hit.score:.3f})  " if hit else " not found  "
        line.append(leg, style=LEG_STYLES.get(leg, "")).append(found)
    if not place.legs:
        line.append(f"score {place.score:g}")
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    yield line
