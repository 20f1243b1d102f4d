"""`search`: shapes, streams, exit codes."""

import json
import os
import re
from pathlib import Path

import pytest

from hybrid_search.corpus.trec import read_run
from hybrid_search.indexer import Indexer
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

HIT = ["rank", "doc_id", "score", "title", "metadata", "chunks", "legs", "rerank_score", "origin"]
ESCAPE = "\x1b"


FRUIT = [
    {"_id": "a", "title": "Apples", "text": "Red apples grow on old trees.", "year": 1999},
    {"_id": "b", "text": "Green pears are sweet in autumn."},
    {"_id": "c", "text": "Yellow bananas come by ship."},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_cache):
    return Settings(store=str(tmp_path_factory.mktemp("search")), cache_dir=model_cache)


@pytest.fixture(scope="module")
def built(place):
    """Remembers what lies in this module's store already; nothing here changes it."""
    names = set()

    def build(name, **models):
        if name not in names:
            Indexer.open(name, settings=place, **models).index(FRUIT)
            names.add(name)
        return place

    return build


@pytest.fixture
def fruit(built, run, monkeypatch):
    """The collection `fruit`, with BM25 alone."""
    settings = built("fruit", sparse="qdrant/bm25-engine", dense="none")
    monkeypatch.setenv("HYBRID_SEARCH_STORE", settings.store)
    return settings


@pytest.fixture
def both(built, run, bundled, monkeypatch):
    """The collection `both`, with BM25 and the dense vectors of the bundled model."""
    settings = built("both", sparse="qdrant/bm25-engine", dense=bundled)
    monkeypatch.setenv("HYBRID_SEARCH_STORE", settings.store)
    return settings


def test_json_is_one_object_of_the_promised_shape(run, both):
    done = run("search", "apples", "-c", "both", "--format", "json")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    shown = json.loads(done.out)
    assert list(shown) == ["query", "collection", "mode", "k", "timings_ms", "hits"]
    assert {key: shown[key] for key in ("query", "collection", "mode", "k")} == {
        "query": "apples",
        "collection": "both",
        "mode": "hybrid",
        "k": 10,
    }
    assert list(shown["timings_ms"]) == ["encode", "retrieve", "fuse", "rerank", "total"]
    assert all(isinstance(value, float) for value in shown["timings_ms"].values())
    best, second, third = shown["hits"]
    for place, hit in enumerate(shown["hits"], 1):
        assert list(hit) == HIT
        assert hit["rank"] == place
        assert list(hit["legs"]) == ["sparse", "dense"]
        assert [list(chunk) for chunk in hit["chunks"]] == [
            ["chunk_id", "start", "end", "text", "window", "highlights"]
        ]
    assert (best["doc_id"], best["title"], best["metadata"], best["rerank_score"]) == (
        "a",
        "Apples",
        {"year": 1999},
        None,
    )
    assert best["legs"]["sparse"]["rank"] == best["legs"]["dense"]["rank"] == 1
    assert best["score"] == pytest.approx(2 / 61)
    assert second["legs"]["sparse"] is None
    assert third["legs"]["dense"] == {"rank": 3, "score": pytest.approx(third["legs"]["dense"]["score"])}
    with Searcher.open("both", settings=both) as searcher:
        assert shown["hits"] == searcher.search("apples").to_dict()["hits"]


def test_a_leg_that_the_collection_lacks_is_null(run, fruit):
    shown = json.loads(run("search", "apples", "-c", "fruit", "--format", "json").out)
    assert shown["mode"] == "sparse"
    assert shown["hits"][0]["legs"]["dense"] is None


