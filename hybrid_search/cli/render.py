"""Tables of collections, models and comparisons. Every function returns a renderable; the commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.types import LEGS, in_order

if TYPE_CHECKING:
    from hybrid_search.evaluation.precision import Comparison
    from hybrid_search.protocols import CollectionInfo, Verification
    from hybrid_search.types import ModelCard


_FIGURES = (
    "BEIR is the mean nDCG@10 of 13 collections, MARCO the MRR@10 of MS MARCO's passages, both times 100.\n"
    "Nothing of it was measured here."
)


def verification_text(verifications: Sequence[Verification]) -> RenderableType:
    """Return what is whole of collections and what is not, a line for each part."""
    colours = {"whole": "green", "damaged": "red", "unchecked": "yellow"}
    lines = []
    for one in verifications:
        lines.append(
            Text.assemble((one_line(one.collection), "bold"), "  whole" if one.whole else ("  damaged", "red"))
        )
        for finding in one.findings:
            column = (f"  {finding.state:<9}  ", colours[finding.state])
            lines.append(Text.assemble(column, one_line(f"{finding.part}: {finding.text}")))
    return Group(*lines)


def collections_table(infos: Sequence[CollectionInfo]) -> RenderableType:
    """Return a row for each collection; legs beyond the usual two share a column, if there are any."""
    others = any(set(info.manifest.legs) - set(LEGS) for info in infos)
    columns = (*LEGS, "other legs") if others else LEGS
    table = make_table("collection", ("documents", True), ("chunks", True), ("MB", True), *columns)
    for info in infos:
        legs = info.manifest.legs
        size = "" if info.bytes_on_disk is None else f"{info.bytes_on_disk / 1e6:,.1f}"
        models = [legs[leg].model if leg in legs else "-" for leg in LEGS]
        if others:
            models.append(", ".join(f"{leg} {legs[leg].model}" for leg in in_order(legs) if leg not in LEGS))
        table.add_row(name_cell(info.name), f"{info.documents:,}", f"{info.points:,}", size, *map(name_cell, models))
    return table


def models_table(rows: Sequence[tuple[ModelCard, bool]]) -> Text:
    """Return one model a line, its name last and never broken, so that it can be copied."""
    head = f"{'here':5}{'kind':9}{'dim':>4}{'reads':>7}{'MB':>6}  {'languages':9}  model"
    lines = [Text(head, style="bold")]
    for card, here in rows:
        sizes = f"{card.dim or '':>4}{card.max_tokens or 'all':>7}{card.size_mb or '':>6}"
        name = f"{languages(card):9}  {one_line(card.name)}"
        lines.append(Text(f"{'yes' if here else '':5}{card.kind:9}{sizes}  {name}"))
    return Text("\n").join(lines)


def figures_table(cards: Sequence[ModelCard]) -> Text:
    """Return what others have published of these models, best first below each source; empty where that is nothing."""
    known = [card for card in cards if card.published.source]
    lines = []
    for source in dict.fromkeys(card.published.source for card in known):
        of_source = [card for card in known if card.published.source == source]
        of_source.sort(key=lambda card: (-(card.published.beir or 0), -(card.published.msmarco or 0), card.name))
        lines += [Text(), Text(f"published in {source}", style="dim"), Text(f"{'BEIR':>5}{'MARCO':>7}  model", "bold")]
        for card in of_source:
            beir, msmarco = (
                "" if value is None else f"{value:.1f}" for value in (card.published.beir, card.published.msmarco)
            )
            lines.append(Text(f"{beir:>5}{msmarco:>7}  {one_line(card.name)}"))
    if lines:
        lines += [Text(), Text(_FIGURES, style="dim")]
    return Text("\n").join(lines)


def languages(card: ModelCard) -> str:
    """Return the languages of a model in short."""
    return "many" if card.languages == ("mul",) else " ".join(card.languages) or "unknown"


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return a table with a dataset in each row; what the precision costs stands last."""
    name = comparison.precision
    head = Text.assemble((one_line(comparison.model), "bold"), (f"  nDCG@10 in fp32 and in {name}", "dim"))
    table = make_table("dataset", ("queries", True), ("fp32", True), (name, True), ("loss", True))
    for cost in comparison.costs:
        table.add_row(
            name_cell(cost.dataset), f"{cost.queries:,}", f"{cost.fp32:.4f}", f"{cost.other:.4f}", f"{cost.loss:+.4f}"
        )
    if len(comparison.costs) > 1:
        table.add_row("mean", "", "", "", Text(f"{comparison.mean_loss:+.4f}", style="bold"))
    return Group(head, table)


def name_cell(name: str) -> Text:
    """Return a name as a cell of a table, where brackets in a string would be markup."""
    return Text(one_line(name))


def make_table(*columns: str | tuple[str, bool]) -> Table:
    """Return an empty table with these columns; one with True is set flush right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        name, right = column if isinstance(column, tuple) else (column, False)
        # The first column names things to be copied, so it is never broken.
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=place == 0)
    return table
