"""Sources of training data: what each kind of row becomes, what is refused, and that nothing held out is trained on."""

import csv
import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.corpus.fields import BadRecord
from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.training import holdout
from hybrid_search.training.data import read
from hybrid_search.training.examples import Example, draw, normalize
from hybrid_search.training.records import GivenVector, parse_cells, parse_row
from hybrid_search.types import SparseVector

MOVIES = Path(__file__).resolve().parents[2] / "datasets" / "movies"
PAIRS = [{"query": f"question {n}", "positive": f"The answer to number {n}."} for n in range(20)]


@pytest.fixture
def beir(tmp_path):
    """Write a BEIR folder: documents and queries by id, and for each split (query_id, doc_id, grade) rows."""

    def write(documents, queries, name="beir", **splits):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        for part, rows in (("corpus", documents), ("queries", queries)):
            lines = [json.dumps({"_id": key, **value}) for key, value in rows.items()]
            (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for one, rows in splits.items():
            lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
            (folder / "qrels" / f"{one}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


def texts(count, what="Text"):
    return {f"d{n}": {"text": f"{what} {n}."} for n in range(count)}


def asked(count):
    return {f"q{n}": {"text": f"question {n}"} for n in range(count)}


def only(path, **options):
    """The examples of a file, nothing held out."""
    return read([path], held_out=0, **options).examples


# ---------------------------------------------------------------- what a row is


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"query": "q", "positive": "p"}, Example("q", "p")),
        ({"query": "q", "passage": "p", "source": "x", "licence": "y"}, Example("q", "p")),
        ({"anchor": " q ", "document": "p\u0000"}, Example("q", "p\ufffd")),
        ({"query": "q", "positive": "p", "negative": "n"}, Example("q", "p", ("n",))),
        ({"query": "q", "positive": "p", "negatives": ["n", "m"]}, Example("q", "p", ("n", "m"))),
        ({"query": "q", "positive": "p", "negatives": []}, Example("q", "p")),
        ({"query": "q", "positive": "p", "negative": None}, Example("q", "p")),
        ({"query": "q", "positive": "p", "negative_10": "c", "negative_2": "b"}, Example("q", "p", ("b", "c"))),
        (
            {"query": "q", "positive": "p", "negatives": ["n"], "scores": [2, -1.5]},
            Example("q", "p", ("n",), (2, -1.5)),
        ),
        ({"query": "q", "positive": "p", "negative": "n", "label": [3, 1]}, Example("q", "p", ("n",), (3.0, 1.0))),
        ({"query": "q", "positive": "p", "negative": "n", "label": 0.8}, Example("q", "p", ("n",), (0.0, -0.8))),
        (
            {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m", "label": [0.5, -1]},
            Example("q", "p", ("n", "m"), (0.0, -0.5, 1.0)),
        ),
        (
            {"query": "q", "positive": "p", "query_id": 7, "positive_id": "d7"},
            Example("q", "p", query_id="7", positive_id="d7"),
        ),
        ({"text": "t", "vector": {"a": 1, "##b": 0.5}}, GivenVector("t", {"a": 1.0, "##b": 0.5})),
        ({"text": "t", "vector": {"indices": [5, 2], "values": [1, 0.5]}}, GivenVector("t", {"5": 1.0, "2": 0.5})),
        ({"text": "t", "vector": {"indices": 2.0, "values": 1.0}}, GivenVector("t", {"indices": 2.0, "values": 1.0})),
    ],
)
def test_the_fields_say_what_a_row_is(row, expected):
    assert parse_row(row) == expected


