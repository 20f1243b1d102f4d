"""Index and search with Seismic, in an environment of its own: seismic_driver.py FOLDER WORK ANSWER."""

import json
import sys
from pathlib import Path
from time import perf_counter


def main(folder, work, answer):
    import numpy
    from exports import tell
    from seismic import SeismicIndex, get_seismic_string

    start = perf_counter()
    index = SeismicIndex.build(str(Path(folder) / "documents.jsonl"))
    indexed, run = perf_counter(), {}
    with (Path(folder) / "queries.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            tokens = numpy.array(list(row["vector"]), dtype=get_seismic_string())
            weights = numpy.array(list(row["vector"].values()), dtype=numpy.float32)
            # Every token of the query, and no block passed over: the exact ranking.
            asked = {"query_components": tokens, "query_values": weights, "query_cut": len(tokens), "heap_factor": 0.0}
            found = index.search(query_id=row["id"], k=100, **asked) if len(tokens) else []
            run[row["id"]] = [(document, float(score)) for _, score, document in found]
    tell(answer, index.len, run, indexed - start, perf_counter() - indexed)


if __name__ == "__main__":
    main(*sys.argv[1:])
