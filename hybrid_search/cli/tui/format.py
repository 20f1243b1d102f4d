"""Words on the screen: a hit in the list, the document beside it, the status, a citation. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from hybrid_search._util.printable import one_line, printable
from hybrid_search.cli.origins import seen_from_here
from hybrid_search.cli.snippets import TAB
from hybrid_search.cli.tui.state import SearchState
from hybrid_search.results import DocumentHit, MatchedTerm, Passage, Results
from hybrid_search.search.request import HYBRID
from hybrid_search.types import Mode

LITERAL = "bold $warning"
EXPANSION = "$secondary underline"
SET = "bold $primary"
MUTED = "$foreground 65%"
FAINT = "$foreground 40%"
LEG_STYLES = ("$primary", "$success", "$accent")
"""By place of the leg among those of the collection."""

WORDS_SHOWN = 5

Part = str | Content | tuple[str, str]


def squeezed(text: str) -> str:
    """Return a text in one line, with single blanks."""
    return " ".join(one_line(text).split())


def style_of(in_query: bool) -> str:
    return LITERAL if in_query else EXPANSION


def leg_style(legs: Sequence[str], leg: str) -> str:
    return LEG_STYLES[list(legs).index(leg) % len(LEG_STYLES)]


def hit_lines(hit: DocumentHit, moved: int | None, with_moves: bool) -> Content:
    """Return a hit of the list: rank, how far it moved, title; below, one line of evidence.

    Args:
        hit: the document.
        moved: how many ranks it rose, < 0 where it fell, None where it is new.
        with_moves: keep a column for that.
    """
    indent = " " * (9 if with_moves else 4)
    head: list[Part] = [(f"{hit.rank:>3} ", "bold $primary")]
    if with_moves:
        sign, style = move(moved)
        head.append((f"{sign:<5}", style))
    title = squeezed(hit.title) or squeezed(hit.passages[0].text)[:80] or one_line(hit.doc_id)
    return Content.assemble(*head, (title, "bold"), "\n", indent, *_evidence_line(hit))


def move(moved: int | None) -> tuple[str, str]:
    """Return the sign for a move, and its style.

    >>> move(3), move(-2), move(0), move(None)
    (('▲3', '$success'), ('▼2', '$error'), ('·', '$foreground 40%'), ('new', '$secondary'))
    """
    if moved is None:
        return "new", "$secondary"
    if moved == 0:
        return "·", FAINT
    return (f"▲{moved}", "$success") if moved > 0 else (f"▼{-moved}", "$error")


def moves(results: Results, before: Mapping[str, int]) -> dict[str, int | None]:
    """Return how far each hit moved: by re-ranking where there was one, else against the ranks it had before.

    Args:
        results: the answer.
        before: ranks by doc_id of an answer to the same query that was asked in another way; may be empty.
    """
    by_doc_id: dict[str, int | None] = {}
    for hit in results:
        old = hit.fused_rank if hit.fused_rank is not None else before.get(hit.doc_id)
        by_doc_id[hit.doc_id] = None if old is None else old - hit.rank
    return by_doc_id if before or any(hit.fused_rank is not None for hit in results) else {}


def _evidence_line(hit: DocumentHit) -> list[Part]:
    parts: list[Part] = []
    for leg, place in hit.legs.items():
        if place is not None:
            parts += [(f"{leg} ", MUTED), (f"{place.rank}  ", leg_style(list(hit.legs), leg))]
    if hit.folded:
        parts.append((f"+{len(hit.folded)} alike  ", MUTED))
    for word, in_query in matched_words(hit.matched_terms or ())[:WORDS_SHOWN]:
        parts += [(one_line(word), style_of(in_query)), " "]
    return parts


def matched_words(terms: Sequence[MatchedTerm]) -> list[tuple[str, bool]]:
    """Return the terms to name in one line, each once, without word pieces; and whether the query has them."""
    in_query_by_word: dict[str, bool] = {}
    for term in terms:
        if len(term.term) > 1 and term.term.isalnum():
            in_query_by_word.setdefault(term.term, term.in_query)
    return list(in_query_by_word.items())


def preview(hit: DocumentHit) -> Content:
    """Return the document: title, origin, metadata, and the full text of what was found, with its matches."""
    title = squeezed(hit.title) or one_line(hit.doc_id)
    parts: list[Part] = [(title, "bold $text-primary"), "\n", (one_line(hit.doc_id), MUTED)]
    if hit.origin:
        parts += [("  ·  ", FAINT), (one_line(seen_from_here(hit.location())), MUTED)]
    for place, (name, value) in enumerate(facts(hit.metadata)):
        parts += [("  ·  " if place else "\n", FAINT), (f"{name} ", FAINT), (value, MUTED)]
    if hit.folded:
        parts += ["\n", ("says the same  ", FAINT), one_line(", ".join(hit.folded))]
    for place, passage in enumerate(hit.passages, 1):
        parts.append("\n\n")
        line = f"line {passage.line:,}" if passage.line else ""
        where = "  ·  ".join(filter(None, (line, squeezed(hit.place(passage)))))
        if len(hit.passages) > 1:
            span = f"passage {place} of {len(hit.passages)}  ·  characters {passage.start:,} to {passage.end:,}"
            parts += [(f"{span}  ·  {where}" if where else span, FAINT), "\n"]
        elif where:
            parts += [(where, FAINT), "\n"]
        parts.append(marked(passage))
    return Content.assemble(*parts)


def marked(passage: Passage) -> Content:
    """Return the text of a passage, with what matches in two styles."""
    text = Content(printable(passage.text, keep="\n\t"), strip_control_codes=False)
    for start, end, kind in passage.highlight.marks if passage.highlight else ():
        text = text.stylize(style_of(kind == "literal"), start, end)
    return text.expand_tabs(TAB)


def facts(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return metadata as names and values in words, without the empty ones.

    >>> facts({"year": 1984, "genres": ["comedy", "music"], "note": None})
    [('year', '1984'), ('genres', 'comedy, music')]
    """
    shown = []
    for name, value in metadata.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        if text:
            shown.append((squeezed(name), squeezed(text)))
    return shown


