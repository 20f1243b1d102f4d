"""A collection leaves for another engine: what is in the files, what is lost, and that a job cut short goes on."""

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.corpus.query_vectors import read_query_vectors
from hybrid_search.corpus.trec import read_queries
from hybrid_search.errors import EvaluationError, InvalidArgument, StoreError, StoreFull
from hybrid_search.indexer import Indexer
from hybrid_search.interop.export import folder, run
from hybrid_search.interop.export.escaping import LUCENE_BLANKS, escaper, export_id, stored_id, unescape
from hybrid_search.interop.export.folder import Tally, export_folder
from hybrid_search.interop.export.job import ExportOptions
from hybrid_search.interop.export.quantization import quantization, quantized
from hybrid_search.interop.export.run import export_collection
from hybrid_search.interop.export.source import open_source
from hybrid_search.interop.export.verify import nine_bits, rank_documents
from hybrid_search.interop.import_anserini import import_anserini
from hybrid_search.search.open_collection import inverse_frequencies
from hybrid_search.search.weighted_query import WeightedQuery
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document
from tests import fake_models
from tests.interop.conftest import words

IDF = {"sparse": "fake/both-idf", "dense": "fake/both-idf", "legs": ("sparse", "dense", "bm25")}


def documents():
    """Some of one chunk, some of several, one without a word, one whose id has a blank, two that could be confused."""
    found = [Document(f"d{n}", words(4 + 7 * (n % 6), n), title=words(1, n + 99)) for n in range(30)]
    return [
        *found[:-1],
        Document("no words", "漢字 … !"),
        Document("d5#1", words(5, 1)),
        Document("my notes 100%25.md", words(9, 2)),
    ]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def exported(settings, out, name="c", **options):
    return export_collection(name, "anserini", out, settings=settings, options=ExportOptions(**options))