@pytest.mark.parametrize(
    ("row", "field", "expected"),
    [
        ({}, "none", "expected query and positive"),
        ({"text": "t", "title": "x"}, "'text', 'title'", "or text and vector"),
        ({"query": "q", "positive": "p", "text": "t", "vector": {}}, "both a pair and a given vector", "not both"),
        ({"query": "q", "positive": "p", "passage": "p"}, "'positive' and 'passage'", "one of them"),
        ({"query": "q", "anchor": "q", "passage": "p"}, "'query' and 'anchor'", "one of them"),
        (
            {"query": "q", "positive": "p", "negative": "n", "negative_1": "m"},
            "'negative' and 'negative_1'",
            "one of them",
        ),
        ({"query": " ", "positive": "p"}, "'query' is empty", "expected text"),
        ({"query": "q", "positive": 7}, "'positive'", "expected text, found 7"),
        ({"query": "q", "positive": "p", "negatives": ["n", None]}, "'negatives'", "expected text, found None"),
        ({"query": "q", "positive": "Same text.", "negative": "same  TEXT"}, "a negative is the same", "positive"),
        (
            {"query": "q", "positive": "p", "negatives": ["n"], "scores": [1]},
            "'scores'",
            "expected 2 numbers .* found 1",
        ),
        ({"query": "q", "positive": "p", "negatives": ["n"], "label": [1, 2, 3]}, "'label'", "or 1 margins, found 3"),
        ({"query": "q", "positive": "p", "label": 1}, "'label'", "nothing to compare"),
        (
            {"query": "q", "positive": "p", "negative": "n", "scores": [1, "2"]},
            "'scores'",
            "expected a number, found '2'",
        ),
        ({"query": "q", "positive": "p", "negative": "n", "scores": [1, True]}, "'scores'", "a number, found True"),
        ({"query": "q", "positive": "p", "negative": "n", "scores": [1, float("nan")]}, "'scores'", "finite .* nan"),
        ({"query": "q", "positive": "p", "negative": "n", "scores": [1, 10**400]}, "'scores'", "finite number"),
        ({"query": "q", "positive": "p", "query_id": ["x"]}, "'query_id'", "a string or a whole number"),
        ({"text": "t", "vector": [1, 2]}, "'vector'", "an object of weights, found"),
        ({"text": "t", "vector": {"a": -1}}, "'vector'", "'a' is -1.0; expected >= 0"),
        ({"text": "t", "vector": {"a": 1e39}}, "'vector'", "'a' is 1e"),
        ({"text": "t", "vector": {"indices": [1], "values": [1, 2]}}, "'vector'", "1 indices and 2 values"),
        ({"text": "t", "vector": {"indices": [1, 1], "values": [1, 2]}}, "'vector'", "none twice"),
        ({"text": "t", "vector": {"indices": [-1], "values": [1]}}, "'vector'", "indices from 0, found -1"),
    ],
)
def test_a_bad_row_names_the_field_and_what_was_expected(row, field, expected):
    with pytest.raises(BadRecord, match=expected) as caught:
        parse_row(row)
    assert field in str(caught.value)


def test_the_cells_of_a_table_are_text_except_where_they_must_be_json():
    cells = {"query": "1984", "positive": "[a novel]", "negatives": '["x", "y"]', "scores": "[3, 2, 1]", "note": ""}
    assert parse_cells(cells) == Example("1984", "[a novel]", ("x", "y"), (3.0, 2.0, 1.0))
    assert parse_cells({"query": "q", "positive": "p", "negatives": "only one", "label": "0.5"}).scores == (0.0, -0.5)
    assert parse_cells({"query": "q", "positive": "p", "negative": " "}).negatives == ()
    with pytest.raises(BadRecord, match="'scores': expected JSON, found 'high'"):
        parse_cells({"query": "q", "positive": "p", "negative": "n", "scores": "high"})


# ---------------------------------------------------------------- files


