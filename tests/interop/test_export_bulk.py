"""A collection goes to Elasticsearch and OpenSearch: every file is held to the rules that the engines publish."""

import errno
import http.server
import json
import math
import re
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from hybrid_search.errors import CorpusError, InvalidArgument, StoreBusy, StoreFull
from hybrid_search.indexer import Indexer
from hybrid_search.interop.export import bulk, folder, opensearch_seismic
from hybrid_search.interop.export.bulk import cut, field_of, read_documents
from hybrid_search.interop.export.folder import ExportFolder, export_folder
from hybrid_search.interop.export.job import ExportOptions
from hybrid_search.interop.export.opensearch import escape_token, unescape_token
from hybrid_search.interop.export.run import export_collection
from hybrid_search.interop.export.source import open_source
from hybrid_search.interop.export.verify import nine_bits
from hybrid_search.interop.import_bulk import import_bulk
from hybrid_search.interop.term_vectors import TermLeg, TermVectors, fill_collection
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document, chunk_id_of
from tests.conftest import ROOT
from tests.interop.conftest import IDF, documents

ODD = [
    "3.5",
    ".",
    "a.b.c",
    "[x]",
    '"q"',
    "%2E",
    "50%",
    "%00",
    "a b",
    "é",
    "漢字",
    "\\",
    "{",
    "tab\t",
    "💡",
    "##ing",
    "-1",
    "*",
]


@pytest.fixture
def odd_words(settings):
    """A collection of one document for each odd word, whose weights are stored with their words."""

    def read():
        for n, word in enumerate(ODD):
            yield TermVectors(
                f"d{n}", f"text {n}", weights={word: 1.0 + n / 7, "common": 0.3, "tiny": 1e-39, "w": n / 3}
            )

    fill_collection("odd", read, TermLeg("terms/words"), settings=settings)
    return settings


def exported(settings, out, format, name="c", **options):
    return export_collection(name, format, out, settings=settings, options=ExportOptions(**options))


# ---------------------------------------------------------------- what the engines publish, checked without our code


def strict(line):
    """Read JSON as the engines do: no key twice, no NaN, no infinity."""

    def plain(pairs):
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    def refused(name):
        raise AssertionError(name)

    return json.loads(line, object_pairs_hook=plain, parse_constant=refused)


def rows(file):
    raw = file.read_bytes()
    assert raw.endswith(b"\n")
    lines = raw.split(b"\n")[:-1]
    assert all(0 < len(line) <= 10 << 20 for line in lines)
    return [strict(line.decode()) for line in lines]


def checked(out, *, dots=True):
    """Return the sources by id, and the mapping's properties, after holding each to the rules."""
    mapping = strict((out / "mapping.json").read_text())
    properties, about = mapping["mappings"]["properties"], mapping["mappings"]["_meta"]["hybrid_search"]
    found = {}
    for file in sorted(out.glob("bulk-*.ndjson")):
        lines = rows(file)
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            assert list(action) == ["index"]
            name = action["index"]["_id"]
            assert len(name.encode()) <= 512
            assert name not in found
            assert set(source) <= set(properties)
            weights = source.get(about["field"], {})
            assert len(weights) <= 32_768
            for token, weight in weights.items():
                assert 1.1754944e-38 <= weight <= 3.4028235e38
                assert weight == float(str(np.float32(weight)))
                assert len(token.encode()) <= 32_766
                assert dots or ("." not in token and token)
            for leg in about["dense"].values():
                assert len(source[leg["field"]]) == leg["dims"]
                assert all(math.isfinite(value) for value in source[leg["field"]])
            found[name] = source
    return found, properties


def score(query, source):
    """Return what an engine that keeps nine bits adds up for a query."""
    if "match_none" in query:
        return 0.0
    if "sparse_vector" in query:
        asked = query["sparse_vector"]
        assert asked["prune"] is False
        field, weights = asked["field"], asked["query_vector"]
    elif "neural_sparse" in query:
        [(field, asked)] = query["neural_sparse"].items()
        weights = asked["query_tokens"]
    else:
        clauses = [clause["rank_feature"] for clause in query["bool"]["should"]]
        assert len(clauses) <= 1024
        assert all(clause["linear"] == {} for clause in clauses)
        field = clauses[0]["field"].split(".")[0]
        assert all(clause["field"].count(".") == 1 for clause in clauses)
        weights = {clause["field"].split(".")[1]: clause["boost"] for clause in clauses}
    held = source.get(field, {})
    kept = dict(zip(held, nine_bits(np.array(list(held.values()), np.float32)).tolist(), strict=True))
    return sum(weight * kept.get(token, 0.0) for token, weight in weights.items())


# ---------------------------------------------------------------- files


class TestElasticsearch:
    def test_every_chunk_is_there_with_its_fields_and_vectors(self, collection, queries, tmp_path):
        report = exported(collection, tmp_path / "out", "elasticsearch", queries=queries, verify=True)
        found, properties = checked(tmp_path / "out")
        assert len(found) == report["chunks"] > len(documents())
        assert {"d0", "d5#1", "d5%231", "no%20words", "ü%20100%2525.md"} <= set(found)
        assert properties["sparse"] == {"type": "sparse_vector", "index_options": {"prune": False}}
        assert properties["dense"]["index_options"]["type"] == "hnsw"
        assert (properties["dense"]["dims"], properties["dense"]["similarity"]) == (16, "cosine")
        assert properties["metadata"]["type"] == "flattened"
        assert properties["doc_id"]["type"] == properties["number"]["type"] == properties["origin"]["type"] == "keyword"
        assert "sparse" not in found["no%20words"]
        assert found["d5#1"]["number"] == 1
        assert found["d12"]["metadata"] == {"n": 12}
        assert report["named"]["chunks_without_terms"] == ["no%20words"]
        assert report["verify"]["overlap@10"] > 0.98

    def test_the_meta_says_what_it_is(self, collection, tmp_path):
        exported(collection, tmp_path / "out", "elasticsearch", idf="documents")
        about = bulk.read_about(tmp_path / "out" / "mapping.json")
        assert about["model"] == "fake/both-idf"
        assert (about["leg"], about["field"], about["idf"], about["needs_idf"]) == (
            "sparse",
            "sparse",
            "documents",
            True,
        )
        assert about["dense"]["dense"]["dims"] == 16
        assert about["escaped"] is True

    @pytest.mark.parametrize("idf", ["queries", "documents"])
    def test_requests_rank_as_the_store_does(self, collection, queries, tmp_path, idf):
        exported(collection, tmp_path / "out", "elasticsearch", queries=queries, idf=idf)
        check_ranking(collection, tmp_path / "out", queries)

    def test_hybrid_requests_name_windows_and_neighbours(self, collection, queries, tmp_path):
        exported(collection, tmp_path / "out", "elasticsearch", queries=queries)
        hybrid, linear = (rows(tmp_path / "out" / f"{name}.jsonl") for name in ("hybrid", "linear"))
        assert [line["_id"] for line in hybrid] == [line["_id"] for line in linear]
        assert hybrid[3]["_id"] == "q%203"
        fused = hybrid[0]["body"]["retriever"]["rrf"]
        assert (fused["rank_constant"], fused["rank_window_size"]) == (60, 100)
        assert fused["rank_window_size"] >= hybrid[0]["body"]["size"]
        sparse, dense = fused["retrievers"]
        assert sparse["standard"]["query"]["sparse_vector"]["prune"] is False
        assert dense["knn"]["num_candidates"] >= dense["knn"]["k"] == 100
        assert len(dense["knn"]["query_vector"]) == 16
        added = linear[0]["body"]["retriever"]["linear"]
        assert added["rank_window_size"] == 100
        assert [(part["weight"], part["normalizer"]) for part in added["retrievers"]] == [(1.0, "minmax")] * 2

    def test_a_query_without_words_finds_nothing(self, collection, queries, tmp_path):
        exported(collection, tmp_path / "out", "elasticsearch", queries=queries)
        assert rows(tmp_path / "out" / "queries.jsonl")[-1]["body"]["query"] == {"match_none": {}}

    def test_without_a_dense_leg_there_is_nothing_to_fuse(self, odd_words, tmp_path):
        file = tmp_path / "q.jsonl"
        file.write_text('{"_id": "q", "text": "common w"}\n')
        exported(odd_words, tmp_path / "out", "elasticsearch", "odd", queries=file)
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            *("bulk-00000.ndjson", "mapping.json", "queries.jsonl", "README.md", "report.json")
        }

    def test_odd_words_stay_and_weights_below_normal_numbers_are_counted(self, odd_words, tmp_path):
        report = exported(odd_words, tmp_path / "out", "elasticsearch", "odd")
        found, _ = checked(tmp_path / "out")
        assert {word for source in found.values() for word in source["sparse"]} == {*ODD, "common", "w"}
        assert report["lost"]["document_weights_too_small"] == len(ODD)

    def test_semantic_text_leaves_the_vectors_to_the_engine(self, collection, queries, tmp_path):
        exported(collection, tmp_path / "out", "elasticsearch", queries=queries, semantic_text="my-elser")
        found, properties = checked_texts(tmp_path / "out")
        assert properties["semantic"] == {"type": "semantic_text", "inference_id": "my-elser"}
        assert properties["text"]["copy_to"] == properties["title"]["copy_to"] == "semantic"
        assert not {"sparse", "dense"} & {*properties, *(name for source in found for name in source)}
        asked = rows(tmp_path / "out" / "queries.jsonl")
        assert asked[0]["body"]["query"]["semantic"]["field"] == "semantic"
        assert asked[0]["body"]["query"]["semantic"]["query"].endswith("unheard")
        with pytest.raises(InvalidArgument, match="leaves the vectors to the engine"):
            exported(collection, tmp_path / "o", "elasticsearch", queries=queries, semantic_text="e", verify=True)
        with pytest.raises(CorpusError, match="holds texts alone"):
            import_bulk("back", [tmp_path / "out"], settings=collection)


