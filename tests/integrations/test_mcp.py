"""The MCP server in process, asked by the mcp client."""

import asyncio
import json
import logging
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

pytest.importorskip("mcp", reason="needs the extra 'mcp'")

from mcp import Client
from mcp.shared.exceptions import MCPError

from hybrid_search.corpus.trec import read_beir
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.mcp import bounds, schemas, server_of
from hybrid_search.integrations.mcp.tools import uri_of
from hybrid_search.integrations.searcher_pool import SearcherPool
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
BOTH = {"sparse": "fake/both", "dense": "fake/both"}
ODD_IDS = ["../../etc/passwd", "/etc/passwd", "C:\\x", "a?b#c%d", "nul\x00in", "blank in it", "ümlaut/日本"]
LINES = "\n".join(f"line {n} of the apple book" for n in range(1, 41))
FRUIT = [
    Document(
        "apples", "Red apples grow on old trees.", "Apples", {"year": 1999, "tags": ["red", "round"]}, "fruit.txt:1"
    ),
    Document("pears", "Green pears are sweet in autumn.", "Pears", {"year": 2005}),
    Document("bananas", "Yellow bananas come by ship.", metadata={"year": 2020}),
    Document("book", LINES, "The book"),
    *(Document(doc_id, f"The secret number {n} of an odd apple.") for n, doc_id in enumerate(ODD_IDS)),
]


@pytest.fixture(autouse=True)
def _quiet():
    """The library gives the root logger a handler where it has none."""
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def fruit(settings, fakes):
    Indexer.open("fruit", settings=settings, chunk_tokens=32, **BOTH).index(FRUIT)
    return settings


@pytest.fixture
def ask(fruit):
    """Call tools of a server: `ask(("search", {...}), ...)` gives the answers, or the only one."""

    def calls(*asked, names=("fruit",), mode="auto"):
        async def all_of_them():
            with SearcherPool(settings=fruit, only=names or None) as collections:
                async with Client(server_of(collections), mode=mode) as client:
                    return [await client.call_tool(*one) for one in asked]

        answers = asyncio.run(all_of_them())
        return answers[0] if len(answers) == 1 else answers

    return calls


def with_client(fruit, use, names=("fruit",), mode="auto"):
    async def run():
        with SearcherPool(settings=fruit, only=names or None) as collections:
            async with Client(server_of(collections), mode=mode) as client:
                return await use(client)

    return asyncio.run(run())


def read(fruit, uri):
    """The text of a resource, or the error that came instead."""

    async def use(client):
        try:
            return (await client.read_resource(uri)).contents[0].text
        except MCPError as error:
            return error

    return with_client(fruit, use)


def text_of(answer):
    assert [part.type for part in answer.content] == ["text"]
    return answer.content[0].text


def refused(answer):
    assert answer.is_error
    return text_of(answer)


# ---------------------------------------------------------------- what is offered


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_tools_are_read_only_described_and_typed(fruit, mode):
    tools = {tool.name: tool for tool in with_client(fruit, lambda client: client.list_tools(), mode=mode).tools}
    assert set(tools) == {"search", "explain", "get", "status"}
    for tool in tools.values():
        said = tool.annotations
        assert (said.read_only_hint, said.destructive_hint, said.open_world_hint) == (True, False, False)
        assert tool.title
        assert len(tool.description) > 100
        assert tool.output_schema["type"] == "object"
        for name, parameter in tool.input_schema["properties"].items():
            assert parameter["description"], name
            assert "anyOf" not in parameter  # some clients cannot read unions
    asked = tools["search"].input_schema["properties"]
    assert (asked["k"]["minimum"], asked["k"]["maximum"], asked["k"]["default"]) == (1, 100, 10)
    assert asked["offset"]["maximum"] == 9_999
    assert asked["text_chars"]["maximum"] == 20_000
    assert tools["get"].input_schema["properties"]["max_chars"]["maximum"] == 200_000
    assert "between" in tools["search"].description


