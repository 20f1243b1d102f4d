"""Packing results into a context for a prompt: the best passages within a token budget, each with a citation number.

Passages are taken best first. Overlapping or adjacent passages of one document are merged into one stretch without
repetition. A passage that says the same as a taken one is left out. A passage that does not fit is skipped, and smaller
ones after it may still fit. The returned text is counted as a whole, so the budget holds whatever the tokenizer makes
of the seams.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hybrid_search._util.arguments import flags, whole
from hybrid_search._util.unicode_text import extends, whole_character
from hybrid_search.errors import InvalidArgument
from hybrid_search.near_duplicates import Shingles, alike, shingles

if TYPE_CHECKING:
    from hybrid_search.results import DocumentHit, Passage, Results

SAME = 0.8
"""Jaccard similarity of five-word shingles from which a passage adds nothing new.

It is lower than the one for hiding whole documents (`near_duplicates.ALIKE`), for repetition costs room in the prompt.
Source: Lee et al., Deduplicating Training Data Makes Language Models Better, ACL 2022, section 4.2: word 5-grams, and
0.8.
"""

MISSES = 16
"""After so many passages in a row that do not fit, the context counts as full."""

MAX_TITLE = 200
"""Characters of a title to show."""

ELLIPSIS = " …"

CountTokens = Callable[[str], int]

_NUMBER = re.compile(r"#(\d+)$")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]|\n+|[^\S\n]{2,}|[^\sA-Za-z0-9]")


class Citation(NamedTuple):
    """One numbered stretch of one document in a context.

    Args:
        number: from 1, in the order of the context.
        start, end: span of the document's text, in characters, the end excluded.
        rank: of the document in the results.
        score: of the best passage of the stretch, after fusion.
        chunk_ids: of the passages in the stretch, in the order of the text.
        place: where it begins, in words: a page, or headings; may be empty.
        cut: whether the passage goes on after `end`: nothing would have fitted otherwise.
    """

    number: int
    doc_id: str
    title: str
    origin: str
    start: int
    end: int
    rank: int
    score: float
    chunk_ids: tuple[str, ...]
    place: str = ""
    cut: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {**self._asdict(), "chunk_ids": list(self.chunk_ids)}


@dataclass(frozen=True, slots=True)
class Context:
    """A text for a prompt, with the source of each part. Its `str` is the text.

    Args:
        text: the stretches, best first, separated by blank lines; empty if nothing was found, or nothing fits.
        tokens: of `text`, as the tokenizer counts them.
        citations: by number. They are there even if the text does not show them.
    """

    text: str
    tokens: int
    citations: Mapping[int, Citation] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return len(self.citations)

    def to_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "tokens": self.tokens,
            "citations": [citation.to_dict() for citation in self.citations.values()],
        }


class _Taken(NamedTuple):
    """A passage with its hit and its position among all passages, best first."""

    place: int
    hit: DocumentHit
    passage: Passage


class _Stretch(NamedTuple):
    """Contiguous text of one document."""

    place: int
    hit: DocumentHit
    start: int
    end: int
    text: str
    score: float
    chunk_ids: tuple[str, ...]
    where: str
    cut: bool = False


def to_context(results: Results, max_tokens: int, tokenizer: Any = None, citations: bool = True) -> Context:
    """Pack the best passages of results into a text within a token budget.

    Each stretch is `[number] title · place`, then its text on the next line; without a title the text follows the
    number. If no passage fits whole, the best one is cut after a word, with an ellipsis, and its citation says so.

    Args:
        results: of a search. Each document contributes the passages of its hit, three at most.
        max_tokens: budget for the text, >= 0; titles and numbers count, special tokens do not.
        tokenizer: counts tokens: a function from a text to their number, or a tokenizer of `tokenizers`, `transformers`
            or `tiktoken`. By default `estimate` counts, which approximates any tokenizer and is rarely too low.
        citations: show the numbers, as `[1]`, in the text.

    Returns:
        A context of at most `max_tokens`. It is empty if there are no results, or not even one word fits.

    Raises:
        InvalidArgument: a budget below 0, or a tokenizer that cannot count.
    """
    max_tokens = whole("max_tokens", max_tokens, 0)
    flags(citations=citations)
    count = counter(tokenizer)
    ordered = _best_first(results)
    taken = _pack(ordered, max_tokens, count, citations)
    while taken:
        shown = _stretches(taken)
        text = _text(shown, citations)
        if (tokens := count(text)) <= max_tokens:
            return Context(text, tokens, _cite(shown))
        taken = taken[:-1]  # the seams cost more than the parts had told
    for one in ordered[:1]:  # nothing fits whole
        for text, stretch in _cut(one, max_tokens, count, citations):
            return Context(text, count(text), _cite([stretch]))
    return Context("", 0)


def counter(tokenizer: Any) -> CountTokens:
    """Return a function from a text to its number of tokens, without special tokens.

    Raises:
        InvalidArgument: the tokenizer cannot count; or, on a later call, it returns no number >= 0.
    """
    if tokenizer is None:
        return estimate
    if hasattr(tokenizer, "encode_ordinary"):  # tiktoken; its `encode` refuses texts that name special tokens
        return lambda text: len(tokenizer.encode_ordinary(text))
    if hasattr(tokenizer, "encode") and not isinstance(tokenizer, str):
        return lambda text: _length(tokenizer.encode(text, add_special_tokens=False))
    if not callable(tokenizer):
        raise InvalidArgument(
            f"tokenizer is {tokenizer!r}; give a function from a text to its number of tokens, or a tokenizer."
        )

    def count(text: str) -> int:
        found = tokenizer(text)
        try:
            number = operator.index(found)
        except TypeError:
            number = -1
        if number < 0:
            raise InvalidArgument(f"The tokenizer gave {found!r} for a text; a number of tokens >= 0 was expected.")
        return number

    return count


def estimate(text: str) -> int:
    """Estimate how many tokens a language model reads, rather too many than too few.

    Counts one token for every word of up to six lowercase letters, and one more for every three letters that follow;
    one for every two capitals, and for every digit, sign and run of line ends or of blanks. For other characters it
    counts half a token for every byte of UTF-8, so three for two Chinese characters.

    Source: compared with cl100k, o200k, p50k and the tokenizers of Anthropic and DeepSeek. For 1,592 English texts
    (films, Cranfield, CISI, CACM) the median ratio to theirs is 1.06 to 1.43, the minimum 0.93. For a sentence or two
    of German it is 0.73 to 1.24; of Chinese, Japanese, Russian and Arabic 0.97 or more, except with the oldest, p50k
    (0.67).

    >>> estimate("A film about music."), estimate("漢字")
    (5, 3)
    """
    total = 0.0
    for part in _PARTS.findall(text):
        if not part.isascii():
            total += len(part.encode("utf-8", "surrogatepass")) / 2
        elif part.isupper():
            total += -(-len(part) // 2)
        else:
            total += 1 + max(0, -(-(len(part) - 6) // 3)) if part.isalpha() else 1
    return -int(-total // 1)


def _length(encoding: Any) -> int:
    """Return the number of tokens of an encoding, a list or a tokenizer's object. Overflow counts, padding does not."""
    if not hasattr(encoding, "ids"):
        return len(encoding)
    return sum(sum(part.attention_mask) for part in (encoding, *encoding.overflowing))