def path_line(hit: DocumentHit, results: Results) -> Content:
    """Return the path of a hit: its rank and score in each leg, after fusion, after re-ranking."""
    parts: list[Part] = []
    for leg in results.legs:
        place = hit.legs.get(leg)
        parts += [("  +  ", FAINT)] if parts else []
        parts.append((f"{leg} ", leg_style(list(hit.legs), leg)))
        parts += [(f"{place.rank}", "bold"), (f" ({place.score:.3f})", MUTED)] if place else [("–", MUTED)]
    fused = hit.fused_rank if hit.fused_rank is not None else hit.rank
    if len(results.legs) > 1:
        parts += [("  →  ", FAINT), "fused ", (f"{fused}", "bold"), (f" ({hit.score:.4f})", MUTED)]
    if hit.fused_rank is not None:
        read = "unread" if hit.rerank_score is None else f"{hit.rerank_score:.3f}"
        parts += [("  →  ", FAINT), "re-ranked ", (f"{hit.rank}", "bold"), (f" ({read})", MUTED)]
    return Content.assemble(*parts)


def controls(state: SearchState, modes: Sequence[Mode], *, brief: bool = False) -> Content:
    """Return what the keys have set; in few words where there is little room."""
    legs = " + ".join(mode for mode in modes if mode != HYBRID) if state.mode == HYBRID and not brief else ""
    fusion = (state.fusion or state.own_fusion) if state.mode == HYBRID else "none"
    parts: list[Part] = [("" if brief else "legs ", MUTED), (state.mode, SET), (f" ({legs})" if legs else "", FAINT)]
    for name, value, is_set in (
        ("" if brief else "fusion ", fusion, fusion != "none"),
        ("re-rank ", "on" if state.rerank else "off", state.rerank),
        ("filter ", "on" if state.where.strip() else "none", bool(state.where.strip())),
    ):
        if not brief or is_set or name:
            parts += [("  " if brief else "   "), (name, MUTED), (value, SET if is_set else FAINT)]
    return Content.assemble(*parts)


def outcome(results: Results) -> Content:
    """Return what came of a search: hits and milliseconds."""
    first, last = results.offset + 1, results.offset + len(results)
    hits = f"hits {first}–{last}" if results.offset else f"{last} hit{'' if last == 1 else 's'}"
    parts: list[Part] = [(hits, "bold") if len(results) else ("no hits", "bold $warning")]
    if results.reranked < results.rerank_depth:
        parts.append((f", {results.reranked} of {results.rerank_depth} re-ranked", "$warning"))
    parts.append((f" · {results.timings_ms['total']:.0f} ms", MUTED))
    parts += [(f" · {one_line(remark)}", "$warning") for remark in results.remarks()]
    return Content.assemble(*parts)


def citation(hit: DocumentHit) -> str:
    """Return a citation of a document in plain text: title, doc_id, origin, and its best passage."""
    head = [squeezed(hit.title), one_line(hit.doc_id), one_line(hit.location()), squeezed(hit.place(hit.passages[0]))]
    return f"{'. '.join(part for part in dict.fromkeys(head) if part)}.\n“{squeezed(hit.passages[0].text)}”\n"


def legend() -> Content:
    """Return how to read the marks and the plot."""
    return Content.assemble(
        ("in the query", LITERAL),
        "   a word of the query itself\n",
        ("by expansion", EXPANSION),
        "   a word that the model adds to the query\n",
        ("▲3 ▼2 new", MUTED),
        "      how far a hit moved when legs, fusion, filter or re-ranking changed\n",
        ("◉ •", MUTED),
        "            the selected hit and the others, by their ranks in two legs",
    )