@pytest.mark.parametrize(("names", "asked"), [(("fruit",), False), ((), True), (("fruit", "other"), True)])
def test_a_server_of_one_collection_asks_for_none(fruit, names, asked):
    Indexer.open("other", settings=fruit, **BM25).index(FRUIT[:1])
    tools = with_client(fruit, lambda client: client.list_tools(), names).tools
    assert {("collection" in tool.input_schema["properties"]) for tool in tools} == {asked}


def test_the_server_says_what_it_holds(fruit):
    async def said(client):
        return client.server_info, client.instructions

    info, instructions = with_client(fruit, said)
    assert info.name == "hybrid-search"
    assert "'fruit'" in instructions


# ---------------------------------------------------------------- search


def test_search_gives_what_the_searcher_does(ask, fruit):
    asked = {"query": "red apples in autumn", "k": 4}
    answer = ask(("search", asked))
    with Searcher.open("fruit", settings=fruit) as searcher:
        expected = searcher.search(asked["query"], k=4).to_dict()
    found = answer.structured_content
    assert not answer.is_error
    for key in ("query", "collection", "mode", "k"):
        assert found[key] == expected[key]
    for hit, wanted in zip(found["hits"], expected["hits"], strict=True):
        assert {**hit, "chunks": None} == {**wanted, "chunks": None}
        for chunk, whole in zip(hit["chunks"], wanted["chunks"], strict=True):
            assert chunk == {name: whole[name] for name in chunk}  # all short enough to be whole
    text = text_of(answer)
    assert text.startswith("'red apples in autumn' in fruit (hybrid): ranks 1 to 4. Everything between the lines <<<")
    assert re.search(r"\n\n1\. 0\.0\d+ \(sparse 1, dense \d\)\n<<<quoted \w+>>>\nApples \[apples\]\n", text)
    assert "year 1999 · tags red, round" in text
    assert "offset=4" in text
    assert len(text) < 2_500


def test_pages_follow_each_other(ask):
    first, second, both = ask(
        *[("search", {"query": "apple", "k": k, "offset": offset}) for k, offset in ((3, 0), (3, 3), (6, 0))]
    )
    ids = [[(hit["rank"], hit["doc_id"]) for hit in page.structured_content["hits"]] for page in (first, second, both)]
    assert ids[0] + ids[1] == ids[2]
    assert second.structured_content["offset"] == 3


def test_filters_and_modes_are_those_of_search(ask):
    filtered, sparse, none = ask(
        ("search", {"query": "fruit", "where": "year between 2000 and 2010"}),
        ("search", {"query": "pears", "mode": "sparse"}),
        ("search", {"query": "zzgrmbl", "mode": "sparse"}),
    )
    assert [hit["doc_id"] for hit in filtered.structured_content["hits"]] == ["pears"]
    assert sparse.structured_content["hits"][0]["legs"]["dense"] is None
    assert none.structured_content["hits"] == []
    assert "nothing found" in text_of(none)


def test_long_texts_are_cut_around_what_matches(ask):
    query = {"query": "line 20 of the book", "mode": "sparse", "k": 1}
    short, whole = ask(("search", {**query, "text_chars": 40}), ("search", {**query, "text_chars": 20_000}))
    for chunk, full in zip(
        short.structured_content["hits"][0]["chunks"], whole.structured_content["hits"][0]["chunks"], strict=True
    ):
        assert len(full["text"]) > 40 == len(chunk["text"])
        assert full["start"] <= chunk["start"] < chunk["end"] <= full["end"]
        assert LINES[chunk["start"] : chunk["end"]] == chunk["text"]
        assert LINES[full["start"] : full["end"]] == full["text"]
    assert "…" in text_of(short)


def test_what_is_indexed_meanwhile_is_found(fruit):
    async def use(client):
        before = await client.call_tool("search", {"query": "quinces", "mode": "sparse"})
        await asyncio.to_thread(
            Indexer.open("fruit", settings=fruit).index, [Document("quinces", "Quinces are hard and yellow.")]
        )
        return before, await client.call_tool("search", {"query": "quinces", "mode": "sparse"})

    before, after = with_client(fruit, use)
    assert before.structured_content["hits"] == []
    assert [hit["doc_id"] for hit in after.structured_content["hits"]] == ["quinces"]


