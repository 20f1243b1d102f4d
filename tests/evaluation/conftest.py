"""A small dataset in BEIR form."""

import contextlib
import json

import pytest

from hybrid_search.evaluation import cached_collections, job
from tests import servers

DOCUMENTS = {
    "tap": "A documentary about an English rock band on tour.",
    "drums": "A young drummer at a music school and his cruel teacher.",
    "mozart": "An old composer envies Mozart and his music.",
    "island": "After a plane crash a man lives alone on an island.",
    "mars": "An astronaut is left behind on Mars and grows potatoes.",
    "shark": "A shark hunts swimmers off a holiday beach.",
}
QUERIES = {"q1": "music", "q2": "alone far from home", "q3": "a rock band", "q4": "dangerous fish", "q5": "unjudged"}
QRELS = [("q1", "drums", 1), ("q1", "mozart", 1), ("q1", "tap", 1), ("q2", "island", 2), ("q2", "mars", 1)]
QRELS += [("q3", "tap", 1), ("q4", "shark", 1), ("q4", "not-in-the-corpus", 1)]


if servers.URL:

    @pytest.fixture(autouse=True, params=servers.TRANSPORTS)
    def evaluations(request, monkeypatch):
        """What evaluations build stands on the server under test; gives its store."""
        with servers.under_test(request.param) as url, contextlib.closing(servers.store_of(url)) as store:
            for module in (cached_collections, job):
                monkeypatch.setattr(module, "store_of", lambda settings: store)
            yield store


@pytest.fixture
def dataset(tmp_path):
    """Write a BEIR folder; gives it."""

    def write(name="films", documents=DOCUMENTS, queries=QUERIES, qrels=QRELS):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        for part, rows in (("corpus", documents), ("queries", queries)):
            lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows.items()]
            (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        lines = ["query-id\tcorpus-id\tscore\n", *("\t".join(map(str, row)) + "\n" for row in qrels)]
        (folder / "qrels" / "test.tsv").write_text("".join(lines), encoding="utf-8")
        return folder

    return write