def test_a_filter_narrows_the_search(run, both):
    done = run("search", "apples", "-c", "both", "--format", "jsonl", "--where", "year between 1990 and 2000")
    assert [json.loads(line)["doc_id"] for line in done.out.splitlines()] == ["a"]
    done = run("search", "apples", "-c", "both", "--format", "jsonl", "--where", "year != 1999")
    assert sorted(json.loads(line)["doc_id"] for line in done.out.splitlines()) == ["b", "c"]
    done = run("search", "apples", "-c", "both", "--where", "year > 3000")
    assert done.code == 1


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("year > ", "at column 7: it ends too early"),
        ("yaer > 3", "Did you mean year?"),
        ("", "The filter cannot be used"),
    ],
)
def test_a_wrong_filter_is_a_usage_error(run, fruit, where, words):
    done = run("search", "apples", "-c", "fruit", "--where", where)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_jsonl_is_a_hit_a_line(run, both):
    done = run("search", "pears", "-c", "both", "--format", "jsonl", "-k", 2)
    hits = [json.loads(line) for line in done.out.splitlines()]
    assert [list(hit) for hit in hits] == [["query", *HIT]] * 2
    assert [(hit["query"], hit["rank"]) for hit in hits] == [("pears", 1), ("pears", 2)]


def test_trec_is_a_run_that_scorers_read_in_the_same_order(run, jsonl, tmp_path):
    rows = [{"_id": f"doc {n:02}", "text": "the same words"} for n in range(30)]
    run("index", jsonl(rows), "-c", "same", "--sparse", "qdrant/bm25-engine", "--dense", "none")
    done = run("search", "-", "-c", "same", "--format", "trec", "-k", 30, stdin="words\n\nsame words\n")
    assert re.fullmatch(r"(\d+ Q0 doc%20\d\d \d+ \S+ hybrid-search\n){60}", done.out)
    (tmp_path / "run").write_text(done.out)
    found = read_run(tmp_path / "run")
    assert [(row.query_id, row.doc_id) for row in found] == [(q, f"doc {n:02}") for q in "12" for n in range(30)]
    for query in "12":
        scores = [row.score for row in found if row.query_id == query]
        assert len(set(scores)) == 30
        assert scores == sorted(scores, reverse=True)


def test_queries_come_from_stdin_one_a_line(run, fruit):
    done = run("search", "-", "-c", "fruit", "--format", "json", "-k", 1, stdin="apples\n\n  pears \nzzz\n")
    assert done.code == 0
    shown = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["query"], [hit["doc_id"] for hit in one["hits"]]) for one in shown] == [
        ("apples", ["a"]),
        ("pears", ["b"]),
        ("zzz", []),
    ]


def test_the_table_shows_where_a_hit_came_from(run, both):
    done = run("search", "apples", "-c", "both")
    assert done.err == ""
    assert "Apples" in done.out
    assert "Red apples grow on old trees." in done.out
    assert re.search(r"0\.0328  =  sparse rank 1 \(\d\.\d+\) \+ dense rank 1 \(0\.\d+\)", done.out)
    assert "sparse not found + dense rank 2" in done.out
    assert "year 1999" in done.out
    alone = run("search", "apples", "-c", "both", "--mode", "sparse").out
    assert "sparse rank 1" in alone
    assert "dense" not in alone


def test_nothing_found_is_exit_code_one(run, fruit):
    for format in ("table", "json", "jsonl", "trec"):
        done = run("search", "zzz", "-c", "fruit", "--format", format)
        assert done.code == 1
        if format == "json":
            assert json.loads(done.out)["hits"] == []
        elif format == "table":
            assert "nothing found" in done.out
        else:
            assert done.out == ""
    assert run("search", "-", "-c", "fruit", stdin="zzz\napples\n").code == 0