def test_the_weights_of_terms_are_searched_for_with_and_without_words(ask):
    alone, beside, why, none = ask(
        ("search", {"query": "", "vector": "apples=2 red"}),
        ("search", {"query": "green pears", "vector": "apples=2 red"}),
        ("explain", {"query": "", "doc_id": "apples", "vector": "apples=2 red"}),
        ("search", {"query": "red", "vector": "don't"}),
    )
    assert alone.structured_content["hits"][0]["doc_id"] == "apples"
    assert alone.structured_content["vector"] == {"apples": 2.0, "red": 1.0}
    assert "dense" in alone.structured_content["abstained"]
    assert beside.structured_content["query"] == "green pears"
    assert "abstained" not in beside.structured_content
    assert why.structured_content["verdict"] == "shown"
    assert "no closing quotation" in text_of(none)


# ---------------------------------------------------------------- explain, status


def test_explain_tells_what_became_of_a_document(ask):
    shown, filtered, missing, expanded = ask(
        ("explain", {"query": "red apples", "doc_id": "apples"}),
        ("explain", {"query": "red apples", "doc_id": "apples", "where": "year > 2000"}),
        ("explain", {"query": "red apples", "doc_id": "nowhere"}),
        ("explain", {"query": "red apples"}),
    )
    assert shown.structured_content["verdict"] == "shown"
    assert shown.structured_content["legs"]["sparse"]["rank"] == 1
    assert "sparse: rank 1" in text_of(shown)
    assert filtered.structured_content["clauses"] == ["year > 2000"]
    assert missing.structured_content["verdict"] == "not indexed"
    assert len(expanded.structured_content["expansion"]) == 2
    assert text_of(expanded).startswith("fake/both reads 'red apples' as")


def test_the_words_of_a_long_query_are_told_in_part(ask, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_ANSWER", 6_000)
    answer = ask(("explain", {"query": " ".join(f"w{number}" for number in range(300))}))
    told = answer.structured_content
    assert 24 < len(told["expansion"]) < told["terms_left_out"]
    assert f"and {len(told['expansion']) + told['terms_left_out'] - 24} more" in text_of(answer)


def test_status_tells_of_collections_models_age_and_fields(ask, fruit):
    Indexer.open("other", settings=fruit, **BM25).index(FRUIT[:1])
    one, every, named = ask(("status", {})), *ask(("status", {}), ("status", {"collection": "other"}), names=())
    [shown] = one.structured_content["collections"]
    assert (shown["name"], shown["documents"], shown["modes"]) == ("fruit", len(FRUIT), ["hybrid", "sparse", "dense"])
    assert shown["legs"]["dense"] == {"model": "fake/both", "kind": "dense", "in_hybrid": True}
    assert shown["fields"]["year"] == "integer"
    assert 0 <= shown["age_s"] < 3_600
    assert "year (integer)" in text_of(one)
    assert [c["name"] for c in every.structured_content["collections"]] == ["fruit", "other"]
    assert not any("fields" in c for c in every.structured_content["collections"])
    assert named.structured_content["collections"][0]["fields"]["tags"] == "keyword"


def test_a_damaged_collection_is_a_problem_of_its_own(ask, fruit):
    Indexer.open("other", settings=fruit, **BM25).index(FRUIT[:1])
    (Path(fruit.store) / "other" / "CURRENT").write_text("what?")
    answer = ask(("status", {}), names=()).structured_content
    assert [c["name"] for c in answer["collections"]] == ["fruit"]
    assert "what?" in answer["problems"][0]


# ---------------------------------------------------------------- get and resources


def test_get_reads_documents_lines_and_chunks(ask):
    whole, some, last, chunk = ask(
        ("get", {"doc_id": "book"}),
        ("get", {"doc_id": "book", "first_line": 3, "last_line": 5}),
        ("get", {"doc_id": "book", "first_line": 40}),
        ("get", {"chunk_id": "book#1"}),
    )
    assert whole.structured_content["text"] == LINES
    assert whole.structured_content["lines"] == {"first": 1, "last": 40, "total": 40}
    wanted = "\n".join(LINES.split("\n")[2:5])
    assert some.structured_content["text"] == wanted
    assert some.structured_content["lines"] == {"first": 3, "last": 5, "total": 40}
    assert text_of(some).startswith("Lines 3 to 5 of 40 of a document. ")
    assert f">>>\nThe book [book]\n\n{wanted}\n<<<end " in text_of(some)
    assert last.structured_content["text"] == LINES.split("\n")[-1]
    assert "lines" not in chunk.structured_content
    for answer in (whole, some, last, chunk):
        got = answer.structured_content
        assert LINES[got["start"] : got["end"]] == got["text"]


def test_get_gives_long_documents_in_parts(ask):
    parts, offset = [], 0
    while offset is not None:
        got = ask(("get", {"doc_id": "book", "first_line": 2, "offset": offset, "max_chars": 100})).structured_content
        assert LINES[got["start"] : got["end"]] == got["text"]
        assert got["lines"]["first"] == LINES[: got["start"]].count("\n") + 1
        parts.append(got["text"])
        offset = got.get("next_offset")
    assert "".join(parts) == LINES.split("\n", 1)[1]
    assert len(parts) > 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either doc_id or chunk_id"),
        ({"doc_id": "book", "chunk_id": "book#0"}, "either doc_id or chunk_id"),
        ({"chunk_id": "book#0", "first_line": 2}, "are of a document"),
        ({"doc_id": "nowhere"}, "Collection 'fruit' has no document 'nowhere'"),
        ({"chunk_id": "book#99"}, "has no document 'book#99'"),
        ({"doc_id": "book", "first_line": 41}, "has the lines 1 to 40"),
        ({"doc_id": "book", "first_line": 5, "last_line": 4}, "has the lines 1 to 40"),
        ({"doc_id": "apples", "offset": 29}, "has 29 characters"),
        ({"doc_id": "book", "first_line": 0}, "first_line"),
        ({"doc_id": "book", "max_chars": 200_001}, "max_chars"),
    ],
)
def test_get_refuses_what_cannot_be_meant(ask, given, message):
    assert message in refused(ask(("get", given)))


