"""Documents that are expanded: sparse legs find them by words that their texts lack, and nothing else changes."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from hybrid_search import Document, Indexer, Searcher
from hybrid_search.collection.expansion import ExpandWith
from hybrid_search.errors import CorpusError, InvalidArgument, ManifestMismatch
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.indexing.progress import Expanded
from hybrid_search.manifest import EXPANDED, Expansion, LegSpec, Manifest
from hybrid_search.store.edge.store import EdgeStore

DOCUMENTS = [
    Document("tea", "Leaves are steeped in hot water.", "Tea"),
    Document("coffee", "Roasted beans are ground and brewed."),
    Document("bread", "Flour and water are kneaded, then baked."),
]
ROWS = [
    {"id": "tea", "predicted_queries": ["how is chai prepared", "what is a samovar"]},
    {"id": "coffee", "predicted_queries": ["espresso recipe"]},
    {"id": "nobody", "predicted_queries": ["who asks this"]},
]
LEGS = ["sparse", "dense", "bm25"]


@pytest.fixture
def expansions(jsonl):
    return jsonl(ROWS, "expansions.jsonl")


def indexer(settings, name="drinks", **options):
    return Indexer.open(name, settings=settings, **{"profile": "bundled", "legs": LEGS, **options})


def fake_indexer(settings, name="drinks", sparse="fake/both", dense="fake/both", **options):
    return Indexer.open(name, settings=settings, sparse=sparse, dense=dense, **options)


def found(settings, query, mode, name="drinks"):
    with closing(Searcher.open(name, settings=settings)) as searcher:
        return [hit.doc_id for hit in searcher.search(query, mode=mode)]


def stored(settings, leg, name="drinks"):
    """The vectors of a leg, and all payloads, by chunk."""
    with closing(EdgeStore(settings.store).reader(name)) as reader:
        chunk_ids = [f"{doc_id}#{n}" for doc_id in reader.doc_ids() for n in range(20)]
        return reader.vectors(leg, chunk_ids), reader.payloads(chunk_ids)


def test_sparse_legs_find_what_only_the_expansion_says_and_nothing_else_changes(settings, bundled, expansions):
    report = indexer(settings, expand_with=expansions).index(DOCUMENTS)
    indexer(settings, "plain").index(DOCUMENTS)
    assert report.expanded == Expanded(2, 1, 1, ("bread",), ("nobody",))
    assert (report.documents, report.failed) == (3, 0)
    for mode in ("sparse", "bm25"):
        assert found(settings, "samovar", mode)[:1] == ["tea"], mode
    assert found(settings, "espresso", "bm25") == ["coffee"]
    assert found(settings, "espresso samovar", "bm25", "plain") == []

    (dense, payloads), (plain, plain_payloads) = stored(settings, "dense"), stored(settings, "dense", "plain")
    assert dense.keys() == plain.keys()
    assert len(dense) == 3
    for chunk_id, vector in dense.items():
        assert vector.tobytes() == plain[chunk_id].tobytes()
    assert "samovar" not in json.dumps(payloads)
    for chunk_id, payload in payloads.items():
        assert {**payload, "stamp": ""} == {**plain_payloads[chunk_id], "stamp": ""}

    sparse, plain_sparse = stored(settings, "sparse")[0], stored(settings, "sparse", "plain")[0]
    assert sparse["bread#0"] == plain_sparse["bread#0"]  # it has no expansion
    assert set(plain_sparse["tea#0"].indices) < set(sparse["tea#0"].indices)
    with closing(Searcher.open("drinks", settings=settings)) as searcher:
        (hit,) = searcher.search("samovar", mode="bm25", explain=True)
        assert hit.passages[0].text == DOCUMENTS[0].text
        assert [term.leg for term in hit.matched_terms] == ["bm25"]


def test_a_hybrid_model_reads_the_plain_texts_once_and_the_expanded_ones_again(settings, fakes, expansions):
    fake_indexer(settings, expand_with=expansions).index(DOCUMENTS)
    assert fakes.calls("both") == [("documents", 3), ("documents", 2)]
    fake_indexer(settings, "plain").index(DOCUMENTS)
    assert fakes.calls("both") == [("documents", 3)]
    for chunk_id, vector in stored(settings, "dense")[0].items():
        np.testing.assert_array_equal(vector, stored(settings, "dense", "plain")[0][chunk_id])


def test_two_models_read_their_own_text_once(settings, fakes, expansions):
    fake_indexer(settings, sparse="fake/sparse", dense="fake/dense", expand_with=expansions).index(DOCUMENTS)
    assert fakes.calls("sparse") == fakes.calls("dense") == [("documents", 3)]
    assert found(settings, "samovar", "sparse") == ["tea"]


def test_each_chunk_of_a_document_is_expanded_and_the_end_is_cut(settings, fakes, jsonl):
    file = jsonl([{"id": "long", "terms": ["samovar", *(f"word{n}" for n in range(60))]}])
    long = Document("long", " ".join(f"leaf{n}." for n in range(100)))
    options = {"sparse": "fake/sparse", "dense": "fake/dense", "chunk_tokens": 40}
    report = fake_indexer(settings, expand_with=file, **options).index([long])
    assert report.chunks > 2
    assert report.expansions_cut == {"sparse": report.chunks}
    assert not any(report.truncated.values())
    with closing(Searcher.open("drinks", settings=settings)) as searcher:
        (hit,) = searcher.search("samovar", mode="sparse")
        assert len(hit.passages) == min(report.chunks, 3)
    assert set(report.unread) == set()


def test_the_mean_length_of_bm25_is_that_of_what_it_reads(settings, bundled, expansions):
    indexer(settings, expand_with=expansions).index(DOCUMENTS)
    indexer(settings, "plain").index(DOCUMENTS)
    manifests = [EdgeStore(settings.store).manifest(name) for name in ("drinks", "plain")]
    expanded, plain = (manifest.legs["bm25"].average_tokens for manifest in manifests)
    assert expanded > plain + 1


# ---------------------------------------------------------------- the manifest

OLD = Manifest("custom", {"sparse": LegSpec("m", "f" * 32)}, 128, 8, "2026-01-01T00:00:00Z", roots={})


def test_a_manifest_without_an_expansion_is_what_it_was():
    assert OLD.fingerprint() == "47169e037d0000e524c8e81b4745a012"
    assert "expansion" not in OLD.to_dict()
    assert Manifest.from_dict(OLD.to_dict()) == OLD


def test_the_fingerprint_tells_expansions_apart_but_not_where_a_file_lies():
    made = [Expansion("a", "1"), Expansion("a", "2"), Expansion("a", "1", 5, 64, 10), Expansion("a", "1", 6, 64, 10)]
    manifests = [OLD, *(replace(OLD, expansion=each) for each in made)]
    assert len({manifest.fingerprint() for manifest in manifests}) == 5
    assert replace(OLD, expansion=Expansion("b", "1")).fingerprint() == manifests[1].fingerprint()
    for manifest in manifests:
        assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_indexing_again_goes_on_with_the_same_expansions(settings, fakes, expansions, tmp_path):
    fake_indexer(settings, expand_with=expansions).index(DOCUMENTS)
    assert EdgeStore(settings.store).manifest("drinks").schema == EXPANDED
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(expansions.read_bytes())
    for options in ({}, {"expand_with": expansions}, {"expand_with": str(moved)}):
        again = Indexer.open("drinks", settings=settings, **options)
        for report in (again.index(DOCUMENTS), again.index(DOCUMENTS)):  # as --watch does
            assert (report.documents, report.unchanged) == (0, 3)
            assert report.expanded.without_ids == ("bread",)
    expansions.unlink()
    report = Indexer.open("drinks", settings=settings, expand_with=moved).index(
        [*DOCUMENTS, Document("nobody", "Somebody after all.")]
    )
    assert (report.documents, report.expanded.unused) == (1, 0)
    assert found(settings, "asks", "sparse") == ["nobody"]


def test_other_expansions_than_the_collection_has_are_refused(settings, fakes, expansions, jsonl):
    other = jsonl(ROWS[:1], "other.jsonl")
    fake_indexer(settings, expand_with=expansions).index(DOCUMENTS)
    fake_indexer(settings, "plain").index(DOCUMENTS)
    with pytest.raises(ManifestMismatch, match=r"the expansion .*expansions.jsonl \(\w{12}\), not with .*other.jsonl"):
        Indexer.open("drinks", settings=settings, expand_with=other).index(DOCUMENTS)
    with pytest.raises(ManifestMismatch, match=r"the expansion none, not with .*other.jsonl.*--replace"):
        Indexer.open("plain", settings=settings, expand_with=other).index(DOCUMENTS)
    with expansions.open("a", encoding="utf-8") as file:
        file.write('{"id": "bread", "terms": "crust"}\n')
    with pytest.raises(ManifestMismatch, match="Name the file or model that it was built with"):
        Indexer.open("drinks", settings=settings).index(DOCUMENTS)
    expansions.unlink()
    with pytest.raises(ManifestMismatch, match=r"that file is not there\. Name the file where it lies now"):
        Indexer.open("drinks", settings=settings).index(DOCUMENTS)
    assert found(settings, "samovar", "sparse") == ["tea"]  # searching needs no file


def test_a_rebuild_takes_others_and_encodes_anew(settings, fakes, expansions, jsonl):
    other = jsonl([{"id": "bread", "terms": "crust"}], "other.jsonl")
    fake_indexer(settings, expand_with=expansions).index(DOCUMENTS)
    report = fake_indexer(settings, expand_with=other, replace=True).index(DOCUMENTS)
    assert (report.documents, report.unchanged) == (3, 0)
    assert [found(settings, query, "sparse") for query in ("samovar", "crust")] == [[], ["bread"]]
    assert fake_indexer(settings, replace=True).index(DOCUMENTS).documents == 3
    assert found(settings, "crust", "sparse") == []


def test_a_build_that_was_cut_short_goes_on_only_with_its_expansions(settings, fakes, expansions, jsonl):
    fakes.stop_after = 1
    many = [*DOCUMENTS, *(Document(f"d{n}", f"word{n} " * 40) for n in range(400))]
    with pytest.raises(KeyboardInterrupt):
        fake_indexer(settings, expand_with=expansions).index(many)
    fakes.stop_after = 10**9
    with pytest.raises(ManifestMismatch, match="the expansion"):
        fake_indexer(settings, expand_with=jsonl(ROWS[:1], "other.jsonl")).index(many)
    report = fake_indexer(settings).index(many)
    assert report.documents + report.unchanged == 403
    assert found(settings, "samovar", "sparse") == ["tea"]


# ---------------------------------------------------------------- other jobs


def test_workers_expand_as_one_process_does(settings, bundled, expansions):
    indexer(settings, expand_with=expansions).index(DOCUMENTS, workers=2)
    indexer(settings, "one", expand_with=expansions).index(DOCUMENTS)
    for leg in LEGS:
        for chunk_id, vector in stored(settings, leg)[0].items():
            other = stored(settings, leg, "one")[0][chunk_id]
            assert vector == other if leg != "dense" else np.allclose(vector, other, atol=1e-5)
    assert found(settings, "samovar", "bm25") == ["tea"]


def test_a_dry_run_counts_the_same_and_writes_nothing(settings, fakes, expansions):
    report = fake_indexer(settings, expand_with=expansions).index(DOCUMENTS, dry_run=True)
    assert report.expanded == Expanded(2, 1, 1, ("bread",), ("nobody",))
    assert report.estimate.sampled == 3
    assert EdgeStore(settings.store).names() == []


def test_a_sparse_leg_that_is_added_later_is_expanded_too(settings, fakes, expansions):
    fake_indexer(settings, expand_with=expansions).index(DOCUMENTS)
    add_leg("drinks", "more", "fake/sparse", settings=settings)
    add_leg("drinks", "words", "qdrant/bm25-engine", settings=settings)
    assert found(settings, "samovar", "more") == found(settings, "samovar", "words") == ["tea"]
    expansions.unlink()
    with pytest.raises(ManifestMismatch, match="--expand-with FILE"):
        add_leg("drinks", "again", "fake/sparse-2", settings=settings)
    add_leg("drinks", "meaning", "fake/dense", settings=settings)  # reads no expansion
    expansions.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    assert Indexer.open("drinks", settings=settings).index(DOCUMENTS).unchanged == 3


def test_an_expansion_that_no_leg_would_read_is_refused(settings, fakes, expansions):
    with pytest.raises(InvalidArgument, match="no sparse leg to read that"):
        fake_indexer(settings, sparse="none", expand_with=expansions).index(DOCUMENTS)
    with pytest.raises(InvalidArgument, match="samples are for a model"):
        fake_indexer(settings, expand_with=ExpandWith(str(expansions), 3)).index(DOCUMENTS)


@pytest.mark.parametrize("name", ["missing.jsonl", "/nowhere/at/all", "./model", "a/b.tsv.gz", "x", ""])
def test_what_is_neither_file_nor_model_is_refused(settings, fakes, name):
    with pytest.raises(CorpusError, match="no file of expansions"):
        fake_indexer(settings, expand_with=name).index(DOCUMENTS)
    assert EdgeStore(settings.store).names() == []


@pytest.mark.parametrize("value", [3, True, ["a.jsonl"], {}])
def test_what_is_no_name_is_refused(settings, value):
    with pytest.raises(InvalidArgument, match=r"expand_with is .*; it must be a path"):
        Indexer.open("c", settings=settings, expand_with=value)


def test_a_broken_file_is_refused_before_anything_is_written(settings, fakes, jsonl):
    file = jsonl([ROWS[0], '{"id": "coffee"', {"id": "bread"}], "broken.jsonl")
    with pytest.raises(
        CorpusError, match=r"2 lines are broken.*broken.jsonl:2: not valid JSON.*broken.jsonl:3: no exp"
    ):
        fake_indexer(settings, expand_with=file).index(DOCUMENTS)
    assert EdgeStore(settings.store).names() == []


def test_a_packed_file_is_read_too(settings, fakes, expansions, tmp_path):
    packed = tmp_path / "expansions.jsonl.gz"
    packed.write_bytes(gzip.compress(expansions.read_bytes()))
    fake_indexer(settings, expand_with=packed).index(DOCUMENTS)
    assert found(settings, "samovar", "sparse") == ["tea"]
