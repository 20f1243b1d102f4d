"""The tools' answers as short texts, for agents that read text. What documents say is inside fences."""

from __future__ import annotations

from typing import Any

from hybrid_search._util.json_objects import DocumentExplanationDict
from hybrid_search.errors import FilterError, HybridSearchError
from hybrid_search.integrations.mcp.bounds import MAX_ERROR, cut
from hybrid_search.integrations.mcp.quoting import Fence, fence
from hybrid_search.integrations.mcp.schemas import CollectionShown, ExpansionShown, Found, Got, HitShown, Status
from hybrid_search.results import DocumentHit, Results
from hybrid_search.types import LegName

_FACTS = 5
_TERMS = 24


def found_text(found: Found, results: Results) -> str:
    """Format hits, a few lines each: ranks in the legs, title and id, facts, and the best chunk."""
    head = f"{found['query']!r} in {found['collection']} ({found['mode']}): "
    remarks = results.remarks()
    if not found["hits"]:
        return " ".join(
            [head + "nothing found.", *remarks, "Try other words, fewer clauses in `where`, or mode hybrid."]
        )
    quoting = fence()
    first, last = found["hits"][0]["rank"], found["hits"][-1]["rank"]
    blocks = [_hit_text(hit, given, quoting) for hit, given in zip(results, found["hits"], strict=False)]
    foot = "More of a document: get with its doc_id; all of a field of its metadata: get with doc_id and field."
    if "cut" in found:
        foot += f" {found['cut']}"
    elif len(found["hits"]) == found["k"]:
        foot += f" The next page: offset={last}."
    return "\n\n".join([" ".join([head + f"ranks {first} to {last}.", *remarks, quoting.says]), *blocks, foot])


def expansion_text(expansion: ExpansionShown) -> str:
    """Tell the words that a query is searched by."""
    terms = expansion["expansion"]
    told = [f"{t.get('word') or t['term']} {t['weight']:.2f}{'' if t['in_query'] else '+'}" for t in terms[:_TERMS]]
    left_out = max(0, len(terms) - _TERMS) + expansion.get("terms_left_out", 0)
    more = f" and {left_out} more" if left_out else ""
    words = ", ".join(told) + more if told else "no term has a weight"
    return f"{expansion['model']} reads {expansion['query']!r} as (+ is added by the model): {words}"


def explained_text(explained: DocumentExplanationDict) -> str:
    """Format the verdict in a sentence with the ranks behind it; or the words that a query is searched by."""
    lines = [f"{explained['verdict']}."]
    if explained["folded_into"]:  # another document is named
        quoting = fence()
        lines += [quoting.says, quoting.around(explained["reason"])]
    else:
        lines[0] += f" {explained['reason']}"
    for leg, place in explained["legs"].items():
        where = "not found" if place["rank"] is None else f"rank {place['rank']} (score {place['score']:.3f})"
        if place["rank"] is not None and not place["handed_on"]:
            where += f", below the depth of {place['depth']}"
        left = f"; {place['cut_tokens']} tokens too many for its model were not read" if place["cut_tokens"] else ""
        lines.append(f"{leg}: {where}{left}")
    if explained["fused_rank"] is not None:
        lines.append(f"fused: rank {explained['fused_rank']}")
    return "\n".join(lines)


def got_text(got: Got) -> str:
    """Format one line about the document, and the text."""
    if "field" in got:
        head = "A field of the metadata of a document"
    elif "lines" in got:
        head = f"Lines {got['lines']['first']} to {got['lines']['last']} of {got['lines']['total']} of a document"
    else:
        head = "A chunk of a document"
    quoting = fence()
    name = f"{got['title']} [{got['doc_id']}]" if got["title"] else f"[{got['doc_id']}]"
    told = [name, *(f"{what} {got[what]}" for what in ("chunk_id", "field") if what in got)]
    foot = f"\n(cut here; what follows: offset={got['next_offset']})" if "next_offset" in got else ""
    said = f"{', '.join(told)}\n\n{got['text']}"
    return f"{head}. {quoting.says}\n{quoting.around(said)}{foot}"


def status_text(status: Status) -> str:
    """Format a line or two for each collection."""
    quoting = fence()
    lines = [_collection_text(one, quoting) for one in status["collections"]] or [
        f"There is no collection in {status['store']}."
    ]
    more = [f"{status['left_out']:,} more are not shown."] if "left_out" in status else []
    return "\n".join([*lines, *status["problems"], *more])


def error_text(error: HybridSearchError) -> str:
    """Return an error's message. A filter's error names fields of documents, so it is quoted."""
    told = cut(str(error), MAX_ERROR)
    if not isinstance(error, FilterError):
        return told
    quoting = fence()
    return f"The filter cannot be used. {quoting.says}\n{quoting.around(told)}"


def age_text(seconds: int) -> str:
    """Format seconds in the largest unit of which there are two or more.

    >>> age_text(59), age_text(7_300), age_text(900_000)
    ('59 seconds', '2 hours', '10 days')
    """
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def _hit_text(hit: DocumentHit, given: HitShown, quoting: Fence) -> str:
    best, shown = hit.passages[0], given["chunks"][0]
    places = [f"{leg} {place.rank}" for leg, place in hit.legs.items() if place is not None]
    score = f"{hit.score:.4f}" if hit.rerank_score is None else f"re-ranked {hit.rerank_score:.3f}"
    name = f"{given['title']} [{given['doc_id']}]" if given["title"] else f"[{given['doc_id']}]"
    facts = [fact for fact in (_facts(given["metadata"]), cut(hit.place(best), 200)) if fact]
    before = "… " if shown["start"] > best.start else ""
    after = " …" if shown["end"] < best.start + len(best.text) else ""
    said = [name, *([" · ".join(facts)] if facts else []), before + " ".join(shown["text"].split()) + after]
    return f"{hit.rank}. {score} ({', '.join(places)})\n{quoting.around(chr(10).join(said))}"


def _facts(metadata: dict[str, Any]) -> str:
    told = []
    for name, value in metadata.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if not isinstance(value, dict) and 0 < len(text) <= 60:
            told.append(f"{name} {text}")
    return " · ".join(told[:_FACTS])


def _collection_text(one: CollectionShown, quoting: Fence) -> str:
    age = "" if one["age_s"] is None else f", built {age_text(one['age_s'])} ago"
    models: dict[str, list[LegName]] = {}
    for leg, told in one["legs"].items():
        models.setdefault(told["model"], []).append(leg)
    legs = "; ".join(f"{' and '.join(names)} by {model}" for model, names in models.items())
    line = f"{one['name']}: {one['documents']} documents, {one['chunks']} chunks{age}. "
    line += f"Modes {', '.join(one['modes'])}; {legs}."
    if one.get("fields"):
        names = ", ".join(f"{name} ({kind})" for name, kind in one["fields"].items())
        more = f" {one['fields_left_out']:,} more are not shown." if "fields_left_out" in one else ""
        line += f" Fields for filters; {quoting.says}\n{quoting.around(names)}{more}"
    return line
