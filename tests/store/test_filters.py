"""Filters inside a store: what every engine answers is what `holds` says."""

import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from hybrid_search.errors import FilterError, StoreError
from hybrid_search.filters import And, Compare, Exists, Match, OneOf
from hybrid_search.filters.matcher import matches
from hybrid_search.filters.parser import parse
from hybrid_search.ranking.fusion import rank
from hybrid_search.search.retrieval import retrieve
from hybrid_search.store import filter_translation
from hybrid_search.store.edge.store import EdgeStore
from tests.random_filters import DATES, random_condition, random_metadata, random_test, seeded
from tests.store.conftest import in_memory
from tests.store.store_points import DIM, build, manifest_of, point, random_sparse
from tests.store.test_contract import brute_force

ONES = np.ones(DIM, np.float32)
MOVIES = Path(__file__).resolve().parents[2] / "datasets" / "movies" / "corpus.jsonl"


def passing(reader, condition):
    return {chunk_id for chunk_id, _ in reader.retrieve([("dense", ONES)], 1_000, condition)[0]}


def films():
    rows = [json.loads(line) for line in MOVIES.read_text(encoding="utf-8").splitlines()]
    return [point(row["_id"], metadata=row["metadata"], text=row["text"]) for row in rows]


# ---------------------------------------------------------------- the same meaning


@pytest.fixture
def odd():
    """Two hundred points with whatever metadata may hold."""
    rng = seeded(5)
    return [point(f"d{number}", metadata=random_metadata(rng), text=f"some text {number}") for number in range(200)]


def test_an_engine_lets_pass_what_holds(store, name, odd):
    build(store, name, odd)
    reader, rng = store.reader(name), seeded(11)
    met, rounds = 0, 150 if isinstance(store, EdgeStore) else 60
    for _ in range(rounds):
        condition = random_test(rng) if rng.random() < 0.5 else random_condition(rng)
        expected = {p.chunk_id for p in odd if matches(condition, p.payload)}
        assert passing(reader, condition) == expected, str(condition)
        met += 0 < len(expected) < len(odd)
    assert met > rounds / 4


def test_a_collection_without_indexes_gives_the_same_answers(tmp_path, odd, monkeypatch):
    monkeypatch.setattr("hybrid_search.store.edge.writer.new_fields", lambda points, known: {})
    store, rng = EdgeStore(tmp_path), seeded(12)
    build(store, "old", odd)
    reader = store.reader("old")
    for _ in range(50):
        condition = random_test(rng)
        assert passing(reader, condition) == {p.chunk_id for p in odd if matches(condition, p.payload)}, str(condition)


CORNERS = {
    "marks > 2": {"b"},
    "marks < 1.5": {"a", "b"},
    "year < 1990.5": {"a"},
    "year > 1990.5": {"b"},
    "year = 1990.5": set(),
    "year = 1990.0": {"a"},
    "seen = true": {"a"},
    "seen != true": {"b", "c"},
    "not seen in (true, false)": {"c"},
    "id = 1234567890123456789": {"a"},
    "id > 1234567890123456788": {"a"},
    "day = '2026-11-21'": {"a"},
    "day >= '2026-11-21' and day < '2026-11-22'": {"a", "b"},
    "day > 3": set(),
    "year > '1900-01-01'": set(),
    "title ~ 'TITLE'": {"a", "b", "c"},
    "title ~ 'TIT'": set(),
    "title ^= 'A t'": {"a", "b", "c"},
    "title ^= 'a t'": set(),
    "by.name = 'Ann'": {"a", "b"},
    "by.name = 'Bob'": {"b"},
    "exists(by.name)": {"a", "b"},
    "not exists(seen)": {"c"},
    '"a.b" = 1': {"a"},
    "doc_id in ('a', 'c')": {"a", "c"},
    "at within 5 km of (48.2, 16.37)": {"a"},
}
"""Filters, and which of three documents each lets pass."""


def test_the_corners_of_the_engine(store, name):
    metadata = {
        "a": {
            "year": 1990,
            "marks": [1, 1],
            "seen": True,
            "id": 1234567890123456789,
            "day": "2026-11-21",
            "a.b": 1,
            "by": {"name": "Ann"},
            "at": {"lat": 48.21, "lon": 16.37},
        },
        "b": {
            "year": 1991,
            "marks": [1, 2.5],
            "seen": False,
            "id": 1234567890123456788,
            "day": "2026-11-21T09:00:00Z",
            "by": [{"name": "Ann"}, {"name": "Bob"}],
            "at": {"lat": 48.3, "lon": 16.37},
        },
        "c": {},
    }
    build(store, name, [point(doc_id, metadata=each) for doc_id, each in metadata.items()])
    reader = store.reader(name)
    found = {text: {chunk_id.removesuffix("#0") for chunk_id in passing(reader, parse(text))} for text in CORNERS}
    assert found == CORNERS


