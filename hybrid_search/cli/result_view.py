"""What people see of a search: hits with their evidence, expansions, and what became of a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.origins import link_to, seen_from_here
from hybrid_search.cli.snippets import MARKS, snippet, whole
from hybrid_search.results import DocumentHit, MatchedTerm, Passage, Results, Term

if TYPE_CHECKING:
    from hybrid_search.search.explain_document import DocumentExplanation, LegPlace

LEG_STYLES = {"sparse": "cyan", "dense": "magenta"}
_TERMS = 8
_BAR = 24
_INDENT = 5
_TITLE_LINES = 2


def results_text(results: Results, width: int, *, full: bool = False) -> RenderableType:
    """Return the hits of one query, a compact block each: title, passage, and where each leg placed it.

    Args:
        results: of the query; with their terms where they were explained.
        width: of the terminal, in columns.
        full: show the whole of each chunk instead of the window that matches best.
    """
    head = _head(results.query, f"{results.mode} · {results.collection}")
    parts: list[RenderableType] = [head]
    for leg, terms in results.expansion.items():
        parts += [Text(), _expansion_line(leg, terms, width)]
    if not len(results):
        return Group(*parts, Text("nothing found", style="yellow"))
    total = results.timings_ms["total"]
    timings = ", ".join(f"{stage} {ms:.1f}" for stage, ms in results.timings_ms.items() if stage != "total" and ms)
    hits = "1 hit" if len(results) == 1 else f"{len(results)} hits"
    foot = Text(f"{hits} in {total:.1f} ms ({timings})", style="dim")
    said = (_weights(results), _how_far(results), tuned_line(results.defaults))
    lines = [Text(line, style="dim") for line in said if line]
    return Group(*parts, Text(), *(_hit(hit, width, results, full) for hit in results), *lines, foot)


def expansion_text(query: str, model: str, terms: Sequence[Term], width: int) -> RenderableType:
    """Return a bar for each word; the query's own words and those that the model adds have different colours."""
    head = _head(query, model)
    if not terms:
        return Group(head, Text("no term has a weight", style="yellow"))
    words = _words(terms)
    room = max(width - 34, 10)
    grid = Table.grid(padding=(0, 1))
    for word, weight, own in words:
        style = MARKS["literal" if own else "expansion"]
        grid.add_row(_word(word, style), f"{weight:.2f}", _bar(weight / words[0][1], room, style))
    count = sum(own for *_, own in words)
    foot = Text.assemble((f"{count} of the query", "cyan"), ", ", (f"{len(words) - count} added by the model", "green"))
    return Group(head, Text(), grid, Text(), foot)


def explanation_text(explanation: DocumentExplanation) -> RenderableType:
    """Return the stages that a document went through, and where it ended."""
    head = _head(explanation.query, f"{explanation.doc_id} · {explanation.collection}")
    verdict = Text(one_line(explanation.reason), style="green" if explanation.verdict == "shown" else "yellow")
    grid = Table.grid(padding=(0, 2))
    for name, value in (*_filter_rows(explanation), *_rank_rows(explanation)):
        grid.add_row(name, value)
    if tuned := tuned_line(explanation.defaults):
        grid.add_row(Text("settings", style="dim"), Text(tuned))
    return Group(head, verdict, Text(), grid) if grid.row_count else Group(head, verdict)


def _filter_rows(explanation: DocumentExplanation) -> Iterable[tuple[Text, Text]]:
    """Yield how many chunks of the document there are, and what the filter makes of them."""
    if not explanation.chunks:
        return
    chunks = "1 chunk" if explanation.chunks == 1 else f"{explanation.chunks:,} chunks"
    yield Text("indexed", style="dim"), Text(chunks)
    for clause in explanation.clauses:
        yield Text("filter", style="dim"), Text(f"{one_line(clause)} does not hold", style="yellow")
    if not explanation.clauses and explanation.passing < explanation.chunks:
        yield Text("filter", style="dim"), Text(f"{explanation.passing:,} chunks pass")


def _rank_rows(explanation: DocumentExplanation) -> Iterable[tuple[Text, Text]]:
    """Yield the document's place in each leg, after the fusion and after re-ranking."""
    for leg, place in (explanation.legs or {}).items():
        yield Text(leg, style=LEG_STYLES.get(leg, "")), _place(place)
    if explanation.fused_rank is not None:
        yield Text("fused", style="dim"), Text(f"rank {explanation.fused_rank:,}")
    if explanation.rerank_score is not None:
        reranked = f"rank {explanation.rank:,}, score {explanation.rerank_score:.3f}"
        yield Text("re-ranked", style="dim"), Text(reranked)
    if explanation.rank is not None and explanation.verdict != "shown":
        first, last = explanation.shown
        yield Text("shown", style="dim"), Text(f"ranks {first:,} to {last:,}")