def test_a_collection_with_one_leg_is_searched_with_it_and_says_so(run, fruit):
    done = run("search", "-", "-c", "fruit", "--format", "json", stdin="apples\npears\n")
    assert [json.loads(line)["mode"] for line in done.out.splitlines()] == ["sparse", "sparse"]
    assert run("search", "apples", "-c", "fruit").out.splitlines()[0].split() == ["apples", "sparse", "·", "fruit"]
    assert done.err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-k", "0"], "k is 0"),
        (["-k", "-1"], "k is -1"),
        (["-k", "ten"], "integer"),
        (["-k", "5", "--depth", "4"], "depth is 4"),
        (["--mode", "both"], "no 'both' leg"),
        (["--mode", "dense"], "no 'dense' leg"),
        (["--fusion", "magic"], "rrf"),
        (["--format", "xml"], "table, json, jsonl, trec"),
        (["--weights", "spares=1"], "'spares'"),
        (["--weights", "sparse=-1"], "-1.0"),
        (["--weights", "sparse"], "name=number"),
        (["--weights", "sparse=much"], "name=number"),
        (["--weights", "=1"], "name=number"),
        (["--weights", "sparse=1,"], "name=number"),
        (["--weights", "sparse=0,dense=0"], "weight 0"),
        (["--weights", "sparse=nan"], "nan"),
        (["--rrf-k", "x"], "valid number"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_usage_errors_are_exit_code_two(run, fruit, options, message):
    done = run("search", "apples", "-c", "fruit", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize("query", ["", "   ", "\t"])
def test_an_empty_query_is_a_usage_error(run, fruit, query):
    done = run("search", query, "-c", "fruit")
    assert (done.code, done.out) == (2, "")
    assert "query is empty" in done.err


def test_several_words_are_one_query(run, fruit):
    for words in (["red", "apples"], ["red apples"], ["red  apples", "grow"], ["red", "-", "apples"]):
        done = run("search", *words, "-c", "fruit", "--format", "json")
        assert (done.code, json.loads(done.out)["query"]) == (0, " ".join(words))
    split = run("search", "red", "-c", "fruit", "apples", "--format", "json")
    assert json.loads(split.out)["query"] == "red apples"
    dashed = run("search", "-c", "fruit", "--format", "json", "--", "apples", "-c", "--where")
    assert json.loads(dashed.out)["query"] == "apples -c --where"
    assert run("explain", "red", "apples", "-c", "fruit", "--doc", "a").out.startswith("red apples ")
    for verb in ("search", "explain"):
        assert "quoted or not" in re.sub(r"[\s│]+", " ", run(verb, "--help").out)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-c", "fruit", "-c", "both"], "-c / --collection is given 2 values, 'fruit' and 'both'"),
        (["-c", "fruit", "--collection=both"], "-c / --collection is given 2 values, 'fruit' and 'both'"),
        (["-c", "fruit", "-k", "5", "-k", "6"], "-k is given 2 values, '5' and '6'"),
        (["-c", "fruit", "-k5", "-k", "6", "-k", "7"], "-k is given 3 values, '5' and '6' and '7'"),
        (["-c", "fruit", "--mode", "sparse", "--mode", "dense"], "--mode is given 2 values"),
        (["-c", "fruit", "--format", "json", "--format", "table"], "--format is given 2 values"),
        (["-c", "fruit", "--rerank", "a", "--rerank", "b"], "--rerank is given 2 values"),
        (["-c", "fruit", "--fold", "--no-fold"], "--fold is given 2 values, True and False"),
        (["-c", "fruit", "--store", "a", "--store", "b"], "--store is given 2 values, 'a' and 'b'"),
    ],
)
def test_an_option_with_two_values_is_refused(run, fruit, options, told):
    done = run("search", "apples", *options)
    assert (done.code, done.out) == (2, "")
    assert told in re.sub(r"[\s│]+", " ", done.err)


def test_what_is_the_same_twice_or_may_be_repeated_is_not_refused(run, fruit, tmp_path):
    done = run("search", "apples", "-c", "fruit", "-c", "fruit", "--full", "--full", "-k", "3", "-k", "3")
    assert done.code == 0
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("apples")
    (folder / "b.txt").write_text("pears")
    done = run("index", folder, "-c", "globs", "--glob", "*.md", "--glob", "*.txt", "--sparse", "qdrant/bm25-engine")
    assert "documents indexed  2" in done.out


def test_a_global_option_stands_once(run, fruit, tmp_path):
    store = fruit.store
    assert run("--store", store, "search", "apples", "-c", "fruit", "--store", store).code == 0
    for arguments in (
        ("--store", store, "search", "apples", "-c", "fruit", "--store", tmp_path / "other"),
        ("--store", store, "--store", tmp_path / "other", "search", "apples", "-c", "fruit"),
        ("--config", "a.toml", "search", "apples", "-c", "fruit", "--config", "b.toml"),
    ):
        done = run(*arguments)
        assert (done.code, done.out) == (2, "")
        assert "is given 2 values" in re.sub(r"[\s│]+", " ", done.err)