def test_the_same_rows_in_every_format_are_the_same_examples(tmp_path, jsonl):
    rows = [{"query": f"q, {n}", "positive": f'a "{n}"', "negative": f"n\t{n}"} for n in range(3)]
    expected = tuple(Example(row["query"], row["positive"], (row["negative"],)) for row in rows)
    lines = jsonl(rows, "rows.jsonl")
    files = [lines]
    for name, delimiter in (("rows.csv", ","), ("semicolons.csv", ";"), ("rows.tsv", "\t")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["query", "positive", "negative"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        files.append(tmp_path / name)
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    files.append(tmp_path / "rows.json")
    for file in list(files):
        packed = tmp_path / f"{file.name}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        files.append(packed)
    # Packed or not is told by the bytes.
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "wide.jsonl").write_text(lines.read_text(encoding="utf-8"), encoding="utf-16")
    for file in [*files, tmp_path / "packed.jsonl", tmp_path / "wide.jsonl"]:
        assert only(file) == expected, file.name


def test_kinds_may_stand_side_by_side_and_the_name_says_nothing(jsonl):
    rows = [PAIRS[0], {"text": "t", "vector": {"7": 1.5}}, {**PAIRS[1], "negative": "n"}]
    found = read([jsonl(rows, "triplets.jsonl")], held_out=0)
    assert [len(example.negatives) for example in found.examples] == [0, 1]
    assert found.vectors == (("t", SparseVector([7], [1.5])),)
    assert found.held_out == ({}, {}, {})


def test_hashes_are_those_of_the_bytes(jsonl, beir):
    file = jsonl(PAIRS, "pairs.jsonl")
    folder = beir(texts(4), asked(4), test=[(f"q{n}", f"d{n}", 1) for n in range(4)])
    found = read([file, folder])
    expected = [file, folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"]
    assert found.hashes == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in expected}


def test_bad_rows_are_named_with_file_and_line_all_at_once(jsonl):
    bad = ["{not json", {"query": "q"}, "[1]", {"query": "q", "positive": ""}, {"query": 1, "positive": "p"}, "null"]
    file = jsonl([PAIRS[0], *bad, PAIRS[1]], "rows.jsonl")
    with pytest.raises(CorpusError) as caught:
        only(file)
    said = str(caught.value)
    for number, reason in (
        (2, "not valid JSON"),
        (3, "the fields are 'query'; expected query and positive"),
        (4, "expected a JSON object, found a list"),
        (5, "the field 'positive' is empty"),
        (6, "the field 'query': expected text, found 1"),
    ):
        assert f"{file}:{number}: {reason}" in said
    assert "and 1 more" in said
    assert "--skip-bad-rows" in said

    failures = []
    assert only(file, on_failure=failures.append) == (Example(**PAIRS[0]), Example(**PAIRS[1]))
    assert [failure.origin for failure in failures] == [f"{file}:{number}" for number in range(2, 8)]


def test_a_table_row_is_named_with_its_line(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text('query,positive\nq1,"two\nlines"\nq2,\nq3,p,x\n', encoding="utf-8")
    failures = []
    assert only(file, on_failure=failures.append) == (Example("q1", "two\nlines"),)
    assert [failure.origin for failure in failures] == [f"{file}:4", f"{file}:5"]
    assert "expected query and positive" in failures[0].reason
    assert "3 cells, the header has 2" in failures[1].reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.txt", b"query\tpositive\n", "expected .jsonl"),
        ("rows.jsonl", b"", "the file is empty"),
        ("rows.csv", b"a,b\n1,2\n", "'a', 'b'; expected query and positive"),
        ("rows.tsv", b"what is bm25\ta function\n", "the header cannot be used"),
        ("rows.jsonl.gz", gzip.compress(json.dumps(PAIRS).encode() * 99)[:-20], "cannot be read"),
        ("rows.jsonl.gz", b"\x1f\x8bnot really", "cannot be read"),
        ("rows.jsonl", b"PK\x03\x04" + bytes(99), "looks binary"),
    ],
)
def test_a_file_that_is_no_training_data_is_an_error_even_when_bad_rows_are_left_out(
    tmp_path, name, content, said, jsonl
):
    file = tmp_path / name
    file.write_bytes(content)
    good = jsonl(PAIRS, "good.jsonl")
    failures = []
    with pytest.raises(CorpusError, match=said) as caught:
        read([file, good], on_failure=failures.append)
    assert str(file) in str(caught.value)
    assert "--skip-bad-rows" not in str(caught.value)


def test_sources_and_values_that_cannot_be_meant(tmp_path, jsonl):
    file = jsonl(PAIRS, "pairs.jsonl")
    with pytest.raises(CorpusError, match="No file or folder"):
        read([tmp_path / "pears.jsonl"])
    with pytest.raises(InvalidArgument, match="No source"):
        read([])
    with pytest.raises(InvalidArgument, match="stdin"):
        read(["-"])
    for share in (-0.1, 0.6, 1.5, float("nan"), float("inf"), True):
        with pytest.raises(InvalidArgument, match="held_out is"):
            read([file], held_out=share)
    with pytest.raises(InvalidArgument, match="at most 10"):
        read([file], held_out=11)
    with pytest.raises(InvalidArgument, match="held_out_documents"):
        read([file], held_out_documents=-1)
    with pytest.raises(CorpusError, match="not a BEIR folder"):
        read([tmp_path])
    with pytest.raises(CorpusError, match=r"one distinct query, .* --held-out 0"):
        read([jsonl([PAIRS[0]] * 9, "one.jsonl")])
    with pytest.raises(CorpusError, match=r"nothing to train on: no row could be used"):
        read([jsonl(["{"], "none.jsonl")], on_failure=lambda failure: None)


