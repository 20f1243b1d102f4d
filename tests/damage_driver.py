"""What `store/test_damages` lets run on damaged collections: each victim in a process of its own, which may die of it.

    python -m tests.damage_driver        a line of JSON on stdin, {"folder": ..., "thoroughly": ...}; one of JSON out

The victims are forked from a process that has imported everything and opened nothing. Each verifies the collection
`c`, searches it, indexes one new document, and searches it again; thoroughly, it verifies it once more.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import traceback

import numpy as np

from hybrid_search.errors import HybridSearchError
from hybrid_search.store.edge import inspection
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import DIM, manifest_of, point, random_sparse

NEW = "brand-new"


def answers(store):
    """By leg and query the score of every chunk, and every payload."""
    reader = store.reader("c")
    try:
        rng = np.random.default_rng(5)
        queries = [("dense", rng.normal(size=DIM).astype(np.float32)) for _ in range(3)]
        queries += [("sparse", random_sparse(rng, active=20)) for _ in range(3)]
        found = [dict(answer) for answer in reader.retrieve(queries, 10_000)]
        return {"scores": found, "payloads": reader.payloads(sorted(found[0])), "documents": sorted(reader.doc_ids())}
    finally:
        reader.close()


def add_one(store):
    writer = store.writer("c", manifest_of())
    try:
        writer.upsert([point(NEW)])
        writer.publish()
    finally:
        writer.close()
    return "done"


def tried(function, *arguments):
    """What a function gives, or {"error": ...}; an error that is not ours is {"raw": ...}."""
    try:
        return function(*arguments)
    except HybridSearchError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except BaseException:
        return {"raw": traceback.format_exc()}


def in_this_process(function, folder, **_):
    """Call a function here: this process is one that may die already."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        inspection.inspect(folder)
    return subprocess.CompletedProcess(function, 0, said.getvalue(), "")


def victim(folder, thoroughly):
    inspection.run_in_child = in_this_process
    store, said = EdgeStore(folder), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    found = {"verified": tried(lambda: [one.to_dict() for one in store.verify("c")]), "before": tried(answers, store)}
    found |= {"indexed": tried(add_one, store), "after": tried(answers, store), "said": said}
    return found | {"again": tried(lambda: [one.to_dict() for one in store.verify("c")]) if thoroughly else []}


def serve():
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with os.fdopen(writing, "w") as out:
                json.dump(victim(**json.loads(line)), out)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            said = told.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(said if code == 0 else json.dumps({"died": code}), flush=True)


if __name__ == "__main__":
    import qdrant_edge  # noqa: F401

    serve()
