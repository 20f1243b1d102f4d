"""The real engines: each indexes an export and searches its topics, and tells what it found."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from tests.engines.environments import anserini, java, python_of

DRIVERS = Path(__file__).with_name("drivers")
TIMEOUT_S = 900
FORMS = {"tsv": ("topics.tsv", "TsvString"), "json": ("topics.jsonl", "JsonString")}
"""Both forms of topics: the file, and Anserini's reader of it."""


class Outcome(NamedTuple):
    """What an engine did: how many documents it says it indexed, and of each query its hits with their scores."""

    indexed: int | None
    run: Mapping[str, Sequence[tuple[str, float]]]
    index_s: float
    search_s: float

    @property
    def ids(self) -> dict[str, list[str]]:
        return {query: [document for document, _ in hits] for query, hits in self.run.items()}


def lucene(export: Path, work: Path, form: str = "tsv") -> Outcome:
    """Anserini: index, and search the topics in one of the two forms."""
    start = perf_counter()
    indexed = lucene_index(export, work / "lucene")
    middle = perf_counter()
    run = lucene_search(export, work / "lucene", form)
    return Outcome(indexed, run, middle - start, perf_counter() - middle)


def lucene_index(export: Path, index: Path) -> int:
    """Index with Anserini; give the number that it says it has indexed, for it exits with 0 whatever it lost."""
    collection = ("-collection", "JsonVectorCollection", "-generator", "DefaultLuceneDocumentGenerator")
    places = ("-input", export / "documents", "-index", index)
    told = _anserini("index.IndexCollection", *collection, *places, "-threads", 2, "-impact", "-pretokenized")
    [count] = re.findall(r"^.* indexed: +([\d,]+)$", told, re.MULTILINE)
    return int(count.replace(",", ""))


def lucene_search(export: Path, index: Path, form: str) -> dict[str, list[tuple[str, float]]]:
    """Search with Anserini. Without -removeQuery: that takes documents away whose id is a query's."""
    topics, reader = FORMS[form]
    output = index.with_name(f"{index.name}-{form}.trec")
    asked = ("-topics", export / topics, "-topicReader", reader, "-hits", 100, "-output", output)
    _anserini("search.SearchCollection", "-index", index, "-impact", "-pretokenized", *asked)
    run: dict[str, list[tuple[str, float]]] = {}
    for line in output.read_text(encoding="utf-8").splitlines():
        query, _, document, _, score, _ = line.split(" ")
        run.setdefault(query, []).append((document, float(score)))
    return run


def pisa(export: Path, work: Path) -> Outcome:
    """PISA, from Anserini's documents."""
    return Outcome(**drive("pisa", "pisa", "documents", export, work))


def pisa_ciff(export: Path, work: Path) -> Outcome:
    """PISA, from a CIFF file."""
    return Outcome(**drive("pisa", "pisa", "ciff", export, work))


def bmp_ciff(export: Path, work: Path) -> Outcome:
    """Block-Max Pruning, from a CIFF file."""
    return Outcome(**drive("bmp", "bmp", export, work))


def seismic(export: Path, work: Path) -> Outcome:
    """Seismic."""
    return Outcome(**drive("seismic", "seismic", export, work))


def drive(environment: str, driver: str, *arguments: Any) -> dict[str, Any]:
    """Run a driver in an environment; give what it answers. The last argument is its folder to work in."""
    answer = Path(arguments[-1]) / "answer.json"
    answer.parent.mkdir(parents=True, exist_ok=True)
    _run([python_of(environment), DRIVERS / f"{driver}_driver.py", *arguments, answer])
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _anserini(name: str, *arguments: object) -> str:
    return _run([java(), "-cp", anserini(), f"io.anserini.{name}", *arguments])


def _run(command: Sequence[object]) -> str:
    """Run a program; give what it said. One that fails is an error, with the end of what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr
