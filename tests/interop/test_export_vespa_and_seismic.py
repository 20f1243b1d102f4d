"""A collection goes to Seismic and to Vespa: lines, schema and requests are held to what both read."""

import json
import re

import numpy as np
import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.interop.export.job import ExportOptions
from hybrid_search.interop.export.run import export_collection
from hybrid_search.interop.term_vectors import TermLeg, TermVectors, fill_collection
from hybrid_search.types import Document
from tests.interop.test_export_bulk import ODD, rows, strict


@pytest.fixture
def queries(tmp_path):
    file = tmp_path / "queries.jsonl"
    asked = {"q 1": "river stone", "q2": "apple unheard winter", "q3": "!"}
    file.write_text("".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in asked.items()))
    return file


@pytest.fixture
def odd_words(settings):
    def read():
        for n, word in enumerate(ODD):
            yield TermVectors(f"d {n}", f"a\0b \x1f{n}", weights={word: 1.0 + n / 7, "common": 0.3})

    fill_collection("odd", read, TermLeg("terms/words"), settings=settings)
    return settings


def exported(settings, out, format, name="c", **options):
    return export_collection(name, format, out, settings=settings, options=ExportOptions(**options))


class TestSeismic:
    def test_documents_and_queries_are_lines_of_floats(self, collection, queries, tmp_path):
        report = exported(collection, tmp_path / "out", "seismic", queries=queries, verify=True)
        found = rows(tmp_path / "out" / "documents.jsonl")
        assert len({row["id"] for row in found}) == len(found) == report["chunks"]
        assert all(list(row) == ["id", "content", "vector"] for row in found)
        weights = [weight for row in found for weight in row["vector"].values()]
        assert all(type(weight) is float and weight > 0 for weight in weights)
        assert weights == np.float32(weights).astype(str).astype(float).tolist()
        assert [row["id"] for row in rows(tmp_path / "out" / "queries.jsonl")] == ["q%201", "q2"]
        assert report["named"]["queries_without_terms"] == ["q3"]
        assert report["verify"]["overlap@10"] == 1.0
        assert not (tmp_path / "out" / "mapping.json").exists()

    def test_one_file_however_small_the_parts(self, collection, tmp_path):
        exported(collection, tmp_path / "out", "seismic", part_bytes=100)
        assert {file.name for file in (tmp_path / "out").iterdir()} == {"README.md", "documents.jsonl", "report.json"}

    def test_words_are_as_they_are_and_one_that_queries_would_cut_is_counted(self, settings, tmp_path):
        read = lambda: iter([TermVectors("d", "t", weights=dict.fromkeys((*ODD, "x" * 100, "y" * 101), 1.0))])  # noqa: E731
        fill_collection("odd", read, TermLeg("terms/words"), settings=settings)
        report = exported(settings, tmp_path / "out", "seismic", "odd")
        [row] = rows(tmp_path / "out" / "documents.jsonl")
        assert set(row["vector"]) == {*ODD, "x" * 100}
        assert report["lost"]["document_terms_too_long"] == 1

    def test_the_program_of_the_page_is_python(self, odd_words, tmp_path):
        exported(odd_words, tmp_path / "out", "seismic", "odd")
        page = (tmp_path / "out" / "README.md").read_text()
        compile(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], "page", "exec")


class TestVespa:
    def test_feed_lines_name_fields_of_the_schema(self, collection, queries, tmp_path):
        report = exported(collection, tmp_path / "out", "vespa", queries=queries, part_bytes=5000, verify=True)
        schema = (tmp_path / "out" / "schema.sd").read_text()
        fields = dict(re.findall(r"field (\w+) type (\S+)", schema))
        assert (fields["vector_sparse"], fields["vector_dense"]) == ("tensor<float>(token{})", "tensor<float>(x[16])")
        assert schema.count("{") == schema.count("}")
        files = sorted((tmp_path / "out").glob("feed-*.jsonl"))
        found = [row for file in files for row in rows(file)]
        assert len(files) > 2
        assert len({row["put"] for row in found}) == len(found) == report["chunks"]
        assert all(row["put"].startswith("id:hybrid:chunk::") for row in found)
        for row in found:
            assert set(row["fields"]) <= set(fields)
            assert all(weight > 0 for weight in row["fields"]["vector_sparse"]["cells"].values())
            assert len(row["fields"]["vector_dense"]["values"]) == 16
            assert strict(row["fields"]["metadata"]) is not None
        assert report["verify"]["overlap@10"] == 1.0

    def test_requests_name_inputs_of_their_rank_profile(self, collection, queries, tmp_path):
        exported(collection, tmp_path / "out", "vespa", queries=queries)
        schema = (tmp_path / "out" / "schema.sd").read_text()
        profiles = dict(re.findall(r"rank-profile (\w+) \{(.*?)\n    \}", schema, re.DOTALL))
        assert "reciprocal_rank_fusion(sparse_score, vector_dense_score)" in profiles["hybrid"]
        for file in ("queries", "hybrid"):
            for line in rows(tmp_path / "out" / f"{file}.jsonl"):
                body = line["body"]
                inputs = {name for name in body if name.startswith("input.")}
                assert {
                    f"input.{name}" for name in re.findall(r"(query\(\w+\)) tensor", profiles[body["ranking"]])
                } == inputs
                assert body["yql"].endswith("where true" if body["input.query(q)"] else "where false")

    def test_control_signs_that_a_field_refuses_are_blanks_and_counted(self, odd_words, tmp_path):
        report = exported(odd_words, tmp_path / "out", "vespa", "odd")
        found = rows(tmp_path / "out" / "feed-00000.jsonl")
        assert {row["fields"]["text"][:4] for row in found} == {"a b "}
        assert report["lost"]["texts_with_control_signs"] == len(ODD)
        assert {word for row in found for word in row["fields"]["vector_sparse"]["cells"]} == {*ODD, "common"}
        assert not any(" " in row["put"] for row in found)
        assert "hybrid" not in (tmp_path / "out" / "schema.sd").read_text()

    def test_a_leg_whose_name_is_no_field_gets_one(self, settings, fakes, tmp_path):
        legs = {"sparse": "fake/both-idf", "dense": "fake/both-idf", "legs": ("sparse", "dense", "bm25")}
        Indexer.open("c", settings=settings, **legs).index([Document("d", "river stone")])
        export_collection("c", "vespa", tmp_path / "out", leg="bm25", settings=settings)
        [row] = rows(tmp_path / "out" / "feed-00000.jsonl")
        assert len(row["fields"]["vector_bm25"]["cells"]) == 2