def checked_texts(out):
    mapping = strict((out / "mapping.json").read_text())["mappings"]
    return rows(out / "bulk-00000.ndjson")[1::2], mapping["properties"]


def check_ranking(settings, out, queries, file="queries.jsonl"):
    """Hold the requests to the store's first ten: each of them scores alike, and no other is better."""
    found, _ = checked(out)
    asked = {line["_id"]: line["body"]["query"] for line in rows(out / file)}
    compared = 0
    with bulk_source(settings) as source:
        names = {f"{row['doc_id']}#{row['number']}": name for name, row in found.items()}
        for row in map(json.loads, queries.read_text().splitlines()):
            [vector] = source.models.encoders["sparse"].encode_queries([row["text"]])
            [ranked] = source.reader.retrieve([("sparse", vector)], 10) if len(vector) else [[]]
            query = asked[row["_id"].replace(" ", "%20")]
            scores = [score(query, found[names[chunk_id]]) for chunk_id, _ in ranked]
            assert scores == pytest.approx([one for _, one in ranked], rel=4e-3)
            best = sorted((score(query, source) for source in found.values()), reverse=True)
            assert best[: len(ranked)] == pytest.approx([one for _, one in ranked], rel=4e-3)
            assert len(ranked) == 10 or not any(best[len(ranked) :])
            compared += len(ranked)
    assert compared > 100


def bulk_source(settings, name="c"):
    return closing(open_source(name, settings))