def contents_of(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


class TestAnserini:
    def test_every_chunk_is_a_line_of_whole_numbers_and_no_id_stands_twice(self, collection, tmp_path):
        report = exported(collection, tmp_path / "out")
        rows = [row for file in sorted((tmp_path / "out" / "documents").iterdir()) for row in lines(file)]
        ids = [row["id"] for row in rows]
        assert len(set(ids)) == len(ids) == report["chunks"] > len(documents())
        assert {"d0", "d5#1", "d5%231", "no%20words", "my%20notes%20100%2525.md"} <= set(ids)
        assert {stored_id(name).rpartition("#")[0] for name in ids} == {document.doc_id for document in documents()}
        weights = [weight for row in rows for weight in row["vector"].values()]
        assert all(type(weight) is int and weight > 0 for weight in weights)
        assert max(weights) == 255
        assert next(row for row in rows if row["id"] == "no%20words")["vector"] == {}
        assert (report["chunks_without_terms"], report["named"]["chunks_without_terms"]) == (1, ["no%20words"])
        contents = {row["id"]: row["contents"] for row in rows}
        assert contents["d0"] == f"{documents()[0].title}\n{documents()[0].text}"

    def test_both_topics_say_the_same_and_what_a_query_loses_is_counted(self, collection, queries, tmp_path):
        report = exported(collection, tmp_path / "out", queries=queries, verify=True)
        tsv = dict(line.split("\t") for line in (tmp_path / "out" / "topics.tsv").read_text().splitlines())
        assert tsv == {row["id"]: row["title"] for row in lines(tmp_path / "out" / "topics.jsonl")}
        assert "q%203" in tsv
        vectors = {row["id"]: row["vector"] for row in lines(tmp_path / "out" / "queries.jsonl")}
        counted = {
            name: {token: tokens.split().count(token) for token in tokens.split()} for name, tokens in tsv.items()
        }
        assert counted == {name: vector for name, vector in vectors.items() if vector}
        assert max(max(vector.values()) for vector in vectors.values() if vector) == 255
        assert report["lost"]["query_weights_of_terms_that_no_document_has"] == 1
        assert report["named"]["queries_without_terms"] == ["q12"]
        assert report["verify"]["queries"] == report["queries"] == 13

    def test_exported_queries_find_what_their_texts_do(self, settings, queries, tmp_path):
        """Though the store multiplies the inverse document frequency in, which they have already."""
        Indexer.open("c", settings=settings, profile="bundled", chunk_tokens=32).index(documents())
        exported(settings, tmp_path / "out", queries=queries, quantize="none")
        texts = {query.query_id: query.text for query in read_queries(queries)}
        found = list(read_query_vectors(tmp_path / "out" / "queries.jsonl"))
        assert {query.query_id for query in found if query.has_idf} == texts.keys() - {"q12"}
        with Searcher.open("c", settings=settings) as searcher:
            asked = [WeightedQuery("", query.weights, query.has_idf) for query in found]
            for query, results in zip(found, searcher.search_many(asked, mode="sparse"), strict=True):
                by_text = searcher.search(texts[query.query_id], mode="sparse")
                assert [hit.doc_id for hit in results] == [hit.doc_id for hit in by_text]
                assert [hit.score for hit in results] == pytest.approx([hit.score for hit in by_text], rel=1e-4)

    @pytest.mark.parametrize("profile", ["bundled", "qdrant/bm25-engine"])
    def test_what_comes_back_is_found_as_before(self, settings, queries, tmp_path, profile):
        """By the text of a query, also where dimensions are hashes of words."""
        models = {"profile": profile} if profile == "bundled" else {"sparse": profile, "dense": "none"}
        Indexer.open("c", settings=settings, chunk_tokens=32, **models).index(documents())
        exported(settings, tmp_path / "out", quantize="none")
        import_anserini("back", [tmp_path / "out" / "documents"], settings=settings)
        with Searcher.open("c", settings=settings) as ours, Searcher.open("back", settings=settings) as theirs:
            for query in read_queries(queries)[:-1]:
                one, other = (searcher.search(query.text, mode="sparse", k=30) for searcher in (ours, theirs))
                assert [hit.doc_id for hit in one] == [hit.doc_id for hit in other]
                assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], rel=1e-6)
                assert len(one) > 3

    @pytest.mark.parametrize("idf", ["queries", "documents"])
    def test_floats_rank_as_the_store_does_and_eight_bits_nearly(self, collection, queries, tmp_path, idf):
        exact = exported(collection, tmp_path / "a", queries=queries, verify=True, quantize="none", idf=idf)
        assert exact["verify"] | {"queries": 0} == {"queries": 0, "overlap@10": 1.0, "worst": 1.0, "perfect": 13}
        rough = exported(collection, tmp_path / "b", queries=queries, verify=True, idf=idf)
        assert rough["verify"]["overlap@10"] > 0.95
        coarse = exported(collection, tmp_path / "c", queries=queries, verify=True, quantize="0.2", idf=idf)
        assert coarse["verify"]["overlap@10"] < 0.9
        assert any(kind.endswith("weights_that_became_0") for kind in coarse["lost"])

    def test_a_word_that_lucene_would_split_is_escaped_and_one_it_would_cut_is_left_out(
        self, settings, fakes, tmp_path, monkeypatch
    ):
        names = dict.fromkeys(range(1 << 16), "x" * 256)
        model = fake_models.FakeSparse(fake_models.FAKE_CARDS[2])
        for word, name in (("river", "wi fi"), ("stone", "100%25"), ("apple", "ä.[b]"), ("cloud", "a\u3000b")):
            names[model.number(word)] = name
        monkeypatch.setattr(fake_models.FakeModel, "terms", lambda self, found: [names[number] for number in found])
        Indexer.open("c", settings=settings, sparse="fake/sparse", dense="none").index(
            [Document("a", "river stone apple cloud winter")]
        )
        report = exported(settings, tmp_path / "out", quantize="splade")
        [row] = lines(tmp_path / "out" / "documents" / "part-00000.jsonl")
        assert row["vector"] == {"wi%20fi": 600, "100%2525": 600, "ä.[b]": 600, "a%E3%80%80b": 600}
        assert {unescape(token) for token in row["vector"]} == {"wi fi", "100%25", "ä.[b]", "a\u3000b"}
        assert (report["lost"]["document_terms_escaped"], report["lost"]["document_terms_too_long"]) == (3, 1)

    def test_two_entries_of_a_vocabulary_with_one_name_stay_two(self, settings, fakes, queries, tmp_path, monkeypatch):
        """As RoBERTa's with and without a blank before them."""
        monkeypatch.setattr(fake_models.FakeModel, "terms", lambda self, found: [f"t{number % 3}" for number in found])
        Indexer.open("c", settings=settings, **IDF).index(documents())
        report = exported(settings, tmp_path / "out", queries=queries, verify=True, quantize="none")
        assert report["verify"]["overlap@10"] == 1.0
        rows = [row for file in (tmp_path / "out" / "documents").iterdir() for row in lines(file)]
        assert sum(len(row["vector"]) for row in rows) == report["weights"]
        assert len({token for row in rows for token in row["vector"]}) == report["terms"] > 3

    def test_large_files_are_cut_between_lines(self, collection, tmp_path):
        exported(collection, tmp_path / "whole")
        exported(collection, tmp_path / "cut", part_bytes=3_000)
        whole, cut = ((tmp_path / name / "documents").iterdir() for name in ("whole", "cut"))
        parts = [file.read_bytes() for file in sorted(cut)]
        assert len(parts) > 3
        assert max(map(len, parts)) <= 3_000
        assert b"".join(parts) == b"".join(file.read_bytes() for file in whole)

    def test_a_collection_without_documents_that_have_words_leaves_too(self, settings, fakes, queries, tmp_path):
        Indexer.open("c", settings=settings, **IDF).index([Document("a", "漢字 … !")])
        report = exported(settings, tmp_path / "out", queries=queries, verify=True)
        assert (report["chunks"], report["chunks_without_terms"], report["weights"]) == (1, 1, 0)
        assert report["lost"]["queries_without_terms"] == 13