# ---------------------------------------------------------------- kinds, dates and scripts

KINDS = {
    "whole": [1, 90210, -3, 2**60],
    "broken": [1.5, 90210.0, 1e300, 2.0],
    "text": ["drama", "90210", "01234", "1.5", "true", "x" * 300, ""],
    "truth": [True, False],
    "date": ["2024-01-02", "2024-01-02T00:00:00Z", "1999-12-31", "0999-01-01"],
    "part": ["12-3-4", "2024-1-2", "2024-13-45", "1234-5678"],
    "list": [["drama", 1.5], [None, 2.5], [True, 90210], ["2024-01-02", 5]],
}
KIND_TESTS = """
x = 1; x = 90210; x = 1.5; x = 2.5; x = '90210'; x = '01234'; x = 'drama'; x = true; x = false; x != 1.5; x != 'drama'
x in ('01234', 90210, 1.5, true); x between 1 and 3; x >= 2; x < 2; x = 1152921504606846976; x ^= '0'; x ~ 'drama'
x = '12-3-4'; x = '0012-03-04'; x = '2024-01-02'; x < '2020-01-01'; x >= '0001-01-01'; x > '2000-01-01'; exists(x)
x between '0001-01-01' and '0999-12-31'; x in ('12-3-4', '0999-01-01'); not x < '2020-01-01'; x != '2024-01-02'
"""


@pytest.mark.parametrize("first", ["whole", "text", "truth", "date"])
def test_a_field_of_many_kinds_is_found_by_each(store, name, first):
    """In two jobs, so that the index is of the first one's kind."""
    kinds = [(first,), [kind for kind in KINDS if kind != first]]
    batches = [
        [point(f"{kind}{n}", metadata={"x": x}) for kind in some for n, x in enumerate(KINDS[kind])] for some in kinds
    ]
    for batch in batches:
        build(store, name, batch)
    reader = store.reader(name)
    for text in KIND_TESTS.replace("\n", ";").split(";"):
        if text.strip():
            condition = parse(text.strip())
            expected = {p.chunk_id for batch in batches for p in batch if matches(condition, p.payload)}
            assert passing(reader, condition) == expected, text


@pytest.mark.parametrize("known", ["integer", "float"])
def test_a_broken_number_in_a_list_of_texts_is_not_lost_to_an_index_of_whole_ones(store, name, known):
    build(store, name, [point("a", metadata={"x": 1 if known == "integer" else 1.25})])
    build(store, name, [point("b", metadata={"x": ["a text", 1.5]}), point("c", metadata={"x": [None, 1.5]})])
    assert passing(store.reader(name), parse("x = 1.5")) == {"b#0", "c#0"}
    assert passing(store.reader(name), parse("x > 1.4 and x < 1.6")) == {"b#0", "c#0"}


def test_many_part_numbers_are_read_once_and_no_more_than_those(tmp_path, monkeypatch):
    store = EdgeStore(tmp_path)
    dates = [point(f"d{n}", metadata={"day": f"2024-01-{n + 1:02}"}) for n in range(30)]
    parts = [point(f"p{n}", metadata={"day": f"12-3-{n + 1}"}) for n in range(3)]
    build(store, "c", [*dates, *parts])
    reader, seen = store.reader("c"), []
    monkeypatch.setattr(
        filter_translation, "matches", lambda test, payload: seen.append(payload) or matches(test, payload)
    )
    assert len(passing(reader, parse("day < '2024-01-11'"))) == 10
    assert len(seen) == 3
    assert len(passing(reader, parse("day >= '2024-01-11'"))) == 20
    assert len(seen) == 3


