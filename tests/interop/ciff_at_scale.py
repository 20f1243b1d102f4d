"""Writes and reads a CIFF file of many made-up documents, and prints time and memory as JSON. Run in a process alone.

python tests/interop/ciff_at_scale.py FOLDER CHUNKS TERMS
"""

import json
import sys
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import numpy as np

from hybrid_search.interop.ciff.reader import CiffFile
from hybrid_search.interop.export import ciff

VOCABULARY = 30_000


def peak_mb():
    """The most memory that this process had so far. (What `resource` tells begins with what its parent had.)"""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def made_up(folder, chunks, terms):
    """An export job over documents with distinct terms, rare and frequent ones, and impacts of 1 to 255."""
    random = np.random.default_rng(7)
    names = np.array([f"term{number}" for number in range(VOCABULARY)])

    def weights(_):
        found = np.unique((VOCABULARY * random.random(terms) ** 3).astype(np.int64))
        return dict(zip(names[found].tolist(), random.integers(1, 256, len(found)).tolist(), strict=True))

    def write(name, parts):
        with (folder / name).open("wb") as file:
            file.writelines(parts)

    return SimpleNamespace(
        folder=SimpleNamespace(partial=folder, write=write),
        chunks=lambda: (SimpleNamespace(export_id=f"doc-{number}") for number in range(chunks)),
        document_weights=weights,
        options=SimpleNamespace(queries=None),
        facts={},
    )


def main(folder, chunks, terms):
    before = peak_mb()
    begun = process_time()
    job = made_up(folder, chunks, terms)
    ciff.write(job)
    written = process_time()
    between = peak_mb()
    total = 0
    with CiffFile(folder / ciff.INDEX, folder) as file:
        read = process_time()
        for document in file.documents():
            total += len(document.weights)
    seconds = {"write": written - begun, "read": read - written, "documents": process_time() - read}
    peak = {"before": before, "write": between}
    peak["read"] = peak_mb()
    print(json.dumps({"postings": job.facts["postings"], "read": total, "seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
