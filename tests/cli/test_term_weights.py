"""Queries as weights of terms on the command line: one that is typed, files of many, and datasets judged with them."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import BM25, FRUIT


@pytest.fixture
def both(run, jsonl, bundled):
    """The collection `both`, with the bundled model's two legs."""
    assert run("index", jsonl(FRUIT, "both.jsonl"), "-c", "both", "--profile", "bundled").code == 0


def hits(done):
    return [(hit["doc_id"], hit["score"]) for hit in json.loads(done.out)["hits"]]


def test_one_query_needs_no_text(run, fruit):
    done = run("search", "-c", "fruit", "--vector", "apples=2 trees=0.5", "--format", "json")
    shown = json.loads(done.out)
    assert (done.code, shown["query"], shown["vector"]) == (0, "apples trees", {"apples": 2.0, "trees": 0.5})
    assert [hit["doc_id"] for hit in shown["hits"]] == ["a"]
    counted = run("search", "-c", "fruit", "--vector", "apples trees", "--format", "json")
    assert hits(counted) == hits(run("search", "apples trees", "-c", "fruit", "--format", "json"))


def test_the_other_leg_abstains_without_a_text_and_reads_one(run, both):
    alone = run("search", "-c", "both", "--vector", "pear=2", "--format", "json")
    shown = json.loads(alone.out)
    assert shown["abstained"] == {"dense": "gets no text, only the weights of terms for another leg"}
    assert "The leg dense abstains: its model gets no text" in alone.err
    assert all(hit["legs"]["dense"] is None for hit in shown["hits"])
    beside = json.loads(run("search", "bananas", "-c", "both", "--vector", "pear=2", "--format", "json").out)
    assert beside["query"] == "bananas"
    assert beside["hits"][0]["legs"]["dense"]
    sparse = {hit["doc_id"]: hit["legs"]["sparse"] for hit in beside["hits"] if hit["legs"]["sparse"]}
    assert sparse == {hit["doc_id"]: hit["legs"]["sparse"] for hit in shown["hits"]}


def test_it_is_explained_with_the_given_names(run, fruit, both):
    done = run("search", "-c", "fruit", "--vector", "apples=2 nowhere=1", "--format", "json", "--explain")
    shown = json.loads(done.out)
    assert {term["term"]: term["weight"] for term in shown["expansion"]["sparse"]} == {"apples": 2.0, "nowhere": 1.0}
    [hit] = shown["hits"]
    assert [term["term"] for term in hit["matched_terms"]] == ["apples"]
    assert sum(term["contribution"] for term in hit["matched_terms"]) == pytest.approx(hit["score"], abs=1e-4)
    table = run("search", "-c", "fruit", "--vector", "apples=2", "--explain")
    assert "apples" in table.out.splitlines()[0]
    told = run("explain", "-c", "fruit", "--doc", "b", "--vector", "apples=2")
    assert (told.code, "No leg finds it" in told.out) == (0, True)
    without = run("explain", "apples", "-c", "fruit", "--vector", "apples=2")
    assert (without.code, "--vector goes with --doc" in without.err) == (2, True)