@pytest.mark.parametrize("doc_id", ODD_IDS)
def test_ids_are_ids_and_never_paths(ask, fruit, doc_id):
    expected = next(document.text for document in FRUIT if document.doc_id == doc_id)
    got = ask(("get", {"doc_id": doc_id})).structured_content
    assert (got["doc_id"], got["text"]) == (doc_id, expected)
    assert got["uri"] == uri_of("fruit", doc_id)
    assert read(fruit, got["uri"]) == expected


@pytest.mark.parametrize("path", ["/etc/hostname", "../../../../etc/hostname", "/proc/self/environ", "fruit.txt", "."])
def test_no_file_can_be_read(ask, fruit, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fruit.txt").write_text("secret")
    assert "has no document" in refused(ask(("get", {"doc_id": path})))
    assert "has no document" in str(read(fruit, uri_of("fruit", path)))


def test_resources_are_templated_and_refused_with_our_words(fruit):
    async def use(client):
        templates = (await client.list_resource_templates()).resource_templates
        return templates, (await client.list_resources()).resources

    [template], listed = with_client(fruit, use)
    assert template.uri_template == "hybrid-search://{collection}/{+doc_id}"
    assert listed == []
    assert "odd apple" in read(fruit, "hybrid-search://fruit/ümlaut/日本")
    assert "Did you mean 'fruit'?" in str(read(fruit, "hybrid-search://froit/apples"))
    assert isinstance(read(fruit, "file:///etc/hostname"), MCPError)


def test_a_document_too_long_for_a_resource_is_read_in_parts(fruit, monkeypatch):
    monkeypatch.setattr(schemas, "MAX_GET_CHARS", 100)
    assert "Read it in parts" in str(read(fruit, "hybrid-search://fruit/book"))
    assert read(fruit, "hybrid-search://fruit/apples") == FRUIT[0].text


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("tool", "given", "message"),
    [
        ("search", {"query": " "}, "The query is empty"),
        ("search", {"query": "x", "mode": "bm25"}, "has no 'bm25' leg"),
        ("search", {"query": "x", "where": "year >"}, "The filter cannot be used"),
        ("search", {"query": "x", "where": "colour = 'red'"}, "no document has a field colour"),
        ("search", {"query": "x", "offset": 5_000}, "documents are found"),
        ("search", {"query": "x", "k": 0}, "greater than or equal to 1"),
        ("search", {"query": "x", "k": 101}, "less than or equal to 100"),
        ("search", {"query": "x" * 10_001}, "at most 10000 characters"),
        ("search", {}, "Field required"),
        ("search", {"query": "x", "k": "3"}, "valid integer"),
        ("search", {"query": "x", "k": True}, "valid integer"),
        ("search", {"query": "x", "k": 2.5}, "valid integer"),
        ("search", {"query": "x", "offset": "1"}, "valid integer"),
        ("search", {"query": "x", "rerank": "yes"}, "valid boolean"),
        ("search", {"query": "x", "min_confidence": 1.5}, "less than or equal to 1"),
        ("search", {"query": "x", "min_confidence": -0.1}, "greater than or equal to 0"),
        ("search", {"query": "x", "min_confidence": "low"}, "valid number"),
        ("search", {"query": "x", "min_score": "dense"}, "min_score"),
        ("search", {"query": "x", "min_score": "dense=nan"}, "nan"),
        ("search", {"query": "x", "min_score": {"dense": 0.3}}, "valid string"),
        ("search", {"query": None}, "valid string"),
        ("search", {"query": 3}, "valid string"),
        ("search", {"query": ["x"]}, "valid string"),
        ("search", {"query": "x", "where": 123}, "valid string"),
        ("search", {"query": "x", "mode": []}, "valid string"),
        ("explain", {"query": "x", "leg": "dense"}, "dense"),
        ("explain", {"query": "x", "leg": "nowhere"}, "nowhere"),
    ],
)
def test_our_errors_are_answers(ask, tool, given, message):
    assert message in refused(ask((tool, given)))