def _head(query: str, about: str) -> Text:
    return Text.assemble((one_line(query), "bold"), (f"   {one_line(about)}", "dim"))


def _hit(hit: DocumentHit, width: int, results: Results, full: bool) -> RenderableType:
    columns = max(width - _INDENT, 10)
    title = Text.assemble((f"{hit.rank:>3}  ", "bold"), (one_line(hit.title or hit.doc_id), "bold"))
    title.truncate(_TITLE_LINES * width, overflow="ellipsis")
    title.append(f"  {one_line(hit.doc_id)}" if hit.title else "", style="dim")
    lines: list[RenderableType] = [title]
    facts = _facts(hit)
    if facts:
        lines.append(_under(Text(facts, style="dim", overflow="ellipsis", no_wrap=True)))
    where = _origin(hit.location()) if hit.origin else Text()
    for number, passage in enumerate(hit.passages if full else hit.passages[:1]):
        place = one_line(_place_of(hit, passage, number))
        # That of the best passage stands beside the origin, those of the others above them.
        line = (where.append(" · " if where and place else "") if number == 0 else Text()).append(place, style="dim")
        lines += [_under(line)] if line else []
        lines.append(_under(whole(passage, hit.metadata) if full else snippet(passage, hit.metadata, columns)))
    lines.append(_under(_evidence(hit, results.legs, columns)))
    if hit.matched_terms is not None:
        lines += [_under(line) for line in _terms(hit, results)]
    if hit.folded:
        others = ", ".join(map(one_line, hit.folded[:3])) + (" …" if len(hit.folded) > 3 else "")
        lines.append(_under(Text(f"and {len(hit.folded)} that say the same: {others}", style="dim")))
    return Group(*lines, Text())


def _place_of(hit: DocumentHit, passage: Passage, number: int) -> str:
    """Return page, headings and line of a passage; the line of the best one stands behind the origin."""
    line = f"line {passage.line:,}" if passage.line and number else ""
    return " · ".join(filter(None, (line, hit.place(passage))))