class TestOpenSearch:
    def test_no_feature_has_a_dot_and_all_are_read_back(self, odd_words, tmp_path):
        report = exported(odd_words, tmp_path / "out", "opensearch", "odd")
        found, properties = checked(tmp_path / "out", dots=False)
        assert properties["sparse"] == {"type": "rank_features"}
        words = {unescape_token(token) for source in found.values() for token in source["sparse"]}
        assert words == {*ODD, "common", "w"}
        assert report["lost"]["document_terms_escaped"] == sum(escape_token(word) != word for word in ODD)

    def test_escaping_is_reversible_and_never_the_same_twice(self):
        parts = ["", ".", "%", "2E", "00", "25", "2", "%00", "%2E", "%25", "\0", "é", " "]
        words = {a + b + c for a in parts for b in parts for c in parts}
        escaped = {escape_token(word) for word in words}
        assert len(escaped) == len(words)
        assert all(unescape_token(escape_token(word)) == word for word in words)
        assert not any("." in token or not token for token in escaped)

    @pytest.mark.parametrize("file", ["queries.jsonl", "neural.jsonl"])
    def test_both_requests_rank_as_the_store_does(self, collection, queries, tmp_path, file):
        exported(collection, tmp_path / "out", "opensearch", queries=queries)
        check_ranking(collection, tmp_path / "out", queries, file)

    def test_hybrid_requests_come_with_their_pipelines(self, collection, queries, tmp_path):
        exported(collection, tmp_path / "out", "opensearch", queries=queries)
        _, properties = checked(tmp_path / "out", dots=False)
        method = properties["dense"]["method"]
        assert (method["name"], method["engine"], method["space_type"]) == ("hnsw", "lucene", "cosinesimil")
        assert strict((tmp_path / "out" / "mapping.json").read_text())["settings"]["index"]["knn"] is True
        for line in rows(tmp_path / "out" / "hybrid.jsonl"):
            assert 1 <= len(line["body"]["query"]["hybrid"]["queries"]) <= 5
        pipelines = [
            strict((tmp_path / "out" / f"{name}.json").read_text()) for name in ("pipeline", "pipeline-minmax")
        ]
        [[ranked], [scored]] = [pipeline["phase_results_processors"] for pipeline in pipelines]
        assert ranked["score-ranker-processor"]["combination"] == {"technique": "rrf", "rank_constant": 60}
        assert scored["normalization-processor"]["normalization"]["technique"] == "min_max"

    def test_a_query_of_many_words_keeps_the_heaviest_and_the_rest_is_counted(self, settings, tmp_path):
        words = [f"w{n}" for n in range(1500)]
        fill_collection(
            "many",
            lambda: iter([TermVectors("d", "text", weights=dict.fromkeys(words, 1.0))]),
            TermLeg("terms/words"),
            settings=settings,
        )
        file = tmp_path / "q.jsonl"
        asked = " ".join([*words, *words[:700], *words[:10]])
        file.write_text(json.dumps({"_id": "q", "text": asked}) + "\n" + '{"_id": "few", "text": "w1"}\n')
        report = exported(settings, tmp_path / "out", "opensearch", "many", queries=file)
        clauses = rows(tmp_path / "out" / "queries.jsonl")[0]["body"]["query"]["bool"]["should"]
        assert len(clauses) == 1024
        assert {f"sparse.w{n}" for n in range(700)} <= {clause["rank_feature"]["field"] for clause in clauses}
        assert report["lost"]["queries_above_1024_clauses_weights"] == 476
        assert report["named"]["queries_above_1024_clauses"] == ["q"]

    def test_an_unknown_form_is_refused_before_anything_is_written(self, collection, tmp_path):
        with pytest.raises(InvalidArgument, match="form is 'dense'"):
            exported(collection, tmp_path / "out", "opensearch", form="dense")
        assert not list(tmp_path.glob("out*"))


class TestOpenSearchSeismic:
    def test_words_are_numbers_and_no_weight_is_above_its_ceiling(self, collection, queries, tmp_path):
        report = exported(collection, tmp_path / "out", "opensearch", queries=queries, form="seismic", verify=True)
        found, properties = checked(tmp_path / "out")
        method = properties["sparse"]["method"]
        assert (properties["sparse"]["type"], method["name"]) == ("sparse_vector", "seismic")
        ceilings = method["parameters"]
        weights = [weight for source in found.values() for weight in source.get("sparse", {}).values()]
        tokens = {int(token) for source in found.values() for token in source.get("sparse", {})}
        assert all(0 <= token < 32_768 for token in tokens)
        assert max(weights) == ceilings["quantization_ceiling_ingest"]
        asked = [
            line["body"]["query"].get("neural_sparse", {}).get("sparse")
            for line in rows(tmp_path / "out" / "queries.jsonl")
        ]
        asked = [each for each in asked if each]
        assert all(each["method_parameters"]["top_n"] == len(each["query_tokens"]) for each in asked)
        assert max(max(each["query_tokens"].values()) for each in asked) == ceilings["quantization_ceiling_search"]
        assert strict((tmp_path / "out" / "mapping.json").read_text())["settings"]["index"]["sparse"] is True
        assert report["quantization_ceiling_ingest"] == ceilings["quantization_ceiling_ingest"]
        assert report["verify"]["overlap@10"] > 0.98

    def test_large_dimensions_are_numbered_anew_and_their_words_are_listed(self, odd_words, tmp_path):
        report = exported(odd_words, tmp_path / "out", "opensearch", "odd", form="seismic")
        assert report["renumbered"] is True
        found, _ = checked(tmp_path / "out")
        words = {row["token"]: row["term"] for row in rows(tmp_path / "out" / "terms.jsonl")}
        assert set(words) == {str(n) for n in range(len(ODD) + 3)}
        assert [words[token] for token in found["d4"]["sparse"] if words[token] in ODD] == [ODD[4]]

    def test_more_words_than_numbers_are_refused(self, odd_words, tmp_path, monkeypatch):
        monkeypatch.setattr(opensearch_seismic, "MOST_TERMS", 10)
        with pytest.raises(InvalidArgument, match="21 different words; SEISMIC tells 10 apart"):
            exported(odd_words, tmp_path / "out", "opensearch", "odd", form="seismic")
        assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- limits

