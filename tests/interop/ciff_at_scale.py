"""Writes and reads a CIFF file of many made-up documents, and prints time and memory as JSON. Run in a process alone.

python tests/interop/ciff_at_scale.py FOLDER CHUNKS TERMS
"""

import json
import resource
import sys
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import numpy as np

from hybrid_search.interop.ciff.reader import CiffFile
from hybrid_search.interop.export import ciff

VOCABULARY = 30_000


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = process_time()
    job = made_up(folder, chunks, terms)
    ciff.write(job)
    written = process_time()
    between = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0
    with CiffFile(folder / ciff.INDEX, folder) as file:
        read = process_time()
        for document in file.documents():
            total += len(document.weights)
    seconds = {"write": written - begun, "read": read - written, "documents": process_time() - read}
    peak = {"before": before / 1024, "write": between / 1024}
    peak["read"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"postings": job.facts["postings"], "read": total, "seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