def test_judgements_without_an_answer_are_said(beir):
    folder = beir(texts(4), asked(4), test=[(f"q{n}", f"d{n}", 0) for n in range(3)])
    with pytest.raises(CorpusError, match=r"of 3 judged queries none has a document judged above 0"):
        read([folder])


# ---------------------------------------------------------------- given vectors

VOCABULARY = {"music": 3, "##s": 5, "7": 8, "11": 0}


def test_vectors_by_token_take_their_dimensions_from_the_vocabulary(jsonl):
    rows = [{"text": "a", "vector": {"music": 0.5, "##s": 2, "7": 0}}, {"text": "b", "vector": {"7": 1, "11": 2}}]
    found = read([jsonl(rows)], vocabulary=VOCABULARY).vectors
    # The second row alone could be dimensions; the file's first key that is no number decides for all of it.
    assert found == (("a", SparseVector([3, 5], [0.5, 2.0])), ("b", SparseVector([0, 8], [2.0, 1.0])))
    with pytest.raises(InvalidArgument, match="vocabulary"):
        read([jsonl(rows)])


def test_vectors_by_dimension_need_no_vocabulary_but_keep_inside_it(jsonl):
    file = jsonl([{"text": "a", "vector": {"8": 1, "0": 2}}, {"text": "b", "vector": {"indices": [9], "values": [1]}}])
    assert [len(vector) for _, vector in read([file]).vectors] == [2, 1]
    with pytest.raises(CorpusError, match=r"corpus.jsonl:2: the field 'vector': dimension 9; expected 0 .. 8"):
        read([file], vocabulary=VOCABULARY)
    big = jsonl([{"text": "a", "vector": {"2147483648": 1}}])
    with pytest.raises(CorpusError, match="dimension 2147483648"):
        read([big])


def test_vectors_that_cannot_be_used(jsonl):
    rows = [{"text": "a", "vector": {"music": 1, "rock": 1, "roll": 2}}, {"text": "b", "vector": {"music": 0}}]
    failures = []
    good = {"text": "c", "vector": {"music": 1}}
    found = read([jsonl([*rows, good])], vocabulary=VOCABULARY, on_failure=failures.append)
    assert [text for text, _ in found.vectors] == ["c"]
    assert "'rock', 'roll' not in the model's vocabulary of 4 tokens" in failures[0].reason
    assert "no weight above 0" in failures[1].reason


# ---------------------------------------------------------------- BEIR folders