def test_nothing_on_stdin_is_a_usage_error(run, fruit):
    for stdin in ("", "\n \n"):
        done = run("search", "-", "-c", "fruit", stdin=stdin)
        assert (done.code, done.out) == (2, "")
        assert "stdin" in done.err


def test_what_is_missing_is_asked_for(run):
    assert "Missing argument" in run("search").err
    done = run("search", "apples")
    assert done.code == 2
    assert "--collection" in done.err


def test_an_unknown_collection_offers_the_near_ones(run, fruit):
    done = run("search", "apples", "-c", "fruits")
    assert (done.code, done.out) == (3, "")
    assert "No collection 'fruits'" in done.err
    assert "Did you mean 'fruit'?" in done.err
    assert "hybrid-search index SOURCE -c fruits" in done.err
    far = run("search", "apples", "-c", "zzz").err
    assert "It holds: " in far


def test_global_options_stand_before_or_after_the_verb(run, fruit, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for arguments in (
        ("--store", elsewhere, "search", "apples", "-c", "fruit"),
        ("search", "apples", "-c", "fruit", "--store", elsewhere),
    ):
        done = run(*arguments)
        assert done.code == 3
        assert str(elsewhere) in done.err
    config = tmp_path / "other.toml"
    config.write_text(f"store = {json.dumps(str(elsewhere))}")
    command = ("search", "apples", "-c", "fruit")
    assert run(*command).code == 0
    for arguments in (("--config", tmp_path / "no.toml", *command), (*command, "--config", tmp_path / "no.toml")):
        done = run(*arguments)
        assert done.code == 3
        assert "no.toml" in done.err


def test_the_config_file_names_the_store(run, fruit, tmp_path, monkeypatch):
    monkeypatch.delenv("HYBRID_SEARCH_STORE")
    config = tmp_path / "other.toml"
    config.write_text(f"store = {json.dumps(fruit.store)}")
    assert run("--config", config, "search", "apples", "-c", "fruit").code == 0


def test_debug_shows_the_traceback(start):
    process = start("search", "x", "-c", "none", "--debug")
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 3
    assert "Traceback" in err
    assert "CollectionNotFound" in err


def test_one_message_is_one_line_however_narrow_the_pipe(run, fruit):
    done = run("search", "apples", "-c", "fruits-of-the-northern-and-of-the-southern-hemisphere-in-winter")
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")


def test_output_that_is_no_terminal_holds_no_escape_codes(run, fruit):
    for arguments in (
        ("search", "apples", "-c", "fruit"),
        ("search", "apples", "-c", "none"),
        ("collections", "list"),
        ("models", "list"),
    ):
        done = run(*arguments)
        assert ESCAPE not in done.out + done.err


def test_brackets_in_names_and_texts_are_shown_as_they_are(run, jsonl):
    rows = [{"_id": "[red]", "title": "[bold]A[/bold]", "text": "odd [link=x] text [/]"}]
    run("index", jsonl(rows), "-c", "odd", "--sparse", "qdrant/bm25-engine", "--dense", "none")
    out = run("search", "odd [/]", "-c", "odd").out
    assert "[bold]A[/bold]" in out
    assert "odd [link=x] text [/]" in out
    assert "odd [/]" in out
    assert "[/red]" in run("search", "x", "-c", "[/red]").err


def test_bytes_that_are_no_text_in_a_query(start, fruit):
    query = b"apples \xff".decode("utf-8", "surrogateescape")
    process = start("search", query, "-c", "fruit", "--format", "json", env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["query"] == "apples \ufffd"
    assert json.loads(out)["hits"][0]["doc_id"] == "a"


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "trec"])
def test_a_reader_that_goes_away_is_no_error(start, fruit, format):
    process = start("search", "apples", "-c", "fruit", "--format", format)
    process.stdout.close()
    err = process.stderr.read()
    process.wait()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "Broken" not in err


