"""Exports a collection of any size that is made up while it is read: `large_export.py FORMAT CHUNKS FOLDER`.

Prints how many megabytes the memory of the process grew, above that of an export of two thousand chunks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hybrid_search.collection.models import ModelSet
from hybrid_search.interop.export import run
from hybrid_search.interop.export.source import ExportSource
from hybrid_search.manifest import SCHEMA, LegSpec, Manifest
from hybrid_search.settings import Settings
from hybrid_search.types import SparseVector
from tests.fake_models import FAKE_CARDS, FakeSparse

TERMS, DIM, VOCABULARY = 70, 384, 30_000


class MadeUp:
    """Reads documents of one chunk each, as many as are asked for."""

    def __init__(self, documents):
        legs = {"sparse": LegSpec("fake/sparse", "f"), "dense": LegSpec("fake/dense", "f", dim=DIM)}
        self.manifest = Manifest("custom", legs, 0, 0, "2026-01-01T00:00:00Z", SCHEMA, roots={})
        self.count = documents

    def info(self):
        return SimpleNamespace(documents=self.count)

    def doc_ids(self):
        return (f"document-{n}" for n in range(self.count))

    def payloads(self, names):
        return {name: self.payload(name) for name in names}

    def payload(self, name):
        doc_id = name.rpartition("#")[0]
        parts = {"title": doc_id, "text": f"{doc_id} " * 40, "metadata": {"year": 1999}, "origin": "made up"}
        return {
            "chunk_id": name,
            "doc_id": doc_id,
            "number": 0,
            "start": 0,
            "end": 1,
            "stamp": "s",
            "chunks": 1,
            **parts,
        }

    def vectors(self, leg, names):
        return {name: self.vector(leg, int(name[9:-2])) for name in names}

    def vector(self, leg, seed):
        random = np.random.default_rng(seed)
        if leg == "dense":
            return random.normal(size=DIM).astype(np.float32)
        terms = np.unique(random.integers(0, VOCABULARY, TERMS)).astype(np.int32)
        return SparseVector(terms, random.uniform(0.1, 3, len(terms)).astype(np.float32))

    def close(self):
        pass


def export(format, documents, folder):
    source = ExportSource("big", MadeUp(documents), "sparse", (), Settings())
    source.models = ModelSet("custom", {"sparse": FakeSparse(FAKE_CARDS[2])})

    def opened(*_, dense=False, **__):
        source.dense = ("dense",) if dense else ()
        return source

    run.open_source = opened
    assert run.export_collection("big", format, folder, settings=Settings())["chunks"] == documents


def peak_megabytes():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    export(sys.argv[1], 2_000, Path(sys.argv[3]))
    before = peak_megabytes()
    export(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    print(peak_megabytes() - before)