def test_a_missing_collection_names_its_neighbours(ask, fruit):
    Indexer.open("other", settings=fruit, **BM25).index(FRUIT[:1])
    unknown, left_out, not_served = (
        *ask(("search", {"query": "x", "collection": "friut"}), ("search", {"query": "x"}), names=()),
        ask(("search", {"query": "x", "collection": "zz"}), names=("fruit", "other")),
    )
    assert "Did you mean 'fruit'?" in refused(unknown)
    assert "one of: fruit, other" in refused(left_out)
    assert "Take one of: fruit, other" in refused(not_served)


def test_what_is_not_read_of_a_query_is_told(ask, fruit, bundled):
    Indexer.open("read", settings=fruit, profile="bundled").index(FRUIT)
    nothing, partly = ask(("search", {"query": "猫"}), ("search", {"query": "apples 猫"}), names=("read",))
    assert nothing.structured_content["abstained"] == dict.fromkeys(("sparse", "dense"), "reads nothing of the query")
    assert "The legs sparse and dense abstain" in text_of(nothing)
    assert partly.structured_content["unread"] == {"sparse": ["猫"], "dense": ["猫"]}
    assert "Not known to sparse and dense: 猫." in text_of(partly)


def test_a_search_without_a_good_answer_says_so_or_shows_nothing(ask, fruit, bundled):
    Indexer.open("doubt", settings=fruit, profile="bundled").index(FRUIT)
    query = "how do tectonic plates move"
    with Searcher.open("doubt", settings=fruit) as searcher:
        results = searcher.search(query)
        withheld = searcher.search(query, min_confidence=0.99)
    told, none, weak, all_of_them = ask(
        ("search", {"query": query}),
        ("search", {"query": query, "min_confidence": 0.99}),
        ("search", {"query": query, "min_score": "sparse=1000,dense=1"}),
        ("search", {"query": query, "min_confidence": 0, "min_score": ""}),
        names=("doubt",),
    )
    assert results.confidence.word == "low"
    assert told.structured_content["confidence"] == results.to_dict()["confidence"]
    assert f"Probably no good answer: the confidence is {results.confidence.value:.2f}." in text_of(told)
    assert none.structured_content["hits"] == [] == withheld.to_dict()["hits"]
    assert withheld.notes[0] in text_of(none)
    assert weak.structured_content["hits"] == []
    assert len(all_of_them.structured_content["hits"]) == len(told.structured_content["hits"]) > 0
    why = ask(("explain", {"query": query, "doc_id": "pears", "min_confidence": 0.99}), names=("doubt",))
    assert "min_confidence" in text_of(why)