FOREIGN = "quarterly depreciation of municipal bonds under the amended tax statute"


@pytest.fixture
def dishes(place, run, bundled, monkeypatch):
    """The collection `dishes` of 40 texts with both legs of the bundled model."""
    if not Path(place.store, "dishes").exists():
        foods = ("plum", "leek", "trout", "rice", "fig", "lamb", "corn", "beet", "crab", "pea")
        ways = ("soup with cream", "cake from the oven", "salad with herbs", "stew over a fire")
        rows = [{"_id": f"{food}-{n}", "text": f"A {food} {way}."} for food in foods for n, way in enumerate(ways)]
        Indexer.open("dishes", settings=place, profile="bundled").index(rows)
    monkeypatch.setenv("HYBRID_SEARCH_STORE", place.store)


def test_a_low_confidence_is_told_beside_the_hits_and_in_json(run, dishes):
    done = run("search", FOREIGN, "-c", "dishes")
    assert done.code == 0
    assert "Probably no good answer: the confidence is 0." in " ".join(done.err.split())
    told = json.loads(run("search", FOREIGN, "-c", "dishes", "--format", "json").out)
    assert told["confidence"]["word"] == "low"
    assert told["hits"]
    own = run("search", "soup of plums with cream", "-c", "dishes", "--format", "json")
    assert (own.code, own.err) == (0, "")
    assert json.loads(own.out)["confidence"]["word"] != "low"


@pytest.mark.parametrize("shape", ["table", "json", "jsonl", "trec"])
def test_below_the_least_confidence_nothing_is_found_and_it_is_said_why(run, dishes, shape):
    done = run("search", FOREIGN, "-c", "dishes", "--min-confidence", "0.9", "--format", shape)
    assert done.code == 1
    assert "No hits are shown: the confidence is 0." in " ".join(done.err.split())
    assert "0.9 is wanted (min_confidence)." in " ".join(done.err.split())
    if shape == "json":
        assert json.loads(done.out)["hits"] == []
    elif shape != "table":
        assert done.out == ""


def test_least_scores_are_typed_by_leg(run, dishes):
    done = run("search", "plum", "-c", "dishes", "--min-score", "dense=0.99,sparse=1000", "--format", "json")
    assert (done.code, json.loads(done.out)["hits"]) == (1, [])
    assert "Hits below these scores are not handed on" in done.err
    wrong = run("search", "plum", "-c", "dishes", "--min-score", "dense")
    assert (wrong.code, wrong.out) == (2, "")
    assert "min_score is 'dense'" in wrong.err
    assert run("search", "plum", "-c", "dishes", "--min-score", "words=1").code == 2


def test_a_log_has_a_line_for_each_search(fruit, run, tmp_path):
    log = tmp_path / "log.jsonl"
    for query in ("apples", "green pears"):
        assert run("search", query, "-c", "fruit", "--rrf-k", "10", "--log", log).code == 0
    first, second = map(json.loads, log.read_text().splitlines())
    assert (first["query"], second["query"], first["collection"]) == ("apples", "green pears", "fruit")
    assert first["settings"]["rrf_k"] == 10
    assert [hit["doc_id"] for hit in second["hits"]] == ["b"]
    assert second["hits"][0]["legs"]["sparse"]["rank"] == 1


def test_a_log_that_cannot_be_written_is_said_and_the_answer_comes(fruit, run, tmp_path):
    done = run("search", "apples", "-c", "fruit", "--format", "json", "--log", tmp_path)
    assert done.code == 0
    assert json.loads(done.out)["hits"][0]["doc_id"] == "a"
    assert "1 search is not in the log" in done.err


def test_a_search_without_log_keeps_nothing(fruit, run, tmp_path):
    before = sorted(tmp_path.rglob("*.jsonl"))
    assert run("search", "apples", "-c", "fruit").code == 0
    assert sorted(tmp_path.rglob("*.jsonl")) == before