BOTH = pytest.mark.parametrize("format", ["elasticsearch", "opensearch"])


class TestLimits:
    @BOTH
    def test_an_id_that_is_too_long_is_named_and_nothing_is_written(self, settings, fakes, tmp_path, format):
        fits, long = "é" * 256, "x " * 130 + "end"  # 512 bytes; each blank takes three
        Indexer.open("c", settings=settings, **IDF).index([Document(fits, "river stone")])
        assert exported(settings, tmp_path / "a", format)["chunks"] == 1
        Indexer.open("c", settings=settings, **IDF).index([Document(long, "river stone")])
        with pytest.raises(InvalidArgument, match=r"The id 'x x .*takes 523 bytes"):
            exported(settings, tmp_path / "b", format)
        assert not list(tmp_path.glob("b*"))

    @BOTH
    def test_a_text_above_ten_megabytes_is_cut_at_a_character(self, collection, tmp_path, monkeypatch, format):
        monkeypatch.setattr(bulk, "LONGEST_LINE", 700)
        fill_collection("long", lambda: iter([long_text(), short_text()]), TermLeg("terms/words"), settings=collection)
        report = exported(collection, tmp_path / "out", format, "long")
        lines = (tmp_path / "out" / "bulk-00000.ndjson").read_bytes().split(b"\n")
        assert 690 <= max(map(len, lines)) <= 700
        found, _ = checked(tmp_path / "out")
        assert ("é" * 400).startswith(found["long"]["text"])
        assert found["long"]["sparse"] == {"w": 2.0}
        assert found["short"]["text"] == "é"
        assert (report["lost"]["texts_cut"], report["named"]["texts_cut"]) == (1, ["long"])

    @pytest.mark.parametrize("text", ["", "abc", "äöü", 'q"q"', "\\\\", "💡💡", "\n\t\0"])
    def test_a_cut_text_takes_no_more_bytes_than_there_is_room_for(self, text):
        for size in range(2, 40):
            found = cut(text, size)
            assert text.startswith(found)
            assert len(json.dumps(found, ensure_ascii=False).encode()) <= size
            longer = text[: len(found) + 1]
            assert longer == found or len(json.dumps(longer, ensure_ascii=False).encode()) > size

    @BOTH
    def test_metadata_that_fields_cannot_hold_is_kept_and_counted(self, settings, tmp_path, format):
        deep = {}
        for _ in range(25):
            deep = {"in": deep}
        kept = {
            "long": {"v": "x" * 9000},
            "deep": deep,
            "nul": {"a\0b": 1},
            "list": {"v": ["y" * 9000]},
            "path": {"k" * 900: "💡" * 8000},
        }
        fill_collection(
            "m",
            lambda: (TermVectors(name, "t", metadata=each, weights={"w": 1.0}) for name, each in kept.items()),
            TermLeg("terms/words"),
            settings=settings,
        )
        report = exported(settings, tmp_path / "out", format, "m")
        found, _ = checked(tmp_path / "out")
        assert {name: source["metadata_kept"] for name, source in found.items()} == kept
        assert not any("metadata" in source for source in found.values())
        assert report["lost"]["metadata_that_cannot_be_searched"] == len(kept)

    def test_a_document_of_too_many_words_keeps_the_heaviest(self, settings, tmp_path, monkeypatch):
        monkeypatch.setattr(bulk, "MOST_FEATURES", 5)
        weights = {f"w{n}": 1.0 + n for n in range(9)}
        fill_collection("m", lambda: iter([TermVectors("d", "t", weights=weights)]), settings=settings)
        report = exported(settings, tmp_path / "out", "elasticsearch", "m")
        [(_, kept)] = read_documents(tmp_path / "out")
        assert set(kept) == {"w4", "w5", "w6", "w7", "w8"}
        assert report["lost"]["documents_with_too_many_terms_weights"] == 4

    def test_a_leg_that_is_called_like_another_field_gets_one_of_its_own(self):
        names = {field_of(leg) for leg in (*bulk.FIELDS, "metadata", "sparse", "dense", "text-vector")}
        assert len(names) == len(bulk.FIELDS) + 4
        assert not names & {*bulk.FIELDS, "metadata"}

    def test_vectors_that_are_too_long_are_refused(self, collection, tmp_path, monkeypatch):
        monkeypatch.setattr("hybrid_search.interop.export.elasticsearch.MOST_DIMS", 15)
        with pytest.raises(InvalidArgument, match="leg 'dense' have 16 numbers; Elasticsearch takes 15"):
            exported(collection, tmp_path / "out", "elasticsearch")