def _best_first(results: Results) -> list[_Taken]:
    """Return every passage of the results, best first.

    A document's best passage ranks as its document, the others by their scores. After re-ranking the best passages come
    first, for the re-ranker has read only those.
    """
    keyed = []
    lowest = float("inf")
    for hit in results:
        lowest = min(lowest, hit.score)
        for place, passage in enumerate(hit.passages):
            if not passage.text.strip():
                continue
            behind = bool(results.reranker and place)
            score = 0.0 if results.reranker and not place else min(passage.score, lowest)
            keyed.append(((behind, -score, hit.rank, place), hit, passage))
    keyed.sort(key=lambda each: each[0])
    return [_Taken(place, hit, passage) for place, (_, hit, passage) in enumerate(keyed)]


def _pack(ordered: Sequence[_Taken], max_tokens: int, count: CountTokens, citations: bool) -> list[_Taken]:
    """Choose the passages that fit together, judging by the counts of their parts."""
    nothing = count("")
    between = max(0, count("\n\n") - nothing)
    taken: list[_Taken] = []
    costs: dict[str, int] = {}  # by document
    looks: list[tuple[_Taken, Shingles]] = []
    misses = 0
    for one in ordered:
        look = shingles(one.passage.text, one.hit.title)
        if any(alike(look, other, SAME) for before, other in looks if not _touch(before, one)):
            continue
        doc_id = one.hit.doc_id
        mine = _stretches([*(other for other in taken if other.hit.doc_id == doc_id), one])
        cost = sum(count(_shown(len(taken) + 1, each, citations)) - nothing + between for each in mine)
        if sum(costs.values()) - costs.get(doc_id, 0) + cost - between > max_tokens:
            misses += 1
            if misses == MISSES:
                break
            continue
        misses = 0
        costs[doc_id] = cost
        taken.append(one)
        looks.append((one, look))
    return taken


def _stretches(taken: Sequence[_Taken]) -> list[_Stretch]:
    """Merge passages that touch. Each stretch is placed where its best passage is, best first."""
    found: list[_Stretch] = []
    last: _Taken | None = None
    for one in sorted(taken, key=lambda each: (each.hit.rank, each.passage.start, -each.passage.end)):
        if last is not None and _touch(last, one):
            found[-1] = _merge(found[-1], one)
            last = max(last, one, key=lambda each: each.passage.end)
        else:
            found.append(_alone(one))
            last = one
    return sorted((_strip(stretch) for stretch in found), key=lambda stretch: stretch.place)