def test_unknown_terms_are_named(run, both):
    done = run("search", "-c", "both", "--vector", "pear=2 qwxyz=1", "--format", "json")
    assert json.loads(done.out)["unread"] == {"sparse": ["qwxyz"]}
    assert "Not known to sparse: qwxyz." in done.err
    none = run("search", "-c", "both", "--vector", "qwxyz=1")
    assert (none.code, none.out) == (2, "")
    assert "has none of the terms of the vector: 'qwxyz'" in none.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--vector", "apples=-1"], "The weight of 'apples' is -1.0"),
        (["--vector", ""], "The vector has no term"),
        (["--vector", "don't=1"], "no closing quotation"),
        (["--vector", "apples=1", "--mode", "dense"], "has no 'dense' leg"),
        (["--vector", "apples=1", "--rerank"], "Nothing can be re-ranked for terms alone"),
        (["--vector", "apples=1", "--vector", "pears=1"], "--vector is given 2 values"),
        (["--vector", "apples=1", "--vectors", "topics"], "leave QUERY and --vector out"),
        (["apples", "--vectors", "topics"], "leave QUERY and --vector out"),
        ([], "Missing argument 'QUERY'"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(run, fruit, options, told):
    done = run("search", "-c", "fruit", *options)
    assert (done.code, done.out) == (2, "")
    assert told in " ".join(done.err.replace("│", " ").split())


@pytest.fixture
def topics(tmp_path):
    file = tmp_path / "topics.tsv"
    file.write_text("t 1\tapples apples trees\nt2\tpears autumn\nt3\tzebra\n")
    return file


def test_a_file_has_many_queries_each_with_its_id(run, fruit, topics):
    shown = [json.loads(one) for one in jsons(run("search", "-c", "fruit", "--vectors", topics, "--format", "json"))]
    assert [one["query_id"] for one in shown] == ["t 1", "t2", "t3"]
    assert [[hit["doc_id"] for hit in one["hits"]] for one in shown] == [["a"], ["b"], []]
    assert list(shown[0])[:2] == ["query_id", "query"]
    single = run("search", "-c", "fruit", "--vector", "apples=2 trees", "--format", "json")
    assert [(hit["doc_id"], hit["score"]) for hit in shown[0]["hits"]] == hits(single)
    lines = run("search", "-c", "fruit", "--vectors", topics, "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["query_id"] for line in lines] == ["t 1", "t2"]


def jsons(done):
    """The objects that were printed, each as a text."""
    decoder, text, found = json.JSONDecoder(), done.out.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(json.dumps(value))
        text = text[end:].lstrip()
    return found


def test_a_file_makes_a_run_with_its_ids_that_evaluate_reads(run, fruit, topics, tmp_path):
    done = run("search", "-c", "fruit", "--vectors", topics, "--format", "trec")
    assert [line.split()[:4] for line in done.out.splitlines()] == [["t%201", "Q0", "a", "1"], ["t2", "Q0", "b", "1"]]
    table = run("search", "-c", "fruit", "--vectors", topics)
    assert table.code == 0
    for told in ("t 1", "apples trees", "t2", "t3", "nothing found"):
        assert told in table.out


def test_queries_of_a_file_that_the_model_knows_nothing_of_are_named(run, both, tmp_path):
    file = tmp_path / "topics.jsonl"
    file.write_text('{"id": "a", "vector": {"pear": 1}}\n{"id": "b", "vector": {"qwxyz": 1}}\n')
    done = run("search", "-c", "both", "--mode", "sparse", "--vectors", file, "--format", "trec")
    assert done.code == 4
    assert {line.split()[0] for line in done.out.splitlines()} == {"a"}
    assert "b: The leg sparse abstains: its model has none of the given terms." in done.err


def test_what_is_so_of_all_queries_of_a_file_is_said_once(run, both, tmp_path):
    file = tmp_path / "topics.tsv"
    file.write_text("".join(f"t{n}\tpear\n" for n in range(600)) + "odd\tpear qwxyz\n")
    done = run("search", "-c", "both", "--vectors", file, "--format", "trec", "-k", "1")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == [*(f"t{n}" for n in range(600)), "odd"]
    told = " ".join(done.err.split())
    assert told.count("abstains") == told.count("All 601 queries: The leg dense abstains") == 1
    assert "odd: Not known to sparse: qwxyz." in told


def test_a_broken_file_is_an_error_with_its_line(run, fruit, tmp_path):
    file = tmp_path / "topics.tsv"
    file.write_text("1\tapples\n1\tpears\n")
    done = run("search", "-c", "fruit", "--vectors", file)
    assert (done.code, done.out) == (3, "")
    assert "topics.tsv:2: the query id '1' stands on line 1 already" in " ".join(done.err.split())
    assert run("search", "-c", "fruit", "--vectors", tmp_path / "nowhere").code == 3


def test_a_dataset_is_judged_with_weights_and_beside_another_engine(run, jsonl, tmp_path):
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    for name, rows in {
        "corpus": [{"_id": "a", "text": "red apples"}, {"_id": "b", "text": "green pears"}],
        "queries": [{"_id": "1", "text": "unhelpful"}, {"_id": "2", "text": "words"}],
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n")
    vectors, lucene = tmp_path / "topics.tsv", tmp_path / "lucene.trec"
    vectors.write_text("1\tapples\n2\tpears\n")
    lucene.write_text("1 Q0 a#0 1 2 Lucene\n1 Q0 a#1 2 1 Lucene\n1 Q0 b#0 3 0.5 Lucene\n")
    options = ("--measures", "RR@10", "--format", "json")
    done = run("evaluate", folder, *BM25, *options, "--query-vectors", vectors, "--from-run", lucene)
    shown = json.loads(done.out)
    found = {result["mode"]: result["measures"]["RR@10"] for result in shown["results"]}
    assert (done.code, found) == (0, {"bm25": 0.0, "sparse": 1.0, "Lucene": 0.5})
    assert shown["outside"] == ["Lucene"]
    assert "Lucene has nothing for 1 query ('2') of 2; each counts as 0." in " ".join(done.err.split())
    assert run("index", folder, "-c", "mine", *BM25).code == 0
    again = run("evaluate", folder, "-c", "mine", *options, "--query-vectors", vectors, "--modes", "sparse")
    assert json.loads(again.out)["results"][0]["measures"] == {"RR@10": 1.0}
    vectors.write_text("1\tapples\n")
    partly = run("evaluate", folder, *BM25, *options, "--query-vectors", vectors)
    assert partly.code == 4
    assert json.loads(partly.out)["lacking"] == {"2": "the file has no vector for it"}
    assert "finds nothing for 1 query ('2')" in " ".join(partly.err.split())
    assert run("evaluate", folder, *BM25, "--from-run", lucene, "--fail-under", "RR@10=0.4").code == 3
    lucene.write_text("1 Q0 a\n")
    broken = run("evaluate", folder, *BM25, "--from-run", lucene)
    assert (broken.code, "lucene.trec:1: expected 6 columns" in " ".join(broken.err.split())) == (3, True)
