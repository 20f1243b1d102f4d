"""How long a large store takes, and that its files stay as they are."""

import time

import pytest

from hybrid_search.diagnostics.doctor import doctor
from tests.store.store_points import manifest_of, point

CHUNKS = 100_000


@pytest.mark.slow
def test_a_store_of_100_000_chunks_is_read_within_20_seconds(edge_store, settings):
    writer = edge_store.writer("large", manifest_of(idf=True))
    for start in range(0, CHUNKS, 1_000):
        numbers = range(start, start + 1_000)
        writer.upsert(
            [point(f"d{n // 2}", n % 2, chunks=2, metadata={"year": n % 100}, text="text " * 50) for n in numbers]
        )
    writer.publish()
    writer.close()
    before = {file: file.stat().st_mtime_ns for file in edge_store.folder.rglob("*") if file.is_file()}
    started = time.monotonic()
    report = doctor(store=edge_store, settings=settings)
    assert time.monotonic() - started < 20
    assert {file: file.stat().st_mtime_ns for file in edge_store.folder.rglob("*") if file.is_file()} == before
    found = {one.check: one.text for one in report.diagnoses if one.subject == "collection large" and one.state == "ok"}
    assert found["points"] == "100,000 chunks of 50,000 documents, each where it belongs"