SCRIPTS = {
    "zurich": "Zürich Österreich",
    "vietnam": "tiếng Việt",
    "hindi": "हिन्दी भाषा",
    "thai": "ฉันอ่านหนังสือ",
    "chinese": "猫坐在垫子上",
    "korean": "한국어 공부",
    "japanese": "カメラが好き",
    "greek": "ἄνθρωπος",
}


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_texts_are_compared_however_they_are_composed(store, name, stored, asked):
    texts = {doc_id: normalize(stored, text) for doc_id, text in SCRIPTS.items()}
    batch = [point(doc_id, metadata={"x": text, "tags": [text, "tag"]}, text=text) for doc_id, text in texts.items()]
    build(store, name, [*batch, point("none", metadata={"x": "Zurich tieng Viet", "größe": 1})])
    reader = store.reader(name)
    for doc_id, text in SCRIPTS.items():
        whole, rest = normalize(asked, text), {f"{other}#0" for other in [*SCRIPTS, "none"] if other != doc_id}
        part = normalize(asked, text[2:] if doc_id in ("thai", "chinese", "japanese") else text.split()[-1])
        for condition in (
            Compare("x", "=", whole),
            OneOf("tags", ("nothing", whole)),
            Match("x", "~", part),
            Match("text", "~", whole),
            Match("x", "^=", normalize(asked, text[:4])),
            Match("tags", "^=", whole),
        ):
            assert passing(reader, condition) == {f"{doc_id}#0"}, str(condition)
        assert passing(reader, Compare("x", "!=", whole)) == rest
    for text in ("Zu", "Zurich", "O", "tie"):
        assert passing(reader, Match("x", "^=", text)) <= {"none#0"}, text
    assert passing(reader, Compare(normalize(asked, "größe"), "=", 1)) == {"none#0"}
    assert passing(reader, Exists(normalize(asked, "größe"))) == {"none#0"}


# ---------------------------------------------------------------- the right hits


def film_filter(rng, films):
    """A filter on what a film has, so that most let some of them pass."""
    film, other = rng.choice(films).payload["metadata"], rng.choice(films).payload["metadata"]
    simple = [
        f"year >= {film['year']}",
        f"year between {film['year'] - 9} and {film['year'] + 9}",
        f"minutes < {film['minutes']}",
        f"genres in ('{film['genres'][0]}', '{other['genres'][-1]}')",
        f"countries = '{film['countries'][0]}'",
        f"genres ^= '{other['genres'][0][:2]}'",
        "text ~ 'a man'",
        "text ~ 'two'",
    ]
    one, two, three = rng.sample(simple, 3)
    return rng.choice([one, f"{one} and {two}", f"{one} or {two}", f"not {one}", f"{one} and not ({two} or {three})"])


def test_fifty_filters_over_the_films_find_what_brute_force_finds(store, name):
    batch, rng, numbers = films(), seeded(50), np.random.default_rng(50)
    build(store, name, batch)
    reader, some = store.reader(name), 0
    for _ in range(50):
        text = film_filter(rng, batch)
        condition = parse(text)
        kept = [p for p in batch if matches(condition, p.payload)]
        some += 10 < len(kept) < len(batch)
        query = {"sparse": random_sparse(numbers, active=12), "dense": numbers.normal(size=DIM).astype(np.float32)}
        found = retrieve(reader, {leg: [vector] for leg, vector in query.items()}, 10, condition)[0]
        for leg, vector in query.items():
            expected = rank(leg, brute_force(vector, kept, leg), 10)
            assert [hit.chunk_id for hit in found[leg]] == [hit.chunk_id for hit in expected], (text, leg)
    assert some > 25


@pytest.mark.parametrize("idf", [False, True])
def test_a_filter_changes_no_score(store, name, idf):
    batch = [point(f"d{n}", metadata={"n": n}) for n in range(120)]
    build(store, name, batch, manifest_of(idf=idf))
    reader, numbers = store.reader(name), np.random.default_rng(3)
    requests = [("sparse", random_sparse(numbers, active=20)), ("dense", ONES)]
    for free, narrow in zip(
        reader.retrieve(requests, 200), reader.retrieve(requests, 200, parse("n < 40")), strict=True
    ):
        kept = {chunk_id: score for chunk_id, score in free if int(chunk_id[1:-2]) < 40}
        assert len(kept) > 20
        assert dict(narrow) == pytest.approx(kept, rel=1e-5)