def test_the_films_are_split_by_their_queries():
    found = read([MOVIES])
    judged = len((MOVIES / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()) - 1
    assert len(found.held_out.queries) == 21  # a fifth of 103
    assert len(found.examples) + sum(map(len, found.held_out.qrels.values())) == judged
    assert len(found.held_out.documents) == 392
    assert len({example.query_id for example in found.examples}) == 103 - 21
    spinal_tap = next(each for each in [*found.examples] if each.positive_id == "spinal-tap-1984")
    assert spinal_tap.positive.startswith("This Is Spinal Tap\nThe film director")
    assert {grade for grades in found.held_out.qrels.values() for grade in grades.values()} == {1, 2}


def test_the_split_depends_on_the_seed_and_nothing_else():
    first, again, other = read([MOVIES], seed=1), read([MOVIES], seed=1), read([MOVIES], seed=2)
    assert first == again
    assert set(first.held_out.queries) != set(other.held_out.queries)


def test_train_and_dev_splits_are_taken_as_they_are_and_test_is_not_touched(beir):
    folder = beir(
        texts(6),
        {**asked(6), "again": {"text": "QUESTION 5?"}},
        train=[("q0", "d0", 1), ("q1", "d1", 2), ("again", "d5", 1)],
        dev=[("q5", "d5", 1)],
        test=[("q3", "d3", 1)],
    )
    found = read([folder])
    assert [(example.query_id, example.positive_id) for example in found.examples] == [("q0", "d0"), ("q1", "d1")]
    assert found.held_out.qrels == {"q5": {"d5": 1}}  # `again` is the same question, so it is not trained on
    assert found.held_out.queries == {"q5": "question 5"}
    assert folder / "qrels" / "test.tsv" not in map(Path, found.hashes)
    assert folder / "qrels" / "dev.tsv" in map(Path, found.hashes)
    assert [example.query_id for example in read([folder], held_out=0).examples] == ["q0", "q1", "again"]


def test_documents_judged_0_are_negatives(beir):
    documents = {**texts(12), "twin": {"text": "text 0"}}
    zeros = [("q0", f"d{n}", 0) for n in range(1, 12)]
    folder = beir(documents, asked(1), test=[("q0", "d0", 3), ("q0", "twin", -1), *zeros])
    (example,) = only(folder)
    assert len(example.negatives) == 8
    assert "text 0" not in example.negatives  # word for word the positive, whatever it was judged
    assert example.negatives == only(folder)[0].negatives
    assert example.negatives != only(folder, seed=5)[0].negatives


def test_broken_judgements_and_documents(beir):
    documents = {**texts(8), "empty": {"text": " "}, "unjudged": {"text": ""}}
    rows = [(f"q{n}", f"d{n}", 1) for n in range(8)]
    folder = beir(documents, asked(8), test=rows)
    assert len(only(folder)) == 8  # nobody judged the empty ones

    with (folder / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("q1\tempty\t1\nq2\tlost\t1\n")
    with pytest.raises(CorpusError) as caught:
        only(folder)
    for part in (
        f"{folder / 'corpus.jsonl'}:9: no text",
        f"{folder / 'qrels' / 'test.tsv'}:10: judges the document 'empty', which corpus.jsonl does not have",
        f"{folder / 'qrels' / 'test.tsv'}:11: judges the document 'lost'",
    ):
        assert part in str(caught.value)
    failures = []
    assert len(only(folder, on_failure=failures.append)) == 8
    assert len(failures) == 4
    (folder / "queries.jsonl").write_text('{"_id": "q1"}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"queries.jsonl:1: expected an object"):
        only(folder)


def test_a_folder_can_be_what_is_held_out(beir, jsonl):
    folder = beir(texts(9, "Film"), asked(3), test=[("q0", "d0", 1), ("q1", "d1", 2), ("q2", "d2", 0)])
    found = read([jsonl(PAIRS, "pairs.jsonl")], held_out=folder)
    assert found.held_out.qrels == {"q0": {"d0": 1}, "q1": {"d1": 2}}
    assert found.held_out.documents == {key: value["text"] for key, value in texts(9, "Film").items()}
    assert [example.query for example in found.examples] == [f"question {n}" for n in range(2, 20)]
    small = read([jsonl(PAIRS, "pairs.jsonl")], held_out=str(folder), held_out_documents=2).held_out
    assert 2 <= len(small.documents) <= 4
    none = beir(texts(2), asked(1), name="none", test=[("q0", "d0", 0)])
    with pytest.raises(CorpusError, match="judges no document above 0"):
        read([MOVIES], held_out=none)


def test_ids_of_several_sources_do_not_meet(beir, jsonl):
    one = beir(texts(6, "One"), asked(6), "one", test=[(f"q{n}", f"d{n}", 1) for n in range(6)])
    two = beir(
        texts(6, "Two"),
        {f"q{n}": {"text": f"another {n}"} for n in range(6)},
        "two",
        test=[(f"q{n}", f"d{n}", 1) for n in range(6)],
    )
    found = read([one, two, jsonl(PAIRS[6:], "pairs.jsonl")], held_out=13)
    for query_id, query in found.held_out.queries.items():
        number = query.split()[-1]
        what = {"1": "One", "2": "Two", "q": "The answer to number"}[query_id[0]]
        (doc_id,) = found.held_out.qrels[query_id]
        assert found.held_out.documents[doc_id] == f"{what} {number}."
    assert {query_id[0] for query_id in found.held_out.queries} == {"1", "2", "q"}
    # An example keeps the id its source has: mining looks for that.
    assert {example.positive_id for example in found.examples} <= {"", *(f"d{n}" for n in range(6))}


# ---------------------------------------------------------------- the split of pairs


def test_pairs_are_split_by_query_and_all_texts_are_candidates(jsonl):
    rows = [{**row, "negative": f"Wrong {n}"} for n, row in enumerate(PAIRS)]
    found = read([jsonl(rows)], held_out=0.25)
    assert (len(found.examples), len(found.held_out.queries)) == (15, 5)
    assert len(found.held_out.documents) == 40
    for query_id, grades in found.held_out.qrels.items():
        number = found.held_out.queries[query_id].split()[-1]
        shown = {found.held_out.documents[doc_id]: grade for doc_id, grade in grades.items()}
        assert shown == {f"The answer to number {number}.": 1, f"Wrong {number}": 0}
    few = read([jsonl(rows)], held_out=0.25, held_out_documents=3).held_out
    assert len(few.documents) == 13
    assert few.documents.items() <= found.held_out.documents.items()


@pytest.mark.parametrize(
    ("queries", "share", "expected"),
    [(2, 0.2, 1), (8, 0.2, 4), (20, 0.1, 5), (100, 0.2, 20), (9_000, 0.2, 1_000), (9_000, 2_000, 2_000), (3, 0, 0)],
)
def test_how_many_are_held_out(queries, share, expected):
    assert len(holdout.choose_queries([str(n) for n in range(queries)], share, 0)) == expected


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["red", "green", "blue", "pink", "gray", "teal", "gold"]), st.integers(0, 5)),
        min_size=8,
        max_size=40,
    ).filter(lambda rows: len({word for word, _ in rows}) >= 2),
    st.randoms(use_true_random=False),
    st.integers(0, 99),
)
def test_no_held_out_query_is_trained_on_however_it_is_written(tmp_path_factory, rows, chance, seed):
    forms = ["{}", " {}", "{}?", "{}  ", "{} ."]

    def written(word):
        return chance.choice(forms).format(chance.choice([word, word.upper(), word.title()]))

    lines = [{"query": written(word), "positive": f"about {word} {n}"} for word, n in rows]
    lines += [{"text": written(word), "vector": {"1": 1}} for word, _ in rows]
    file = tmp_path_factory.mktemp("split") / "rows.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = read([file], seed=seed)
    held = {normalize(text) for text in found.held_out.queries.values()}
    assert held
    assert len(held) == len(found.held_out.queries)  # one text, one query
    assert held.isdisjoint(normalize(example.query) for example in found.examples)
    assert held.isdisjoint(normalize(text) for text, _ in found.vectors)
    # Nothing is lost: every row is on one side, with all its answers.
    sides = held | {normalize(example.query) for example in found.examples}
    assert sides == {word for word, _ in rows}
    assert len(found.examples) == sum(word not in held for word, _ in rows)
    for query_id, text in found.held_out.queries.items():
        answers = {
            found.held_out.documents[doc_id] for doc_id, grade in found.held_out.qrels[query_id].items() if grade
        }
        assert answers == {f"about {word} {n}" for word, n in rows if word == normalize(text)}
    # The order of the rows does not matter.
    chance.shuffle(lines)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert {normalize(text) for text in read([file], seed=seed).held_out.queries.values()} == held


@given(st.lists(st.text(max_size=4), max_size=30), st.integers(0, 12), st.randoms(use_true_random=False))
def test_the_pool_draws_the_same_documents_in_whatever_order_they_come(ids, size, chance):
    def drawn(order):
        pool = holdout.Pool(size, seed=3)
        for doc_id in order:
            pool.offer(doc_id, doc_id.upper())
        return pool.documents()

    expected = sorted(set(ids), key=lambda doc_id: (draw(3, "document", doc_id), doc_id))[:size]
    again = chance.sample(ids, len(ids)) + ids
    assert drawn(ids) == drawn(again) == {doc_id: doc_id.upper() for doc_id in sorted(expected)}


@given(st.text())
def test_the_normalised_form_is_its_own(text):
    once = normalize(text)
    assert normalize(f"  {text}\n") == once
    assert bool(once) == bool(text.strip())