class TestSource:
    def test_the_inverse_document_frequency_is_the_stores_own(self, collection):
        source = open_source("c", collection)
        for leg in ("sparse", "bm25"):
            source = open_source("c", collection, leg=leg)
            dimensions = source.statistics.dimensions
            theirs = inverse_frequencies(source.reader, leg, dimensions.tolist())
            assert source.statistics.idf(dimensions) == pytest.approx(
                [theirs[number] for number in dimensions.tolist()]
            )
            assert source.statistics.frequency(np.array([2**31 - 1])).tolist() == [0]
            source.close()

    def test_the_leg_is_the_sparse_one_and_another_is_refused(self, collection, settings):
        for leg in ("dense", "nowhere"):
            with pytest.raises(InvalidArgument, match=rf"no sparse leg '{leg}'; it has bm25, sparse"):
                open_source("c", collection, leg=leg)
        Indexer.open("d", settings=settings, sparse="none", dense="fake/dense").index([Document("a", "river")])
        with pytest.raises(InvalidArgument, match="it has none"):
            open_source("d", settings)
        Indexer.open("e", settings=settings, legs=("bm25", "dense"), dense="fake/dense").index([Document("a", "river")])
        source = open_source("e", settings)
        assert source.leg == "bm25"
        source.close()


class TestFolder:
    def test_what_is_no_export_is_never_replaced(self, collection, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.tex").write_text("years of work")
        (tmp_path / "file").write_text("")
        for path, why in (("full", "is not empty"), ("file", "is a file"), ("no/where", "There is no folder")):
            with pytest.raises(InvalidArgument, match=why):
                exported(collection, tmp_path / path)
        assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"

    def test_an_export_replaces_an_earlier_one_whole(self, collection, queries, tmp_path):
        exported(collection, tmp_path / "out", queries=queries, part_bytes=3_000)
        exported(collection, tmp_path / "out")
        assert sorted(map(str, contents_of(tmp_path / "out"))) == [
            "README.md",
            "documents/part-00000.jsonl",
            "report.json",
        ]
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]

    @pytest.mark.parametrize("at", range(1, 9))
    def test_cut_short_at_any_file_it_goes_on_and_writes_the_same(self, collection, queries, tmp_path, monkeypatch, at):
        options = {"queries": queries, "part_bytes": 3_000}
        whole = exported(collection, tmp_path / "whole", **options)
        written, write = [], folder.ExportFolder.write

        def failing(self, name, data):
            if len(written) == at:
                raise OSError(errno.EIO, "gone")
            written.append(name)
            write(self, name, data)

        monkeypatch.setattr(folder.ExportFolder, "write", failing)
        with pytest.raises(OSError, match="gone"):
            exported(collection, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
        done = [name for name in written if name.startswith("documents/")]
        written.clear()
        at = -1
        monkeypatch.setattr(folder.ExportFolder, "write", failing)
        assert exported(collection, tmp_path / "out", **options) == whole
        assert not set(done) & set(written)
        assert contents_of(tmp_path / "out") == contents_of(tmp_path / "whole")

    def test_what_was_begun_of_another_content_is_begun_anew(self, collection, settings, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(run, "_report", lambda job: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                exported(collection, tmp_path / "out", part_bytes=3_000)
        begun = len(list((tmp_path / "out.partial" / "documents").iterdir()))
        report = exported(collection, tmp_path / "out", quantize="splade", part_bytes=6_000)
        assert (report["quantize"], begun) > ("splade", len(list((tmp_path / "out" / "documents").iterdir())))
        assert not (tmp_path / "out.partial").exists()

    def test_a_full_disk_says_so_and_leaves_what_was_there(self, collection, tmp_path, monkeypatch):
        exported(collection, tmp_path / "out")
        before = contents_of(tmp_path / "out")

        def full(path, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(folder, "atomic_write", full)
        with pytest.raises(StoreFull, match="No space left"):
            exported(collection, tmp_path / "out", quantize="splade")
        assert contents_of(tmp_path / "out") == before

    def test_counts_of_a_begun_job_go_on_with_its_files(self, tmp_path):
        def job(stop):
            with export_folder(tmp_path / "out", {"a": 1}) as made:

                def line_of(number):
                    if number == stop:
                        raise KeyboardInterrupt
                    made.tally.count("odd", str(number))
                    return "x" * 10

                made.write_parts("part-{}", range(20), line_of, part_bytes=33)
                return made.tally

        with pytest.raises(KeyboardInterrupt):
            job(8)
        assert job(-1) == Tally({"odd": 20}, {"odd": tuple(map(str, range(20)))})


class TestRefusals:
    @pytest.mark.parametrize("name", ["7bit", "0", "-1", "nan", "inf", ""])
    def test_a_quantization_that_is_none(self, collection, tmp_path, name):
        with pytest.raises(InvalidArgument, match="quantize is"):
            exported(collection, tmp_path / "out", quantize=name)

    def test_other_options(self, collection, tmp_path):
        with pytest.raises(InvalidArgument, match="idf is 'both'"):
            exported(collection, tmp_path / "out", idf="both")
        with pytest.raises(InvalidArgument, match="there are none"):
            exported(collection, tmp_path / "out", verify=True)
        with pytest.raises(InvalidArgument, match="no export format 'lucene'"):
            export_collection("c", "lucene", tmp_path / "out", settings=collection)
        with pytest.raises(InvalidArgument, match="above 2\\^31"):
            exported(collection, tmp_path / "out", quantize="1e9")

    @pytest.mark.parametrize("row", ["{", '{"_id": "a"}', '{"_id": "a", "text": "river"}\n{"_id": "a", "text": "b"}'])
    def test_queries_that_cannot_be_read(self, collection, tmp_path, row):
        (tmp_path / "queries.jsonl").write_text(row)
        with pytest.raises(EvaluationError, match="queries"):
            exported(collection, tmp_path / "out", queries=tmp_path / "queries.jsonl")
        with pytest.raises(EvaluationError):
            exported(collection, tmp_path / "out", queries=tmp_path / "nowhere.jsonl")
        assert not (tmp_path / "out").exists()

    def test_a_document_that_is_being_written(self, collection, tmp_path, monkeypatch):
        source = open_source("c", collection)
        monkeypatch.setattr(type(source.reader), "payloads", lambda self, names: {})
        with pytest.raises(StoreError, match=r"lacks 'd[0-9]+#0' or is writing"):
            list(source.chunks())
        source.close()


class TestScaling:
    def test_eight_bits_make_the_heaviest_255_on_each_side(self):
        assert quantization("8bit", 2.0, 5.0) == ("8bit", 127.5, 51.0)
        assert quantization("8bit", 0.0, 0.0) == ("8bit", 1.0, 1.0)
        assert quantization("pyserini", 2.0, 5.0) == ("pyserini", 51.2, 51.2)
        assert quantized(np.array([0.004, 0.006, 2.5]), 100).tolist() == [0, 1, 250]

    @given(st.text())
    def test_what_is_escaped_comes_back_and_holds_no_blank(self, token):
        escaped = escaper(LUCENE_BLANKS)(token)
        assert unescape(escaped) == token
        assert not set(escaped) & set(" \t\n\r\u2003\u3000")

    @given(st.lists(st.tuples(st.text(min_size=1), st.integers(0, 3), st.integers(1, 3)), unique=True))
    def test_ids_differ_and_come_back(self, chunks):
        real = [(doc_id, number, count) for doc_id, number, count in chunks if number < count]
        ids = [export_id(*chunk) for chunk in real]
        assert [stored_id(name) for name in ids] == [f"{doc_id}#{number}" for doc_id, number, _ in real]
        assert all(not set(name) & set(" \t\n\r\u2028") for name in ids)

    def test_a_feature_of_lucene_keeps_nine_bits(self):
        weights = np.float32([1, 255, 0.1, 1e-30, 3.14159])
        kept = nine_bits(weights)
        assert (kept <= weights).all()
        assert ((weights - kept) / weights < 2**-8).all()
        assert kept[1] == 255
        assert nine_bits(np.float32([257.5])).tolist() == [257.0]

    def test_ten_are_ranked_and_those_that_tie(self):
        held = [(f"d{n}", {"a": 1.0 if n > 3 else 5.0 - n}) for n in range(2_000)]
        [first, second, nothing] = rank_documents([{"a": 2.0}, {"b": 1.0, "a": 0.0}, {}], held)
        assert list(first[:4]) == [("d0", 10.0), ("d1", 8.0), ("d2", 6.0), ("d3", 4.0)]
        assert len(first) == 2_000
        assert second == nothing == []


DRIVER = """
import sys, time
from hybrid_search.interop.export import folder
write = folder.ExportFolder.write
def slow(self, name, data):
    write(self, name, data)
    print(name, flush=True)
    time.sleep(0.05)
folder.ExportFolder.write = slow
from hybrid_search.interop.export.job import ExportOptions
from hybrid_search.interop.export.run import export_collection
export_collection("c", "anserini", sys.argv[2], store=sys.argv[1], options=ExportOptions(part_bytes=600))
"""


def test_a_killed_export_leaves_nothing_by_its_name_and_goes_on(settings, tmp_path):
    Indexer.open("c", settings=settings, sparse="qdrant/bm25-engine", dense="none", chunk_tokens=16).index(documents())
    command = [sys.executable, "-c", DRIVER, settings.store, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        for _ in range(4):
            job.stdout.readline()
        job.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    begun = {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "out.partial" / "documents").glob("part-*.jsonl")
    }
    options = {"part_bytes": 600}
    report = exported(settings, tmp_path / "out", **options)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "documents").iterdir()}
    assert len(after) > len(begun) >= 4
    kept = [name for name in begun if after[name] == begun[name]]
    assert len(kept) >= 3
    rows = [row for file in sorted((tmp_path / "out" / "documents").iterdir()) for row in lines(file)]
    assert len({row["id"] for row in rows}) == report["chunks"]