def long_text():
    return TermVectors("long", "é" * 400, title="t", weights={"w": 2.0})


def short_text():
    return TermVectors("short", "é", title="t", weights={"w": 2.0})


# ---------------------------------------------------------------- jobs that are cut short, or that meet

FORMS = [("elasticsearch", ""), ("opensearch", ""), ("opensearch", "seismic"), ("vespa", ""), ("seismic", "")]


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


class TestJobs:
    @pytest.mark.parametrize(("format", "form"), FORMS)
    def test_a_job_that_was_cut_short_goes_on_and_ends_alike(
        self, collection, queries, tmp_path, monkeypatch, format, form
    ):
        asked = {"queries": queries, "part_bytes": 4000, "form": form}
        exported(collection, tmp_path / "whole", format, **asked)
        wrote, written = folder.ExportFolder.write, []

        def stop(self, name, data):
            if len(written) == 4:
                raise KeyboardInterrupt
            written.append(name)
            wrote(self, name, data)

        monkeypatch.setattr(ExportFolder, "write", stop)
        if format != "seismic":  # which has fewer files
            with pytest.raises(KeyboardInterrupt):
                exported(collection, tmp_path / "cut", format, **asked)
            assert not (tmp_path / "cut").exists()
            assert [name for name in written if "0000" in name]
            (tmp_path / "cut.partial" / "bulk-00001.ndjson.1a2b3c4d.tmp").write_text("as a kill leaves it")
        written[:] = [""] * 5
        exported(collection, tmp_path / "cut", format, **asked)
        assert not set(written[5:]) & {"bulk-00000.ndjson", "feed-00000.jsonl"} or format == "seismic"
        assert contents(tmp_path / "cut") == contents(tmp_path / "whole")

    @pytest.mark.parametrize("format", ["elasticsearch", "opensearch", "seismic", "vespa"])
    def test_a_full_disk_is_said_and_the_old_export_stays(self, collection, tmp_path, monkeypatch, format):
        exported(collection, tmp_path / "out", format)
        before = contents(tmp_path / "out")

        def full(path, data, **more):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(folder, "atomic_write", full)
        with pytest.raises(StoreFull, match="Cannot write"):
            exported(collection, tmp_path / "out", format)
        assert contents(tmp_path / "out") == before

    def test_two_at_once_never_write_one_folder(self, collection, tmp_path):
        with export_folder(tmp_path / "out", {"a": 1}) as first:
            first.write("x", b"1")
            with pytest.raises(StoreBusy, match="Another export is writing"):
                exported(collection, tmp_path / "out", "elasticsearch")
            first.write("report.json", b"{}")
        assert contents(tmp_path / "out") == {"x": b"1", "report.json": b"{}"}
        exported(collection, tmp_path / "out", "elasticsearch")
        assert (tmp_path / "out" / "mapping.json").is_file()
        assert not list(tmp_path.glob("out.*"))