@pytest.mark.slow
def test_one_in_a_hundred_of_twenty_thousand_chunks_fills_the_list(tmp_path):
    dim, count = 160, 20_000  # longer vectors than elsewhere: the engine builds no index of a few megabytes
    numbers = np.random.default_rng(1)
    vectors = numbers.normal(size=(count, dim)).astype(np.float32)
    store, manifest = EdgeStore(tmp_path), manifest_of(["dense"])
    spec = manifest.legs["dense"]
    object.__setattr__(spec, "dim", dim)
    batch = [
        point(f"d{n}", legs=["dense"], dense=vectors[n], metadata={"part": n % 100, "name": f"n{n % 100:02}"})
        for n in range(count)
    ]
    build(store, "many", batch, manifest)
    reader = store.reader("many")
    lengths = np.linalg.norm(vectors, axis=1)
    for text in (
        "part = 7",
        "name ^= 'n07'",
        "part = 7 and not name = 'n08'",
        "title ~ 'title' and part = 7",
        "part != 7",
    ):
        condition, query = parse(text), numbers.normal(size=dim).astype(np.float32)
        scores = vectors @ query / lengths
        kept = [n for n in range(count) if (n % 100 == 7) != (text == "part != 7")]
        expected = [f"d{n}#0" for n in sorted(kept, key=lambda n: -scores[n])[:10]]
        found = reader.retrieve([("dense", query)], 200, condition)[0]
        assert len(found) == 200
        assert [chunk_id for chunk_id, _ in found[:10]] == expected, text


# ---------------------------------------------------------------- fields


def test_the_fields_are_named_with_their_types(store, name):
    long = "x" * 300
    build(
        store, name, [point("a", metadata={"year": 1, "by": {"name": "Ann"}, "a.b": True, "long": long, "none": None})]
    )
    fields = store.reader(name).fields()
    assert {key: fields[key] for key in ("year", "by.name", '"a.b"', "long", "title", "doc_id")} == {
        "year": "integer",
        "by.name": "keyword",
        '"a.b"': "bool",
        "long": "text",
        "title": "text",
        "doc_id": "text",
    }
    assert "none" not in fields


def test_a_field_that_no_document_has_is_refused_with_its_column_and_the_near_ones(store, name):
    build(store, name, [point("a", metadata={"year": 1990, "genres": ["war"]})])
    reader = store.reader(name)
    with pytest.raises(FilterError) as caught:
        reader.retrieve([("dense", ONES)], 5, parse("year > 1 and genre = 'war'"))
    assert caught.value.column == 14
    message = str(caught.value)
    assert "no document has a field genre. Did you mean genres? The fields are genres, year, title, text" in message
    assert message.splitlines()[1:] == ["  year > 1 and genre = 'war'", "  " + " " * 13 + "^"]
    with pytest.raises(FilterError, match="no document has a field genre"):
        reader.retrieve([("dense", ONES)], 5, Compare("genre", "=", "war"))
    for text in ("metadata.title = 'x'", "metadata = 1", "a.b.c.d.e.f = 1", '"" = 1'):
        with pytest.raises(FilterError, match="no document has a field"):
            reader.retrieve([("dense", ONES)], 5, parse(text))


# ---------------------------------------------------------------- how


def test_what_the_engine_decides_narrows_what_is_read_and_is_read_once(tmp_path, monkeypatch):
    store = EdgeStore(tmp_path)
    build(store, "c", [point(f"d{n}", metadata={"year": n}) for n in range(50)])
    reader, seen = store.reader("c"), []
    monkeypatch.setattr(
        filter_translation, "matches", lambda test, payload: seen.append(test) or matches(test, payload)
    )
    condition = And((Compare("year", "<", 5), Match("title", "~", "title")))
    for _ in range(2):
        assert len(passing(reader, condition)) == 5
    assert len(seen) == 5
    assert len(passing(reader, Compare("year", "=", 1))) == 1
    assert len(passing(reader, Compare("year", "=", True))) == 0


def test_a_server_that_refuses_a_filter_is_asked_by_ids(name, monkeypatch):
    store = in_memory()
    build(store, name, [point(f"d{n}", metadata={"year": n}) for n in range(50)])
    reader = store.reader(name)
    asked, query = [], reader._query

    def strict(requests, limit, wanted):
        asked.append(wanted)
        if "range" in wanted.model_dump_json(exclude_none=True):
            raise StoreError("Index required but not found for year")
        return query(requests, limit, wanted)

    monkeypatch.setattr(reader, "_query", strict)
    assert passing(reader, parse("year < 3")) == {"d0#0", "d1#0", "d2#0"}
    assert len(asked) == 2


def test_dates_far_out_are_compared_too(store, name):
    build(store, name, [point("a", metadata={"day": DATES[0]})])
    reader = store.reader(name)
    assert passing(reader, parse("day > '-0100-01-01' and day < '+19999-01-01'")) == {"a#0"}
