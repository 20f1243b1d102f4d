"""`import anserini`: what is said, counted and refused, and with which exit code."""

import gzip
import json
import re

import pytest

ROWS = [
    {"id": "a", "contents": "A boxer rises.", "vector": {"boxer": 31, "rises": 7}},
    {"id": "b", "contents": "A boxer falls.", "vector": {"boxer": 12, "falls": 9, "nought": 0}},
    {"id": "c", "contents": "Nothing.", "vector": {}},
]


@pytest.fixture
def file(jsonl):
    return jsonl(ROWS)


def test_a_file_fills_a_collection_that_is_searched_and_explained(run, file):
    done = run("import", "anserini", file, "-c", "impacts")
    assert (done.code, done.err) == (0, "")
    assert re.search(
        r"impacts  profile custom\ndocuments indexed +3 in 3 chunks *\nunchanged +0 *\nfailed +0", done.out
    )
    assert re.search(r"passed over +empty vectors, which no sparse query finds 1, weights of 0 1\n", done.out)
    found = json.loads(run("search", "boxer falls", "-c", "impacts", "--explain", "--format", "json").out)
    assert [(hit["doc_id"], hit["score"]) for hit in found["hits"]] == [("a", 31.0), ("b", 21.0)]
    terms = {term["term"]: term["contribution"] for term in found["hits"][1]["matched_terms"]}
    assert terms == {"boxer": 12.0, "falls": 9.0}
    assert "terms" not in json.dumps(found["hits"][0]["metadata"])
    explained = run("explain", "falls", "-c", "impacts", "--doc", "b")
    assert (explained.code, "rank 1" in explained.out) == (0, True)
    assert run("search", "harp", "-c", "impacts").code == 1
    again = run("import", "anserini", file, "-c", "impacts", "--prune", "--wait", "1")
    assert (again.code, bool(re.search(r"unchanged +3", again.out))) == (0, True)


def test_progress_as_json(run, file):
    done = run("import", "anserini", file, "-c", "impacts", "--progress", "json")
    events = [json.loads(line) for line in done.err.splitlines()]
    assert (events[-1]["event"], events[-1]["documents"]) == ("end", 3)
    assert events[-1]["passed_over"] == {"empty vectors, which no sparse query finds": 1, "weights of 0": 1}


def test_terms_scale_and_side_can_be_said(run, file):
    assert run("import", "anserini", file, "-c", "p", "--terms", "wordpieces", "--scale", "2").code == 0
    assert run("import", "anserini", file, "-c", "q", "--terms", "words", "--idf", "queries").code == 0
    legs = {name: json.loads(run("collections", "show", name).out)["manifest"]["legs"]["sparse"] for name in "pq"}
    assert (legs["p"]["model"], legs["p"]["needs_idf"]) == ("terms/wordpieces", False)
    assert (legs["q"]["model"], legs["q"]["needs_idf"]) == ("terms/words", True)
    found = json.loads(run("search", "rises", "-c", "p", "--format", "json").out)
    assert found["hits"][0]["score"] == 3.5


