"""The answers of the tools as short texts, for agents that read text; and their numbers, cut to size."""

from __future__ import annotations

from typing import Any

from hybrid_search.integrations.mcp.shapes import CollectionShown, Explained, Found, Got, HitShown, Status
from hybrid_search.results import DocumentHit, Passage, Results
from hybrid_search.types import LegName

_FACTS = 5
_TERMS = 24


def shown(results: Results, text_chars: int) -> Found:
    """The object that `search --format json` prints, without highlights, and each text cut to its best part."""
    found: Any = results.to_dict()
    for hit, given in zip(results, found["hits"], strict=True):
        given["chunks"] = [_cut(passage, text_chars) for passage in hit.passages]
    answer: Found = found
    return answer


def found_text(found: Found, results: Results) -> str:
    """Hits, a few lines each: title and id, facts, the best chunk, and where each leg placed it."""
    head = f"{found['query']!r} in {found['collection']} ({found['mode']}): "
    remarks = results.remarks()
    if not found["hits"]:
        return " ".join(
            [head + "nothing found.", *remarks, "Try other words, fewer clauses in `where`, or mode hybrid."]
        )
    first, last = found["hits"][0]["rank"], found["hits"][-1]["rank"]
    blocks = [_hit_text(hit, given) for hit, given in zip(results, found["hits"], strict=True)]
    foot = "More of a document: get with its doc_id."
    if len(found["hits"]) == found["k"]:
        foot += f" The next page: offset={last}."
    return "\n\n".join([" ".join([head + f"ranks {first} to {last}.", *remarks]), *blocks, foot])


def explained_text(explained: Explained) -> str:
    """The verdict in a sentence and the places behind it; or the words that a query is searched by."""
    if "expansion" in explained:
        terms = explained["expansion"]
        told = [f"{t.get('word') or t['term']} {t['weight']:.2f}{'' if t['in_query'] else '+'}" for t in terms[:_TERMS]]
        more = f" and {len(terms) - _TERMS} more" if len(terms) > _TERMS else ""
        words = ", ".join(told) + more if told else "no term has a weight"
        return f"{explained['model']} reads {explained['query']!r} as (+ is added by the model): {words}"
    lines = [f"{explained['doc_id']}: {explained['verdict']}. {explained['reason']}"]
    for leg, place in explained.get("legs", {}).items():
        where = "not found" if place["rank"] is None else f"rank {place['rank']} (score {place['score']:.3f})"
        if place["rank"] is not None and not place["handed_on"]:
            where += f", below the depth of {place['depth']}"
        cut = f"; {place['cut_tokens']} tokens too many for its model were not read" if place["cut_tokens"] else ""
        lines.append(f"{leg}: {where}{cut}")
    if explained.get("fused_rank") is not None:
        lines.append(f"fused: rank {explained['fused_rank']}")
    return "\n".join(lines)


def got_text(got: Got) -> str:
    """One line of what it is, and the text."""
    head = f"{got['title']} [{got['doc_id']}]" if got["title"] else f"[{got['doc_id']}]"
    if "lines" in got:
        head += f", lines {got['lines']['first']} to {got['lines']['last']} of {got['lines']['total']}"
    if "chunk_id" in got:
        head += f", chunk {got['chunk_id']}"
    foot = f"\n\n(cut here; what follows: offset={got['next_offset']})" if "next_offset" in got else ""
    return f"{head}\n{got['text']}{foot}"


def status_text(status: Status) -> str:
    """A line or two a collection."""
    lines = [_collection_text(one) for one in status["collections"]] or [
        f"There is no collection in {status['store']}."
    ]
    return "\n".join(lines + status["problems"])


def age_text(seconds: int) -> str:
    """Seconds in the largest unit of which there are two or more.

    >>> age_text(59), age_text(7_300), age_text(900_000)
    ('59 seconds', '2 hours', '10 days')
    """
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def _cut(passage: Passage, room: int) -> Any:
    """A passage as JSON: what of it is shown, and the offsets of that in the document."""
    text, begins = passage.text, 0
    if len(text) > room:
        start, end = passage.highlight[:2] if passage.highlight else (0, room)
        # As much before what matches as after it.
        begins = min(max(0, start - max(0, room - (end - start)) // 2), len(text) - room)
        text = text[begins : begins + room]
    start = passage.start + begins
    given: dict[str, Any] = {"chunk_id": passage.chunk_id, "start": start, "end": start + len(text), "text": text}
    return {**given, "metadata": dict(passage.metadata)} if passage.metadata else given


def _hit_text(hit: DocumentHit, given: HitShown) -> str:
    best, cut = hit.passages[0], given["chunks"][0]
    name = f"{hit.title} [{hit.doc_id}]" if hit.title else f"[{hit.doc_id}]"
    places = [f"{leg} {place.rank}" for leg, place in hit.legs.items() if place is not None]
    score = f"{hit.score:.4f}" if hit.rerank_score is None else f"re-ranked {hit.rerank_score:.3f}"
    lines = [f"{hit.rank}. {name}  {score} ({', '.join(places)})"]
    facts = [fact for fact in (_facts(given["metadata"]), hit.place(best)) if fact]
    lines += [" · ".join(facts)] if facts else []
    before = "… " if cut["start"] > best.start else ""
    after = " …" if cut["end"] < best.start + len(best.text) else ""
    lines.append(before + " ".join(cut["text"].split()) + after)
    return "\n   ".join(lines)


def _facts(metadata: dict[str, Any]) -> str:
    told = []
    for name, value in metadata.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if not isinstance(value, dict) and 0 < len(text) <= 60:
            told.append(f"{name} {text}")
    return " · ".join(told[:_FACTS])


def _collection_text(one: CollectionShown) -> str:
    age = "" if one["age_s"] is None else f", built {age_text(one['age_s'])} ago"
    models: dict[str, list[LegName]] = {}
    for leg, told in one["legs"].items():
        models.setdefault(told["model"], []).append(leg)
    legs = "; ".join(f"{' and '.join(names)} by {model}" for model, names in models.items())
    line = f"{one['name']}: {one['documents']} documents, {one['chunks']} chunks{age}. "
    line += f"Modes {', '.join(one['modes'])}; {legs}."
    if "fields" in one:
        line += f" Fields for filters: {', '.join(f'{name} ({kind})' for name, kind in one['fields'].items())}."
    return line
