"""`compare` as a command."""

import json
import re

import pytest

from hybrid_search.cli.console import out
from hybrid_search.cli.sparklines import BARS, resample, sparkline

MODELS = "sparse=fake/sparse,dense=fake/dense"
SIDES = (f"sparse,{MODELS}", f"hybrid:dbsf,{MODELS}")
WORDS = ("red apples", "green pears", "yellow bananas", "blue plums", "an apple and a pear", "nothing of the kind")


@pytest.fixture
def fruit(tmp_path):
    """A BEIR folder with a long title, a long query, and titles and ids in another script."""
    folder = tmp_path / "fruit"
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": f"d{n}" * (1 + 30 * (n == 3)), "title": "水果" * 40 if n == 2 else "", "text": text}
        for n, text in enumerate(WORDS * 3)
    ]
    queries = [{"_id": f"q{n}", "text": " ".join([text] * (1 + 20 * (n == 1)))} for n, text in enumerate(WORDS)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [f"q{n}\t{documents[place]['_id']}\t{grade}\n" for n in range(6) for place, grade in ((n, 2), (n + 7, 1))]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def test_the_table_tells_measures_moves_and_evidence(run, fruit, fakes):
    done = run("compare", *SIDES, "--on", fruit, "--progress", "none")
    assert done.code == 0
    assert re.search(r"^fruit  6 queries, 100 documents each$", done.out, re.M)
    assert re.search(r"^A  sparse,sparse=fake/sparse,dense=fake/dense  sparse in eval-fruit-", done.out, re.M)
    assert re.search(r"^measure +A +B +B - A +95 % interval +p +Holm +better +same +worse$", done.out, re.M)
    number = r" +[+-]?\d\.\d{4}"
    assert len(re.findall(rf"^(?:nDCG@10|R@100|RR@10)(?:{number}){{3}} ", done.out, re.M)) == 3
    assert re.search(r"^recall by depth +1 +5 +10 +20 +50 +100$", done.out, re.M)
    assert "Relevant documents from A to B:" in done.out
    assert re.search(r"^ +\S+ → \S+ +●[12] ", done.out, re.M)
    assert re.search(r"sparse \d+ \(\d+\.\d{3}\)  dense \d+ \(-?\d+\.\d{3}\)$", done.out, re.M)
    assert "evaluate --clear" in done.err


def test_json_has_every_query_with_its_values(run, fruit, fakes):
    done = run("compare", *SIDES, "--on", fruit, "--format", "json", "--measures", "nDCG@10,AP", "--top", 0)
    assert done.code == 0
    told = json.loads(done.out)
    assert [row["measure"] for row in told["measures"]] == ["nDCG@10", "AP"]
    assert {row["query_id"] for row in told["per_query"]} == {f"q{n}" for n in range(6)}
    for row in told["measures"]:
        for side in "ab":
            values = [one["measures"][row["measure"]][side] for one in told["per_query"]]
            assert row[side] == pytest.approx(sum(values) / 6, abs=1e-8)
        differences = [one["measures"][row["measure"]]["difference"] for one in told["per_query"]]
        assert row["better"] == sum(value > 1e-7 for value in differences)
    sizes = [abs(one["measures"]["nDCG@10"]["difference"]) for one in told["per_query"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(told["relevant_documents"].values()) == 12
    assert told["k"] == 1000


def test_one_query_in_full(run, fruit, fakes):
    done = run("compare", *SIDES, "--on", fruit, "--query", "q4", "--top", 7)
    assert done.code == 0
    head = re.search(r"^rank A +sparse B +sparse/dense$", done.out, re.M)
    rows = done.out[head.end() :].splitlines()[1:]
    assert [int(row[:4]) for row in rows] == list(range(1, 8))
    assert sum("●" in row for row in rows) >= 1
    told = json.loads(run("compare", *SIDES, "--on", fruit, "--query", "q4", "--format", "json").out)
    [one] = told["per_query"]
    assert one["query"] == WORDS[4]
    assert [document["a"]["rank"] for document in one["a"]] == list(range(1, len(one["a"]) + 1))
    done = run("compare", *SIDES, "--on", fruit, "--query", "nope")
    assert (done.code, done.out) == (2, "")
    assert "no judged query 'nope' in fruit. It has 6 queries ('q0', 'q1', 'q2' and 3 more)" in done.err


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("options", [("--top", "6"), ("--query", "q1"), ("--measures", "Success@10,AP", "--top", "1")])
def test_it_fits_the_terminal(run, fruit, fakes, monkeypatch, width, options):
    monkeypatch.setattr(out, "width", width)
    done = run("compare", *SIDES, "--on", fruit, *options)
    assert done.code == 0
    from rich.cells import cell_len

    assert max(map(cell_len, done.out.splitlines())) <= width
    assert ("better" in done.out.split("nDCG@10 of")[0]) == (width >= 80 and "--query" not in options)


def test_an_id_stands_behind_a_title_that_is_too_long_for_the_line(run, fruit, fakes, monkeypatch):
    monkeypatch.setattr(out, "width", 80)
    done = run("compare", *SIDES, "--on", fruit, "--query", "q2")
    assert re.search(r"→ \S+ +●2 [水果]+ ?…  d2$", done.out, re.M)


def test_runs_are_compared_without_a_model(run, fruit, tmp_path):
    for name, places in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        lines = [f"q{n} Q0 d{place} 1 {9 - rank} x\n" for n in range(3) for rank, place in enumerate(places)]
        (tmp_path / f"{name}.trec").write_text("".join(lines))
    files = (tmp_path / "a.trec", tmp_path / "b.trec")
    done = run("compare", *files, "--on", fruit, "--measures", "RR@10")
    assert done.code == 0
    assert "a run" in done.out
    assert re.search(r"^ +1 → 2 +●2 red apples  d0$", done.out, re.M)
    assert re.search(r"^ +A +score 9$", done.out, re.M)
    assert "has nothing for 3 queries" in done.err
    same = run("compare", files[0], files[0], "--on", fruit)
    assert (same.code, same.out) == (2, "")
    assert "are the same" in same.err
    (tmp_path / "c.trec").write_text(files[0].read_text())
    done = run("compare", files[0], tmp_path / "c.trec", "--on", fruit)
    assert "nDCG@10 is the same for every query." in done.out
    assert "6 of 6 queries have the same list in A and B." in done.out
    assert "more queries changed" not in done.out


def test_an_earlier_evaluation_is_compared_by_its_values(run, fruit, fakes, tmp_path):
    models = ("--sparse", "fake/sparse", "--dense", "fake/dense", "--format", "json")
    (tmp_path / "before.json").write_text(run("evaluate", fruit, *models).out)
    done = run("compare", f"{tmp_path}/before.json@dense", SIDES[1], "--on", fruit)
    assert done.code == 0
    assert "the values of dense in an earlier evaluation" in done.out
    assert "where documents stand in it cannot be told" in done.err
    assert "Relevant documents" not in done.out
    done = run("compare", tmp_path / "before.json", SIDES[1], "--on", fruit)
    assert (done.code, done.out) == (2, "")
    assert "Name one of bm25, sparse, dense, hybrid" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("hybrid",), 2, "Missing argument 'B'"),
        (("hybrid", "sparse"), 2, "--on"),
        (("nope", "hybrid", "--on", "FRUIT"), 2, "A is 'nope': no file, no mode"),
        (("hybrid", "nope.trec", "--on", "FRUIT"), 3, "B is 'nope.trec', and there is no such file"),
        (("hybrid", "sparse", "--on", "nowhere"), 3, "nowhere"),
        (("hybrid", "sparse", "--on", "FRUIT", "-k", "0"), 2, "k is 0"),
        (("hybrid", "sparse", "--on", "FRUIT", "--top", "-1"), 2, "--top"),
        (("hybrid", "sparse", "--on", "FRUIT", "--measures", "AP,AP"), 2, "names one twice"),
        (("hybrid", "sparse", "--on", "FRUIT", "--measures", ","), 3, "none given"),
        (("hybrid", "sparse", "--on", "FRUIT", "--format", "xml"), 2, "--format"),
        (("hybrid,rrf_k=x", "sparse", "--on", "FRUIT"), 2, "rrf_k is 'x'"),
        (("hybrid", "sparse", "--on", "FRUIT", "-c", "mien"), 3, "No collection 'mien'"),
    ],
)
def test_wrong_calls_say_what_is_wrong(run, fruit, arguments, code, message):
    done = run("compare", *(str(fruit) if argument == "FRUIT" else argument for argument in arguments))
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_wild_texts_do_no_harm(run, tmp_path):
    wild = "\x1b[31m\u202e[bold]\x9b"
    folder = tmp_path / "wild"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{wild}", "title": f"T{wild}", "text": f"yaks {wild}"}, {"_id": "e", "text": "x"}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": f"q{wild}", "text": f"yaks {wild}"}) + "\n")
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq{wild}\td{wild}\t1\n")
    for name, score in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}[bold].trec").write_text(f"q{wild} Q0 {'e' if score == 2 else f'd{wild}'} 1 {score} x\n")
    files = [tmp_path / f"{name}[bold].trec" for name in "ab"]
    for options in ((), ("--query", f"q{wild}"), ("--format", "json")):
        done = run("compare", *files, "--on", folder, *options)
        assert done.code == 0, done.err
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.out + done.err)
        assert "[bold]" in done.out


def test_bars_keep_the_order_and_the_ends():
    assert sparkline([], 1.0) == ""
    assert sparkline([1.0, 0.5], 0.0) == "  "
    line = sparkline([n / 80 for n in range(1, 81)], 1.0)
    assert set(line) == set(BARS)
    assert list(line) == sorted(line)
    assert sparkline([2.0, -1.0], 1.0) == "█ "
    values = [float(n) for n in range(97)]
    for columns in (1, 10, 96, 97, 200):
        again = resample(values, columns)
        assert len(again) == min(columns, 97)
        assert again == sorted(again)
        assert sum(again) / len(again) == pytest.approx(48, abs=1)
