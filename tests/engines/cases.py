"""Exports and the engines that take them: what the tests hold and the benchmark measures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hybrid_search
from hybrid_search.corpus.trec import Dataset, read_beir
from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from tests.engines import engines
from tests.engines.engines import Outcome
from tests.engines.exact import Encoded, Run, encoded, ranking

COLLECTION = "cranfield"
PROGRAM = (sys.executable, "-m", "hybrid_search")


class Case(NamedTuple):
    """An export, the engine that takes it, and the least overlap of its top 10 with the exact one."""

    format: str
    options: tuple[str, ...]
    engine: Callable[[Path, Path], Outcome]
    overlap: float = 0.99


IDF_IN_DOCUMENTS = ("--idf", "documents")
CASES = {
    "lucene": Case("anserini", (), engines.lucene),
    "lucene_documents": Case("anserini", IDF_IN_DOCUMENTS, engines.lucene),
    "lucene_splade": Case("anserini", ("--quantize", "splade"), engines.lucene),
    "pisa": Case("anserini", (), engines.pisa),
    "pisa_ciff": Case("ciff", (), engines.pisa_ciff),
    "pisa_ciff_documents": Case("ciff", IDF_IN_DOCUMENTS, engines.pisa_ciff),
    # It adds scores up in 16 bits and makes the weights of queries smaller for that.
    "bmp_ciff": Case("ciff", (), engines.bmp_ciff, 0.97),
    "seismic": Case("seismic", (), engines.seismic, 0.999),
    "seismic_documents": Case("seismic", IDF_IN_DOCUMENTS, engines.seismic, 0.999),
}

ODD = [
    "a b",
    "tab\there",
    "line\nend",
    "50%",
    "a%20b",
    "x#1",
    "日本語",
    "wide\u3000blank",
    "nbsp\u00a0",
    '"quoted"',
    "-1",
    "é" * 80,
]
"""Ids that a column, a line or a separator of some engine would break."""


class Bench(NamedTuple):
    """A collection with known answers, and the exact ranking of its queries."""

    folder: Path
    data: Dataset
    encoded: Encoded
    exact: Run
    work: Path
    settings: Settings
    written: set[Path]
    """Exports that are there."""

    def export(self, format: str, *options: str) -> Path:
        """Return an export of it with all queries; one of the same options is written once."""
        out = self.work / "-".join([format, *(option.lstrip("-") for option in options)])
        if out not in self.written:
            queries = ("--queries", self.folder / "queries.jsonl")
            run_program(self.settings, "export", format, "-c", COLLECTION, "--out", out, *queries, *options)
            self.written.add(out)
        return out

    def outcome(self, case: Case) -> tuple[Path, Outcome]:
        """Export, index and search; gives the export and what the engine did."""
        export = self.export(case.format, *case.options)
        work = export.with_name(f"{export.name}-{case.engine.__name__}")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        return export, case.engine(export, work)


def bench(folder: Path, work: Path, cache: Path) -> Bench:
    """Index a BEIR folder with the bundled model, one chunk a document, and rank its queries."""
    settings = Settings(store=str(work / "store"), cache_dir=cache)
    Indexer.open(COLLECTION, settings=settings, profile="bundled", chunk_tokens=0).index(folder)
    data = read_beir(folder)
    found = encoded(COLLECTION, {query.query_id: query.text for query in data.queries}, settings)
    return Bench(folder, data, found, ranking(found), work, settings, set())


def run_program(settings: Settings, *arguments: object) -> str:
    """Run a command of ours on a store, in a process of its own; give what it prints."""
    places = {
        "HYBRID_SEARCH_STORE": str(settings.store),
        "HYBRID_SEARCH_CACHE_DIR": str(settings.cache_dir),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(hybrid_search.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    words = [*PROGRAM, *map(str, arguments)]
    done = subprocess.run(words, env={**os.environ, **places}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
    return done.stdout


def report(export: Path) -> dict[str, Any]:
    """Return the report of an export."""
    told: dict[str, Any] = json.loads((export / "report.json").read_text(encoding="utf-8"))
    return told