def test_a_crash_is_an_answer_without_its_inside(ask, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the inside")

    monkeypatch.setattr(Searcher, "search", broken)
    broken_answer, fine = ask(("search", {"query": "apples"}), ("status", {}))
    assert "the inside" not in refused(broken_answer)
    assert not fine.is_error


TEXTS = st.text(max_size=30)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS, st.lists(st.integers(), max_size=2),
    st.dictionaries(TEXTS, st.integers(), max_size=2), st.sampled_from(["..", "book", "book#0", "sparse", "\ud800"]),
)  # fmt: skip
NAMES = [
    "query", "collection", "k", "mode", "where", "offset", "rerank", "vector", "min_confidence",
    "min_score", "text_chars", "doc_id", "chunk_id",
    "first_line", "last_line", "max_chars", "leg", "x",
]  # fmt: skip


def test_odd_arguments_are_answered_or_refused(fruit):
    """Whatever comes in, an answer comes out: never a crash of ours, and what is structured fits its schema."""
    with SearcherPool(settings=fruit) as collections:
        server = server_of(collections)
        calls = SimpleNamespace(fine=0, refused=0)

        @hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.sampled_from(["search", "explain", "get", "status"]),
            st.dictionaries(st.sampled_from(NAMES), VALUES),
            st.booleans(),
        )
        def check(tool, given, with_query):
            if with_query:
                given = {"query": "an apple", "doc_id": "book", **given}

            async def call():
                async with Client(server) as client:  # which holds the answer against the schema
                    return await client.call_tool(tool, given)

            answer = asyncio.run(call())
            if answer.is_error:
                calls.refused += 1
                text = text_of(answer)
                assert text != f"Error executing tool {tool}"  # that would be a crash
                assert "Traceback" not in text
            else:
                calls.fine += 1
                json.dumps(answer.structured_content, allow_nan=False)

        check()
    assert calls.fine > 5
    assert calls.refused > 5


def test_searches_do_not_block_the_loop(fruit, monkeypatch):
    """Eight slow searches at once, and a task that ticks meanwhile."""
    search, inside, most = Searcher.search, [], []
    turn = threading.Lock()

    def slow(self, query, **options):
        with turn:
            inside.append(query)
            most.append(len(inside))
        time.sleep(0.3)
        with turn:
            inside.remove(query)
        return search(self, query, **options)

    monkeypatch.setattr(Searcher, "search", slow)

    async def use(client):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += inside != []

        ticking = asyncio.create_task(tick())
        answers = await asyncio.gather(*(client.call_tool("search", {"query": f"apple {n}"}) for n in range(8)))
        ticking.cancel()
        return ticks, answers

    ticks, answers = with_client(fruit, use)
    assert not any(answer.is_error for answer in answers)
    assert max(most) > 1
    assert ticks > 2


def test_the_limits_are_said_where_they_are_held():
    assert str(schemas.MAX_K) in schemas.K.__metadata__[0].description
    assert f"{schemas.MAX_GET_CHARS:,}" in schemas.GetChars.__metadata__[0].description


@pytest.mark.shared
def test_cranfield_gets_the_documents_order_and_scores_of_search(shared_collections, settings):
    folder = shared_collections / "cranfield"
    Indexer.open("cranfield", settings=settings, **BM25).index(str(folder))
    queries = read_beir(folder).queries
    assert len(queries) == 225

    async def use(client):
        return [await client.call_tool("search", {"query": query.text, "text_chars": 40}) for query in queries]

    answers = with_client(settings, use, names=("cranfield",))
    with Searcher.open("cranfield", settings=settings) as searcher:
        expected = searcher.search_many([query.text for query in queries])
    for answer, results in zip(answers, expected, strict=True):
        found = [(hit["rank"], hit["doc_id"], hit["score"]) for hit in answer.structured_content["hits"]]
        assert found == [(hit.rank, hit.doc_id, hit.score) for hit in results]