def test_what_an_export_says_is_told(run, file):
    said = {
        "format": "anserini",
        "model": "terms/words",
        "scale": 2.0,
        "idf": "none",
        "passages": True,
        "escaped": True,
    }
    (file.parent / "report.json").write_text(json.dumps(said))
    done = run("import", "anserini", file, "-c", "impacts")
    told = f"{file.parent / 'report.json'} says: model terms/words, weights times 2, ids of passages, "
    told += "tokens and ids escaped."
    assert (done.code, "".join(done.err.split())) == (0, "".join(told.split()))


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--model", "bundled/minilm-splade", "--terms", "words"], 2, "leave --terms out"),
        (["--terms", "letters"], 2, "--terms is 'letters'; take one of: auto, words, wordpieces"),
        (["--scale", "0"], 2, "it must be a number above 0"),
        (["--idf", "both"], 2, "it must be 'queries' or 'documents'"),
        (["--model", "none/such"], 3, "Unknown sparse model 'none/such'"),
        (["--model", "bundled/minilm-splade"], 3, "corpus.jsonl:2: the token 'nought' is not in the vocabulary"),
    ],
)
def test_what_cannot_be_is_refused(run, jsonl, options, code, reason):
    file = jsonl([ROWS[0], {**ROWS[1], "vector": {"nought": 1, "xyzzy": 1}}])
    done = run("import", "anserini", file, "-c", "impacts", *options)
    assert (done.code, " ".join(reason.split()) in " ".join(done.err.split())) == (code, True), done.err
    assert run("collections", "list", "--format", "json").out.strip() == "[]"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"id": "a", "vector": {"x": 1}}\n{"id": "b", "vector": {"x": -1}}\n', ":2: the weight of 'x' is -1"),
        (b'{"id": "a", "vector": {"x": 1}}\n{"id": "a", "vector": {"y": 1}}\n', ":2: the id 'a' stands at"),
        (gzip.compress(b'{"id": "a", "vector": {}}\n')[:-5], " cannot be read to its end"),
        (b"", " is empty"),
    ],
    ids=["weight", "twice", "cut", "empty"],
)
def test_a_damaged_file_is_told_and_leaves_nothing(run, tmp_path, content, reason):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    done = run("import", "anserini", file, "-c", "impacts")
    told = " ".join(done.err.split())
    assert (done.code, f"bad.jsonl{reason}" in told, "Nothing was written" in told) == (3, True, True), done.err
    assert run("collections", "list", "--format", "json").out.strip() == "[]"


def test_documents_are_not_indexed_into_it(run, file, jsonl):
    run("import", "anserini", file, "-c", "impacts")
    more = jsonl([{"_id": "n", "text": "a new text"}], "more.jsonl")
    for options in ((), ("--dry-run",)):
        done = run("index", more, "-c", "impacts", *options)
        assert done.code == 3
        assert "import anserini FILE -c impacts" in " ".join(done.err.split())
    done = run("index", more, "-c", "new", "--sparse", "terms/words", "--dense", "none")
    assert (done.code, "'terms/words' encodes no documents" in " ".join(done.err.split())) == (2, True)
    done = run("collections", "add-leg", "impacts", "more", "terms/wordpieces")
    assert (done.code, "encodes no documents" in " ".join(done.err.split())) == (2, True)


def test_models_list_and_show_know_terms(run):
    rows = {row["name"]: row for row in json.loads(run("models", "list", "--format", "json").out)}
    assert rows["terms/words"]["kind"] == "sparse"
    assert run("models", "show", "terms/wordpieces").code == 0
    assert run("models", "verify", "terms/words").code == 0
    assert run("models", "list").code == 0


def test_an_interrupted_import_says_how_to_go_on(run, file, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybrid_search.interop.term_vectors.fill", stop)
    done = run("import", "anserini", file, "-c", "impacts")
    assert done.code == 130
    assert "Run the same command again to finish 'impacts'" in " ".join(done.err.split())


def test_an_imported_collection_is_evaluated(run, file, tmp_path):
    """Each leg of it, and hybrid with a dense leg that was added."""
    folder = tmp_path / "dataset"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": row["id"], "text": row["contents"]} for row in ROWS]
    queries = [{"_id": "q1", "text": "who rises"}, {"_id": "q2", "text": "what falls"}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t1\n")
    run("import", "anserini", file, "-c", "impacts")
    assert run("collections", "add-leg", "impacts", "dense", "bundled/minilm-splade", "--kind", "dense").code == 0
    assert run("collections", "join-leg", "impacts", "dense").code == 0
    modes = ("--modes", "sparse,dense,hybrid", "--progress", "none", "--format", "json")
    done = run("evaluate", folder, "-c", "impacts", *modes)
    assert done.code == 0, done.err
    results = {row["mode"]: row["measures"]["nDCG@10"] for row in json.loads(done.out)["results"]}
    assert results["sparse"] == 1.0
    assert set(results) == {"sparse", "dense", "hybrid"}