# ---------------------------------------------------------------- the commands of the page


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers as both engines do; refuses a document of the second bulk file until it is told otherwise."""

    def do_PUT(self):
        self._answer("PUT", {"acknowledged": True})

    def do_POST(self):
        self._answer("POST", {"errors": False, "_shards": {}})

    def do_GET(self):
        self._answer("GET", {"count": self.server.told.count})

    def _answer(self, verb, answer):
        told = self.server.told
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told.requests.append((verb, self.path.partition("?")[0], body))
        if "_bulk" in self.path:
            assert self.headers["Content-Type"] == "application/x-ndjson"
            assert body.endswith(b"\n")
            if told.bad and sum("_bulk" in path for _, path, _ in told.requests) == 2:
                answer = {"errors": True, "items": [{"index": {"error": {"type": "document_parsing_exception"}}}]}
            else:
                told.count += body.count(b"\n") // 2
        if "_search" in self.path and verb == "POST":
            answer = {"hits": {"hits": [{"_id": "d1", "_score": 2.5}, {"_id": "d2#1", "_score": 1.5}]}}
        raw = json.dumps(answer, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@pytest.fixture
def engine():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.told = SimpleNamespace(requests=[], bad=True, count=0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq") and shutil.which("sh")), reason="needs curl and jq"
)
@BOTH
def test_the_commands_of_the_page_load_go_on_and_search(collection, queries, tmp_path, engine, format):
    report = exported(collection, tmp_path / "out", format, queries=queries, part_bytes=12_000)
    load, _, search = re.findall(r"```sh\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    url = f"http://127.0.0.1:{engine.server_port}/films"

    def shell(script):
        return subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path / "out",
            env={"INDEX": url, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )

    files = sorted(file.name for file in (tmp_path / "out").glob("bulk-*.ndjson"))
    assert len(files) > 2
    stopped = shell(load)
    assert stopped.returncode == 1
    assert b"document_parsing_exception" in stopped.stderr
    assert [file for file in files if (tmp_path / "out" / f"{file}.loaded").exists()] == files[:1]
    engine.told.bad = False
    done = shell(load)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b'{"count":%d}' % report["chunks"])
    sent = [body for verb, path, body in engine.told.requests if path == "/films/_bulk"]
    assert sent[1:] == [(tmp_path / "out" / file).read_bytes() for file in files[1:2] + files[1:]]
    assert sum(verb == "PUT" and path == "/films" for verb, path, _ in engine.told.requests) == 1
    found = shell(f"INDEX={url}\n{search}")
    assert found.returncode == 0, found.stderr
    run = (tmp_path / "out" / "run.trec").read_text().splitlines()
    assert run[0] == f"q0 Q0 d1 1 2.5 {format}"
    assert len(run) == 2 * report["queries"]


# ---------------------------------------------------------------- and back


def stored(settings, name, store=None):
    """Return of each chunk what must come back."""
    reader = (store or EdgeStore(settings.store)).reader(name)
    try:
        found = {}
        for doc_id in reader.doc_ids():
            head = reader.payloads([chunk_id_of(doc_id, 0)])[chunk_id_of(doc_id, 0)]
            names = [chunk_id_of(doc_id, number) for number in range(head["chunks"])]
            payloads = reader.payloads(names)
            vectors = [reader.vectors(leg, names) for leg in reader.manifest.legs]
            for name in names:
                payload = payloads[name]
                found[name] = (
                    *(payload[key] for key in ("doc_id", "number", "text", "title", "metadata")),
                    *(vector_of(each.get(name)) for each in vectors),
                )
        return found
    finally:
        reader.close()


def vector_of(vector):
    if vector is None:
        return None
    if hasattr(vector, "indices"):
        return (vector.indices.tolist(), vector.values.tolist())
    return np.round(vector.astype(np.float64), 6).tolist()


class TestImport:
    @pytest.mark.parametrize(("format", "form"), FORMS[:3])
    def test_words_texts_and_metadata_come_back(self, odd_words, tmp_path, format, form):
        exported(odd_words, tmp_path / "out", format, "odd", form=form, part_bytes=900)
        files = sorted((tmp_path / "out").glob("bulk-*.ndjson"))
        assert len(files) > 2
        report = import_bulk("back", files, settings=odd_words)
        assert (report.documents, report.failed) == (len(ODD), 0)
        before, after = stored(odd_words, "odd"), stored(odd_words, "back")
        assert after.keys() == before.keys()
        for name, (*texts, vector) in before.items():
            assert after[name][:-1] == tuple(texts)
            heavy = [(place, weight) for place, weight in zip(*vector, strict=True) if weight > 1e-38]
            assert list(zip(*after[name][-1], strict=True)) == heavy

    def test_a_folder_is_read_and_what_has_not_changed_is_left_alone(self, odd_words, tmp_path):
        exported(odd_words, tmp_path / "out", "elasticsearch", "odd")
        import_bulk("back", [tmp_path / "out"], settings=odd_words)
        again = import_bulk("back", [tmp_path / "out"], settings=odd_words)
        assert (again.documents, again.unchanged) == (0, len(ODD))

    def test_files_of_others_are_read_by_the_name_of_their_field(self, settings, tmp_path):
        file = tmp_path / "their.ndjson"
        rows = [{"create": {"_id": "7", "_index": "i"}}, {"text": "A boxer", "tokens": {"a.b": 2}, "year": 1999}]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(CorpusError, match=r"No source has weights in the field 'sparse'\. Name the field"):
            import_bulk("back", [file], settings=settings)
        import_bulk("back", [file], field="tokens", settings=settings)
        [(doc_id, number, text, title, metadata, vector)] = stored(settings, "back").values()
        assert (doc_id, number, text, title, metadata) == ("7", 0, "A boxer", "", {"year": 1999})
        assert vector[1] == [2.0]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('{"delete": {"_id": "1"}}', r":3: it is .*expected an action: index or create"),
            ('{"index": {"_id": "1"}, "x": 1}', r":3: it is .*expected an action"),
            ("[1]", ":3: it is .*expected one JSON object a line"),
            ('{"index": {"_id": "1"}', ":3: it is no JSON"),
            ('{"index": {"_id": "1"}}', ":3: the file ends after an action"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "sparse": {"a": 1, "a": 2}}', ":4: 'a' stands twice"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "sparse": {"a": -1}}', ":4: the weight of 'a' is -1"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "sparse": [1]}', ":4: sparse is .*expected an object of words"),
            ('{"index": {"_id": "1"}}\n{"doc_id": 5}', ":4: its id is 5, expected a text"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "number": "x"}', ":4: number is 'x', expected a whole number"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "number": 3}', ":4: chunk 3 of '1' comes where chunk 0"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "metadata": []}', r":4: metadata is \[\], expected an object"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "1", "text": 5}', ":4: text and title must be texts"),
            ('{"index": {"_id": "1"}}\n{"doc_id": "FIRST", "sparse": {"a": 1}}', ":4: the id 'd[0-9]+' stands at"),
        ],
    )
    def test_what_is_broken_is_named_by_its_line_and_nothing_is_imported(self, odd_words, tmp_path, line, reason):
        exported(odd_words, tmp_path / "out", "elasticsearch", "odd")
        file = tmp_path / "out" / "bulk-00000.ndjson"
        whole = file.read_text().splitlines()
        line = line.replace("FIRST", json.loads(whole[1])["doc_id"])
        file.write_text("\n".join([*whole[:2], line]) + "\n")
        with pytest.raises(CorpusError, match=reason):
            import_bulk("back", [file], settings=odd_words)
        assert EdgeStore(odd_words.store).names() == ["odd"]

    @pytest.mark.parametrize(
        "content", ["{", "[]", '{"mappings": 1}', '{"mappings": {"_meta": {"hybrid_search": {}}}}']
    )
    def test_a_broken_mapping_is_said(self, odd_words, tmp_path, content):
        exported(odd_words, tmp_path / "out", "elasticsearch", "odd")
        (tmp_path / "out" / "mapping.json").write_text(content)
        with pytest.raises(CorpusError, match=r"mapping\.json cannot be read"):
            import_bulk("back", [tmp_path / "out"], settings=odd_words)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process as Linux tells it")
@pytest.mark.parametrize("format", ["elasticsearch", "opensearch", "seismic"])
def test_two_hundred_thousand_chunks_take_less_than_300_mb(tmp_path, format):
    command = [sys.executable, "-m", "tests.interop.large_export", format, "200000", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 300
