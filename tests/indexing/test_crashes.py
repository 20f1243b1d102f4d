"""A job that is killed at any moment loses nothing, doubles nothing, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import SparseVector
from tests.conftest import ROOT, with_fakes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills the jobs as only POSIX can")

BATCH = 64
"""Chunks that a killed job may have to encode again; so many are in the two batches that are under way."""

FAKE = {"sparse": "fake/both", "dense": "fake/both", "legs": ["sparse", "dense", "bm25"], "chunk_tokens": 24}
WORDS = ["river", "stone", "apple", "cloud", "winter", "garden", "copper", "window", "letter", "ocean", "velvet"]
QUERIES = ["river", "copper window", "number7 letter", "winter garden ocean", "number250", "velvet thunder apple"]


class Driver:
    """Jobs in processes of their own, one after another, against one store."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.store, self.cache, self.log = folder / "store", cache, folder / "encoded"
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        self.environment = {**os.environ, **threads, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        self.settings = Settings(store=str(self.store), cache_dir=cache)
        self.process = self._start(str(self.log))

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.crash_driver", str(self.store), str(self.cache), *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None, "text": True, "cwd": ROOT}
        return subprocess.Popen(command, env=self.environment, **pipes)

    def run(self, **job: object) -> int:
        """The exit code of a job: 0, or -9 where it was killed."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        assert code in (0, -9), f"the job ended with {code}; its last words are above"
        return code

    def searching(self, collection: str) -> subprocess.Popen[str]:
        return self._start("--search", collection, *QUERIES)

    def encoded(self) -> int:
        """Texts that models have read since this was asked last."""
        counts = [int(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sum(counts)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


@pytest.fixture
def driver(tmp_path, model_cache):
    made = Driver(tmp_path, model_cache)
    yield made
    made.close()


def write(file: Path, version: int) -> str:
    """About 300 documents, a third of several chunks. Each version changes some, drops some and has new ones."""
    rows = []
    for n in range(10 * version, 300 + 10 * version):
        made = random.Random(f"{n} {version if n % 5 == 0 else 0}")
        words = made.choices(WORDS, k=made.choice([8, 12, 18, 60, 120]))
        text = " ".join([*words, f"number{n}"])
        rows.append({"_id": f"d{n}", "text": text, "metadata": {"year": 1900 + n % 50}})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def killed_often(driver: Driver, job: dict[str, object], kills: int, seed: int, most_steps: int, most_s: float) -> int:
    """Run a job again and again, killing it at random points; how often it was killed before it came to its end."""
    made = random.Random(seed)
    done = 0
    while done < kills:
        point = (
            {"kill_step": made.randint(1, most_steps)}
            if made.random() < 0.7
            else {"kill_after": made.uniform(0.01, most_s)}
        )
        if driver.run(**job, **point) == 0:
            return done
        done += 1
    return done


def contents(settings: Settings, name: str) -> dict[str, tuple[dict, dict]]:
    """By chunk_id the payload and the vectors of every chunk that readers see; fails where one is there twice."""
    store = EdgeStore(settings.store)
    reader = store.reader(name)
    writer = store.writer(name, store.manifest(name))
    try:
        payloads = list(writer.iter_payloads())
        ids = [payload["chunk_id"] for payload in payloads]
        assert len(set(ids)) == len(ids)
        seen = reader.payloads(ids)
        assert seen == {payload["chunk_id"]: payload for payload in payloads}
        assert reader.info().points == len(ids)
        legs = {leg: reader.vectors(leg, ids) for leg in reader.manifest.legs}
        return {id: (seen[id], {leg: legs[leg].get(id) for leg in legs}) for id in ids}
    finally:
        writer.close()
        reader.close()


def answers(settings: Settings, name: str) -> list[list[str]]:
    with Searcher.open(name, settings=settings) as searcher:
        return [[hit.doc_id for hit in results] for results in searcher.search_many(QUERIES, k=10)]


def assert_same(found: dict, expected: dict, tolerance: float = 0.0) -> None:
    assert sorted(found) == sorted(expected)
    for chunk_id, (payload, vectors) in expected.items():
        # Which line of which version a document was read from depends on where the jobs were killed.
        assert {**found[chunk_id][0], "origin": ""} == {**payload, "origin": ""}
        for leg, vector in vectors.items():
            mine = found[chunk_id][1][leg]
            if tolerance:
                assert close(mine, vector, tolerance), (chunk_id, leg)
            else:
                assert mine == vector if isinstance(vector, SparseVector) else np.array_equal(mine, vector)


def close(one: object, other: object, tolerance: float) -> bool:
    if isinstance(one, SparseVector) and isinstance(other, SparseVector):
        lengths = one.dot(one) * other.dot(other)
        return one.dot(other) >= (1 - tolerance) * lengths**0.5
    return bool(np.allclose(one, other, atol=tolerance))


def test_thirty_kills_lose_nothing_and_double_nothing(driver, tmp_path, fakes):
    """The source changes twice, once while a job on it is unfinished; everything else is the same command again."""
    kills, undisturbed = 0, 0
    for version in range(3):
        source = write(tmp_path / "corpus.jsonl", version)
        assert driver.run(collection="whole", models=FAKE, source=source, prune=True) == 0
        undisturbed += driver.encoded()
    for version in range(3):
        source = write(tmp_path / "corpus.jsonl", version)
        job = {"collection": "c", "models": FAKE, "source": source, "prune": True}
        kills += killed_often(driver, job, 14, seed=version, most_steps=240, most_s=0.8)
        if version != 1:
            assert driver.run(**job) == 0
    for seed in range(100, 200):  # where an unlucky seed let a job end early; each asks anew, with points of its own
        if kills >= 30:
            break
        kills += killed_often(driver, {**job, "prune": False}, 30 - kills, seed=seed, most_steps=20, most_s=0.1)
    assert kills >= 30
    assert driver.run(**job) == 0
    encoded = driver.encoded()
    assert_same(contents(driver.settings, "c"), contents(driver.settings, "whole"))
    assert answers(driver.settings, "c") == answers(driver.settings, "whole")
    assert encoded <= undisturbed + kills * BATCH
    assert driver.run(**job) == 0
    assert driver.encoded() == 0


class Replaced(NamedTuple):
    """What came of a replacement that was killed, while another process searched."""

    kills: int
    before: list[list[str]]
    midway: list[list[str]]
    after: list[list[str]]
    wanted: list[list[str]]
    seen: list[list[list[str]]]
    found: dict
    expected: dict
    encoded: int
    undisturbed: int


@pytest.fixture(scope="module")
def replaced(tmp_path_factory, model_cache):
    """A collection that is replaced by a job which is killed ten times."""
    folder = tmp_path_factory.mktemp("replaced")
    old, new = write(folder / "old.jsonl", 0), write(folder / "new.jsonl", 5)
    models = {**FAKE, "chunk_tokens": 32}
    driver = Driver(folder, model_cache)
    with pytest.MonkeyPatch.context() as patch:
        with_fakes(patch)
        assert driver.run(collection="whole", models=models, source=new) == 0
        undisturbed = driver.encoded()
        assert driver.run(collection="c", models=FAKE, source=old) == 0
        driver.encoded()
        before, wanted = answers(driver.settings, "c"), answers(driver.settings, "whole")
        searching = driver.searching("c")
        try:
            assert json.loads(searching.stdout.readline()) == before
            job = {"collection": "c", "models": models, "source": new, "replace": True}
            kills = killed_often(driver, job, 10, seed=7, most_steps=120, most_s=0.5)
            midway = answers(driver.settings, "c")
            assert driver.run(**job) == 0
        finally:
            told, _ = searching.communicate(timeout=60)
        assert searching.returncode == 0
        seen, after = [json.loads(line) for line in told.splitlines()], answers(driver.settings, "c")
        contained = [contents(driver.settings, name) for name in ("c", "whole")]
        yield Replaced(kills, before, midway, after, wanted, seen, *contained, driver.encoded(), undisturbed)
        driver.close()


def test_a_replacement_killed_ten_times_while_another_process_searches(replaced):
    """It never fails, and sees all of the old collection or all of the new one."""
    assert replaced.kills == 10
    assert replaced.midway == replaced.before != replaced.wanted
    assert len(replaced.seen) > 10
    assert all(found in (replaced.before, replaced.wanted) for found in replaced.seen)
    assert_same(replaced.found, replaced.expected)
    assert replaced.after == replaced.wanted


def test_a_replacement_goes_on_where_it_was_killed(replaced):
    encoded, most = replaced.encoded, replaced.undisturbed + replaced.kills * BATCH
    assert encoded <= most


@pytest.mark.slow
@pytest.mark.shared
def test_thirty_kills_on_real_texts_and_a_real_model(driver, shared_collections, bundled):
    sources = [shared_collections / "cranfield", ROOT / "datasets" / "movies"]
    models = {"profile": "bundled"}
    for source in sources:
        name = source.name
        job = {"models": models, "source": [str(source)]}
        assert driver.run(collection=f"{name}-whole", **job) == 0
        undisturbed = driver.encoded()
        job["collection"] = name
        kills = killed_often(driver, job, 30, seed=11, most_steps=120, most_s=8.0)
        restarts = 0
        while kills < 30:  # it came to its end: once more from the beginning
            restarts += 1
            shutil.rmtree(driver.store / name)
            kills += killed_often(driver, job, 30 - kills, seed=100 + restarts, most_steps=60, most_s=4.0)
        assert driver.run(**job) == 0
        assert driver.encoded() <= (1 + restarts) * undisturbed + kills * BATCH
        assert_same(contents(driver.settings, name), contents(driver.settings, f"{name}-whole"), tolerance=1e-3)
        assert answers(driver.settings, name) == answers(driver.settings, f"{name}-whole")