def _evidence(hit: DocumentHit, legs: Sequence[str], columns: int) -> Text:
    """Return the path from the legs' ranks to the fused score and the re-ranker's: one line, or one for each leg."""
    line = Text()
    if hit.fused_rank is not None:
        read = "not re-ranked" if hit.rerank_score is None else f"re-ranked {hit.rerank_score:.3f}"
        line.append(read, style="" if hit.rerank_score is None else "bold green")
        line.append(f", was {hit.fused_rank}  ·  ")
    line.append(f"{hit.score:.4f}", style="bold").append("  =  ", style="dim")
    places = []
    for leg in legs:
        leg_hit = hit.legs[leg]
        place = f" rank {leg_hit.rank} ({leg_hit.score:.3f})" if leg_hit else " not found"
        places.append(Text().append(leg, style=LEG_STYLES.get(leg, "")).append(place))
    in_one = line.copy().append_text(Text(" + ", style="dim").join(places))
    if in_one.cell_len <= columns:
        return in_one
    below = Text("\n" + " " * max(0, min(line.cell_len, columns // 2) - 2)).append("+ ", style="dim")
    return line.append_text(below.join(places))


def _terms(hit: DocumentHit, results: Results) -> Iterable[RenderableType]:
    """Yield for each lexical leg its words with bars: what each gave to the leg's score."""
    by_leg: dict[str, list[MatchedTerm]] = {}
    for term in hit.matched_terms or ():
        by_leg.setdefault(term.leg, []).append(term)
    for leg, terms in by_leg.items():
        grid = Table.grid(padding=(0, 1))
        joined = _joined(terms, results.expansion.get(leg, ()))
        for word, share, own, weights in joined[:_TERMS]:
            style = MARKS["literal" if own else "expansion"]
            bar = _bar(share / joined[0][1], _BAR, style) if joined[0][1] > 0 else Text()
            grid.add_row(_word(word, style), f"{share:.2f}", bar, Text(weights, style="dim"))
        if len(joined) > _TERMS:
            rest = sum(share for _, share, *_ in joined[_TERMS:])
            grid.add_row(Text(f"{len(joined) - _TERMS} more", style="dim"), f"{rest:.2f}")
        yield grid


def _joined(terms: Sequence[MatchedTerm], expansion: Sequence[Term]) -> list[tuple[str, float, bool, str]]:
    """Return word, contribution, whether the query has it, and the product behind it; a word's pieces are added up."""
    words = {term.term: term.word or term.term for term in expansion}
    by_word: dict[str, list[MatchedTerm]] = {}
    for term in terms:
        by_word.setdefault(words.get(term.term, term.term), []).append(term)
    rows = []
    for word, pieces in by_word.items():
        products = " + ".join(f"{piece.query_weight:.2f} × {piece.document_weight:.2f}" for piece in pieces)
        share = sum(piece.contribution for piece in pieces)
        rows.append((word, share, any(piece.in_query for piece in pieces), products))
    return sorted(rows, key=lambda row: -row[1])


def _words(terms: Sequence[Term]) -> list[tuple[str, float, bool]]:
    """Return word, weight, and whether the query has it; the weights of a word's pieces are added up."""
    by_word: dict[str, tuple[float, bool]] = {}
    for term in terms:
        weight, own = by_word.get(term.word or term.term, (0.0, False))
        by_word[term.word or term.term] = (weight + term.weight, own or term.in_query)
    return sorted(((word, *rest) for word, rest in by_word.items()), key=lambda row: (-row[1], row[0]))


def _expansion_line(leg: str, terms: Sequence[Term], width: int) -> Text:
    """Return the query as a leg reads it, the heaviest words with their weights; no line ends between the two."""
    words = _words(terms)
    parts = [
        Text().append_text(_word(word, MARKS["literal" if own else "expansion"])).append(f" {weight:.1f}", style="dim")
        for word, weight, own in words[:16]
    ]
    parts += [Text(f"and {len(words) - 16} more", style="dim")] if len(words) > 16 else []
    shown, at = Text().append(f"{leg} reads", style="dim"), len(f"{leg} reads")
    for part in parts:
        fits = at + 2 + part.cell_len <= width
        shown.append("  " if fits else "\n").append_text(part)
        at = part.cell_len + (at + 2 if fits else 0)
    return shown


def _place(place: LegPlace) -> Text:
    if place.rank is None or place.score is None:
        text = Text("not found: it is not among the first 10,000, or shares no term with the query")
    else:
        text = Text(f"rank {place.rank:,} ({place.score:.3f})")
        below = f"the least score of {place.least:g}" if place.too_low else f"the depth of {place.depth:,}"
        text.append("" if place.handed_on else f", below {below}", style="yellow")
    if place.cut_tokens:
        text.append(f"; {place.cut_tokens:,} tokens too many for its model were not read", style="yellow")
    return text


def _weights(results: Results) -> str:
    chosen = ", ".join(f"{leg} {weight:.2f}" for leg, weight in results.weights.items())
    return f"weights {chosen}" if chosen else ""


def tuned_line(defaults: Mapping[str, Any]) -> str:
    """Say which settings were the collection's own, and when they were chosen; empty where none was."""
    chosen = [f"{name} {_shown_setting(value)}" for name, value in defaults.items() if name != "evidence"]
    on = defaults.get("evidence", {}).get("date", "")
    return f"as tuned{f' on {on}' if on else ''}: {', '.join(chosen)}" if chosen else ""


def _shown_setting(value: Any) -> str:
    return ",".join(f"{name}={one:g}" for name, one in value.items()) if isinstance(value, Mapping) else str(value)


def _how_far(results: Results) -> str:
    if not results.reranker:
        return ""
    late = ", then the time was up" if results.reranked < results.rerank_depth else ""
    return f"re-ranked {results.reranked} of {results.rerank_depth} by {results.reranker}{late}"


def _origin(origin: str) -> Text:
    """Return `path` or `path:line` as a link that the terminal may open."""
    return Text(one_line(seen_from_here(origin)), style=Style(dim=True, link=link_to(origin)), overflow="fold")


def _bar(share: float, room: int, style: str) -> Text:
    return Text("█" * max(1, round(room * share)) if share > 0 else "", style=style)


def _under(content: RenderableType) -> RenderableType:
    return Padding(content, (0, 0, 0, _INDENT), expand=False)


def _word(word: str, style: str) -> Text:
    return Text(one_line(word), style=style)


def _facts(hit: DocumentHit) -> str:
    """Return the first few short metadata values as words, without those that the origin has already."""
    shown = []
    for key, value in hit.metadata.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        repeated = key in ("path", "suffix") and hit.origin.endswith(text)
        if not isinstance(value, dict) and 0 < len(text) <= 60 and not repeated:
            shown.append(text if isinstance(value, (str, list)) else f"{key} {text}")
    return one_line(" · ".join(shown[:5]))
