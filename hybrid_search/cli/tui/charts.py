"""Evidence as pictures made of signs: what each matched term gave, and where two legs placed the hits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from hybrid_search._util.printable import one_line
from hybrid_search.cli.tui.format import FAINT, MUTED, Part, style_of
from hybrid_search.results import MatchedTerm, Results
from hybrid_search.types import LegName

TERM = 14
"""Cells for a term, at most."""


def bar(share: float, width: int) -> str:
    """Return a bar of a share of `width` cells, in halves of a cell; never quite nothing.

    >>> bar(0.5, 4), bar(0.375, 4), bar(0.0, 4)
    ('━━', '━╸', '╸')
    """
    halves = max(1, round(share * width * 2))
    return "━" * (halves // 2) + "╸" * (halves % 2)


def bars(terms: Sequence[MatchedTerm], width: int, height: int) -> Content:
    """Return a line for each term, the greatest contribution first: its bar, and query weight × document weight.

    Args:
        terms: what a hit shares with the query.
        width: of the room, in cells.
        height: of the room, in lines; the last one tells the sum, and how many terms had no room.
    """
    if not terms:
        return Content.styled(
            "No word in common with the query, nor with what it\nexpands to: found by meaning.", MUTED
        )
    terms = sorted(terms, key=lambda term: -term.contribution)
    shown = terms[: max(1, height - 1)]
    legs = list(dict.fromkeys(term.leg for term in terms))
    # Of a word piece, `##ist`, the signs that say so are not for reading.
    names = [one_line(re.sub("^##", "…", term.term)) + (f" {term.leg}" if len(legs) > 1 else "") for term in shown]
    name_width = max(3, min(TERM, width - 12, max(map(cell_len, names))))
    factors = width >= name_width + 34
    room = max(1, width - name_width - (22 if factors else 8))
    top = max(abs(term.contribution) for term in terms)
    lines: list[Content] = []
    for name, term in zip(names, shown, strict=True):
        name = name if cell_len(name) <= name_width else set_cell_size(name, name_width - 1) + "…"
        product = f"  {term.query_weight:5.2f} × {term.document_weight:.2f}" if factors else ""
        parts: list[Part] = [(name, style_of(term.in_query)), " " * (name_width + 1 - cell_len(name))]
        parts += [(bar(abs(term.contribution) / top, room).ljust(room), "$warning" if term.in_query else "$secondary")]
        parts += [(f" {term.contribution:5.2f}", "bold"), (product, FAINT)]
        lines.append(Content.assemble(*parts))
    sums = {leg: sum(term.contribution for term in terms if term.leg == leg) for leg in legs}
    told = " and ".join(f"{total:.2f} in {leg}" for leg, total in sums.items())
    more = f"{len(terms) - len(shown)} more terms; " if len(terms) > len(shown) else ""
    lines.append(Content.styled(f"{more}sum {told}", FAINT))
    return Content("\n").join(lines)


class Dot(NamedTuple):
    """Where two legs placed a hit, from 1; None where the leg did not find it."""

    across: int | None
    down: int | None


def dots_of(results: Results, legs: tuple[LegName, LegName]) -> list[Dot]:
    """Return a dot for every hit."""
    places = [(hit.legs.get(legs[0]), hit.legs.get(legs[1])) for hit in results]
    return [Dot(a.rank if a else None, b.rank if b else None) for a, b in places]


def scaled(rank: int | None, top: int, cells: int) -> int:
    """Return the cell of a rank on a logarithmic scale from 1 to `top`; the last cell is for what has no rank.

    >>> [scaled(rank, 100, 9) for rank in (1, 10, 100, None)]
    [0, 4, 7, 8]
    """
    if rank is None:
        return cells - 1
    return round(math.log(min(rank, top)) / math.log(max(top, 2)) * (cells - 2))


def grid(dots: Sequence[Dot], selected: int, legs: tuple[LegName, LegName], width: int, height: int) -> Content:
    """Plot ranks against ranks, the best at the top left, on logarithmic scales; the selected hit stands out.

    Args:
        dots: one a hit.
        selected: the place of one of them.
        legs: the one whose ranks go across, the one whose ranks go down.
        width: of the room, in cells.
        height: of the room, in lines.
    """
    ranks = [rank for dot in dots for rank in dot if rank is not None]
    top = max([10, *ranks])
    margin = max(3, len(str(top)))
    columns, rows = max(6, width - margin - 2), max(4, height - 2)
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    chosen = dots[selected]
    at = scaled(chosen.across, top, columns), scaled(chosen.down, top, rows)
    cells |= {(column, at[1]): ("┈", FAINT) for column in range(at[0])}
    cells |= {(at[0], row): ("┊", FAINT) for row in range(at[1])}
    for dot in dots:
        cells[scaled(dot.across, top, columns), scaled(dot.down, top, rows)] = ("•", "$primary")
    cells[at] = ("◉", "bold $warning")
    ticks = {scaled(rank, top, rows): str(rank) for rank in ticked(top)} | {rows - 1: "–"}
    lines = [_ruler(top, columns, margin, at[0], chosen.across)]
    for row in range(rows):
        signs = runs(cells.get((column, row), (" ", "")) for column in range(columns))
        mine = row == at[1]
        label = str(chosen.down or "–") if mine else ticks.get(row, "")
        parts: list[Part] = [(f"{label:>{margin}}", "bold $warning" if mine else FAINT), (" │", FAINT), *signs]
        lines.append(Content.assemble(*parts))
    lines.append(
        Content.assemble(" " * (margin + 2), (legs[0], MUTED), (" →   ", FAINT), (legs[1], MUTED), (" ↓", FAINT))
    )
    return Content("\n").join(lines[: max(1, height)])


def runs(signs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join neighbouring signs of the same style: the fewer parts, the sooner they are drawn.

    >>> runs([("a", "x"), ("b", "x"), ("c", "")])
    [('ab', 'x'), ('c', '')]
    """
    return [("".join(sign for sign, _ in some), style) for style, some in groupby(signs, key=lambda sign: sign[1])]


