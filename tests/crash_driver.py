"""What `test_crashes` kills: a process that indexes with the models of `fake_models`, or with the bundled one.

    python -m tests.crash_driver STORE CACHE LOG        one job a line on stdin, as JSON, each in a process of its own
    python -m tests.crash_driver STORE CACHE --search C query ...    ask for ever, an answer a line, until stdin ends

The jobs are forked from a process that has imported everything and opened nothing, so that each costs milliseconds.
A job may carry `kill_step`: the process kills itself, by SIGKILL, at the n-th step of what the store does; or
`kill_after`: it is killed after so many seconds. LOG gets the number of texts of every call of a model.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

STEPS = {
    "writer.EdgeWriter": ["upsert", "delete", "publish", "heads", "version_hashes", "flush", "close"],
    "shard.Shard": ["create", "load", "upsert", "delete", "close"],
    "write_log.WriteLog": ["begin", "resume", "append", "sync"],
    "files": ["copy_file", "write_text", "write_checked"],
    "_util": ["sync"],
    "generations": ["publish", "copy_tree", "write_text", "write_checked", "sweep", "sync", "remove_folder"],
    "working_shard": ["make_ready", "seal", "unseal", "save_base", "write_checked"],
    "recovery": ["restore", "seal", "copy_tree", "_copy_base"],
    "recovery_bases": ["sync", "copy_file", "write_checked"],
}
"""What counts as a step, twice: before it and after it."""


def use_fakes():
    from hybrid_search.collection import models
    from hybrid_search.encoders import catalog
    from tests.fake_models import FAKE_CARDS, Fakes

    fakes, load = Fakes(), models.load
    catalog.CARDS = (*catalog.CARDS, *FAKE_CARDS)
    models.load = lambda card, **o: fakes.load(card) if card.name.startswith("fake/") else load(card, **o)


def count_texts(log):
    """Every text that a model encodes is counted in a file, which outlives this process."""
    from hybrid_search.collection import models

    load, counting = models.load, set()

    def counted(encode):
        @functools.wraps(encode)
        def encoded(self, texts, *rest, **options):
            with Path(log).open("a") as file:  # first: what is killed meanwhile was work, too
                file.write(f"{len(texts)}\n")
            return encode(self, texts, *rest, **options)

        return encoded

    def loaded(card, **options):
        model = load(card, **options)
        kind = type(model)
        if kind not in counting:
            counting.add(kind)
            kind.encode_documents = counted(kind.encode_documents)
        return model

    models.load = loaded


def die_at(step):
    """Kill this process, as `kill -9` does, at the n-th step."""
    left = [step]

    def count():
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(function):
        @functools.wraps(function)
        def stepped(*arguments, **options):
            count()
            found = function(*arguments, **options)
            count()
            return found

        return stepped

    for place, names in STEPS.items():
        module_name, _, inner = place.partition(".")
        room = "hybrid_search" if module_name == "_util" else "hybrid_search.store.edge"
        module = importlib.import_module(f"{room}.{module_name}")
        holder = getattr(module, inner) if inner else module
        for name in names:
            found = vars(holder)[name]
            made = stepping(getattr(found, "__func__", found))
            setattr(holder, name, classmethod(made) if isinstance(found, classmethod) else made)


def settings_of(store, cache):
    from hybrid_search.settings import Settings

    return Settings(store=store, cache_dir=Path(cache))


def run(job, settings):
    from hybrid_search.indexer import Indexer

    indexer = Indexer.open(job["collection"], settings=settings, replace=job.get("replace", False), **job["models"])
    report = indexer.index(job["source"], prune=job.get("prune", False))
    # Two documents of cranfield have no text.
    assert all(failure.reason.startswith("no text") for failure in report.failures), report.failures


def serve(store, cache, log):
    settings = settings_of(store, cache)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            try:
                if job.get("kill_step"):
                    die_at(job["kill_step"])
                count_texts(log)
                run(job, settings)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(1)
        if job.get("kill_after"):
            threading.Event().wait(job["kill_after"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def search(store, cache, collection, queries):
    from hybrid_search.searcher import Searcher

    settings = settings_of(store, cache)
    ended = threading.Event()

    def listen():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.is_set():
        with Searcher.open(collection, settings=settings) as searcher:
            for _ in range(3):
                found = [[hit.doc_id for hit in results] for results in searcher.search_many(queries, k=10)]
                print(json.dumps(found), flush=True)
                time.sleep(0.03)


if __name__ == "__main__":
    # Everything a job imports on its way is here before the first one, and no shard is open.
    import qdrant_edge  # noqa: F401

    import hybrid_search.indexer
    import hybrid_search.searcher
    import hybrid_search.store.edge.store  # noqa: F401
    from hybrid_search.indexing import pipeline

    # Two batches are under way: what a kill may cost is 64 chunks.
    pipeline.BATCH_CHUNKS = 32
    use_fakes()
    store, cache, what, *rest = sys.argv[1:]
    if what == "--search":
        search(store, cache, rest[0], rest[1:])
    else:
        serve(store, cache, what)