def _touch(first: _Taken, second: _Taken) -> bool:
    """Say whether two passages are of one document and overlap, or have only white space between them."""
    if first.hit.doc_id != second.hit.doc_id or not (_whole(first.passage) and _whole(second.passage)):
        return False
    (one, other) = sorted((first.passage, second.passage), key=lambda each: (each.start, -each.end))
    # Between a chunk and the next no word is left out: `corpus/chunking.py`.
    return other.start <= one.end or _number(other.chunk_id) == _number(one.chunk_id) + 1 > 0


def _whole(passage: Passage) -> bool:
    """Say whether the span matches the text; in collections of other programs it may not."""
    return passage.end - passage.start == len(passage.text)


def _number(chunk_id: str) -> int:
    found = _NUMBER.search(chunk_id)
    return int(found[1]) if found else -2


def _alone(one: _Taken) -> _Stretch:
    passage = one.passage
    where = one.hit.place(passage)
    return _Stretch(
        one.place, one.hit, passage.start, passage.end, passage.text, passage.score, (passage.chunk_id,), where
    )


def _merge(stretch: _Stretch, one: _Taken) -> _Stretch:
    passage = one.passage
    gap = passage.start - stretch.end
    between = "" if gap <= 0 else " " if gap == 1 else "\n\n"
    return stretch._replace(
        place=min(stretch.place, one.place),
        end=max(stretch.end, passage.end),
        text=stretch.text + between + passage.text[max(0, -gap) :],
        score=max(stretch.score, passage.score),
        chunk_ids=(*stretch.chunk_ids, passage.chunk_id),
    )


def _strip(stretch: _Stretch) -> _Stretch:
    """Strip white space at both ends."""
    text = stretch.text
    before, behind = len(text) - len(text.lstrip()), len(text) - len(text.rstrip())
    return stretch._replace(start=stretch.start + before, end=stretch.end - behind, text=text.strip())


def _text(shown: Sequence[_Stretch], citations: bool) -> str:
    return "\n\n".join(_shown(number, stretch, citations) for number, stretch in enumerate(shown, 1))


def _shown(number: int, stretch: _Stretch, citations: bool, titled: bool = True) -> str:
    title = " ".join(stretch.hit.title.split())[:MAX_TITLE]
    head = " · ".join(words for words in (title, stretch.where) if words) if titled else ""
    cited = f"[{number}]" if citations else ""
    top = " ".join(words for words in (cited, head) if words)
    text = stretch.text + (ELLIPSIS if stretch.cut else "")
    return f"{top}{chr(10) if head else ' '}{text}" if top else text


def _cut(one: _Taken, max_tokens: int, count: CountTokens, citations: bool) -> Iterator[tuple[str, _Stretch]]:
    """Return as much of a passage's beginning as fits: cut after a word, else inside it, else without the title."""
    whole = _strip(_alone(one))
    for titled in (True, False):
        for places in (_word_ends(whole.text), range(1, len(whole.text))):
            # By halves, as if more text had never fewer tokens; then downwards, as that is not quite so.
            low, high = 0, len(places)
            while low < high:
                middle = (low + high) // 2
                text, stretch = _until(whole, places[middle], citations, titled)
                low, high = (middle + 1, high) if count(text) <= max_tokens else (low, middle)
            for place in reversed(places[max(0, low - MISSES) : low]):
                if whole_character(whole.text, place) != place:
                    continue
                text, stretch = _until(whole, place, citations, titled)
                if count(text) <= max_tokens:
                    yield text, stretch
                    return


def _until(whole: _Stretch, end: int, citations: bool, titled: bool) -> tuple[str, _Stretch]:
    text = whole.text[:end].rstrip()
    stretch = whole._replace(text=text, end=whole.start + len(text), cut=True)
    return _shown(1, stretch, citations, titled), stretch


def _word_ends(text: str) -> list[int]:
    """Return the offsets where a text may be cut: after words; in scripts without blanks after each character."""
    found = []
    for place in range(1, len(text)):
        before, after = text[place - 1], text[place]
        wide = unicodedata.east_asian_width(before) in "WF" and not extends(after)
        if (after.isspace() and not before.isspace()) or (wide and after.isalnum()):
            found.append(place)
    return found


def _cite(shown: Sequence[_Stretch]) -> dict[int, Citation]:
    return {
        number: Citation(
            number, each.hit.doc_id, each.hit.title, each.hit.origin, each.start, each.end, each.hit.rank, each.score,
            each.chunk_ids, each.where, each.cut,
        )
        for number, each in enumerate(shown, 1)
    }  # fmt: skip