def _ruler(top: int, columns: int, margin: int, at: int, chosen: int | None) -> Content:
    """Return the scale across, with the rank of the selected hit at its place, instead of what would stand too near."""
    label = str(chosen or "–")
    first = min(at, columns - len(label))
    line = [" "] * columns
    marks = {min(scaled(rank, top, columns), columns - 2 - len(str(rank))): str(rank) for rank in ticked(top)}
    for cell, mark in {**marks, columns - 1: "–"}.items():
        if cell >= 0 and (cell + len(mark) < first or first + len(label) < cell):
            line[cell : cell + len(mark)] = mark
    line[first : first + len(label)] = label
    scale = Content.styled("".join(line), FAINT).stylize("bold $warning", first, first + len(label))
    return Content(" " * (margin + 2)) + scale


def ticked(top: int) -> list[int]:
    """Return 1, the powers of ten, and the end of the scale.

    >>> ticked(100), ticked(37)
    ([1, 10, 100], [1, 10, 37])
    """
    powers = [10**n for n in range(len(str(top)) + 1) if 10**n <= top]
    return powers if powers[-1] * 2 > top else [*powers, top]


def curve(scores: Sequence[float], selected: int, leg: LegName, width: int, height: int) -> Content:
    """Plot the scores of one leg's hits as columns by rank; the selected one stands out."""
    rows = max(1, height - 1)
    top, low = max(scores), min(0.0, *scores)
    wide = max(1, min(3, width // max(1, len(scores))))
    lines = []
    for row in reversed(range(rows)):
        signs: list[tuple[str, str]] = []
        for place, score in enumerate(scores):
            filled = ((score - low) / ((top - low) or 1.0) * rows - row) * 8
            sign = " ▁▂▃▄▅▆▇█"[max(0, min(8, round(filled)))]
            style = "$warning" if place == selected else "$primary"
            signs.append(((sign * max(1, wide - 1)).ljust(wide), style))
        lines.append(Content.assemble(*runs(signs)))
    lines.append(Content.styled(f"scores in {leg}, by rank", MUTED))
    return Content("\n").join(lines)


def legs_plot(results: Results, selected: int, width: int, height: int) -> Content:
    """Plot the first two legs of an answer against each other, or the scores of the only one."""
    if not len(results) or width < 12 or height < 3:
        return Content("")
    if len(results.legs) == 1:
        leg = results.legs[0]
        places = [hit.legs[leg] for hit in results]
        return curve([place.score if place else 0.0 for place in places], selected, leg, width, height)
    legs = (results.legs[0], results.legs[1])
    return grid(dots_of(results, legs), selected, legs, width, height)
