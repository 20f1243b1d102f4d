"""Search over HTTP: the answers of the library, every error as a status and a sentence, and what is refused."""

import base64
import gzip
import hashlib
import http.client
import json
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from pydantic import TypeAdapter

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("prometheus_client", reason="needs the serve extra")
pytest.importorskip("uvicorn", reason="needs the serve extra")

from hybrid_search._util.json_objects import DocumentExplanationDict, ExpansionDict, ResultsDict
from hybrid_search.errors import InvalidArgument, StoreUnavailable
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.gateway import gate
from hybrid_search.integrations.http import Limits, create_app
from hybrid_search.integrations.http.responses import CollectionsDict, ErrorDict, HealthDict
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document
from tests.integrations.conftest import serving

KEY = "a key of ours"
SEARCH = {"query": "music", "collection": "films"}


@pytest.fixture(scope="module")
def server(films):
    with serving(create_app(settings=films, limits=Limits(body_bytes=20_000, k=20, depth=200, batch=20))) as server:
        yield server


@pytest.fixture
def held(models, monkeypatch):
    """Searches wait until the event is set."""
    event = threading.Event()
    whole = Searcher.search

    def search(self, query, **options):
        assert event.wait(30)
        return whole(self, query, **options)

    monkeypatch.setattr(Searcher, "search", search)
    yield event
    event.set()


def get(path, **given):
    return f"{path}?{urlencode(given)}"


def without_times(answer):
    return {**answer, "timings_ms": sorted(answer["timings_ms"])}


# ---------------------------------------------------------------- the answers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 2, "mode": "sparse"},
        {"offset": 1, "k": 2, "explain": True},
        {"where": "year > 1981", "fusion": "minmax", "depth": 50, "highlight": False},
        {"weights": {"sparse": 2, "dense": 0.5}, "rrf_k": 10.5, "fold": True},
        {"weights": "auto"},
        {"vector": {"music": 2, "island": 0.5}, "explain": True},
        {"vector": "music=2 island", "mode": "sparse"},
    ],
)
def test_it_answers_as_the_library_does(server, films, options):
    with Searcher.open("films", settings=films) as searcher:
        wanted = json.loads(json.dumps(searcher.search("music on an island", **options).to_dict()))
    asked = {"query": "music on an island", "collection": "films", **options}
    posted = server.ask("/search", asked)
    assert posted.status == 200
    assert without_times(posted.json) == without_times(wanted)
    TypeAdapter(ResultsDict).validate_python(posted.json, extra="forbid")
    if not any(isinstance(value, dict) for value in options.values()):
        flat = {name: str(value).lower() if isinstance(value, bool) else value for name, value in asked.items()}
        assert without_times(server.ask(get("/search", **flat)).json) == without_times(wanted)


def test_the_weights_of_terms_are_a_query_by_themselves(server, films):
    with Searcher.open("films", settings=films) as searcher:
        wanted = json.loads(json.dumps(searcher.search("", vector={"music": 2.0}).to_dict()))
        why = json.loads(json.dumps(searcher.explain("", "jaws", vector="music=2").to_dict()))
    asked = {"query": "", "collection": "films", "vector": {"music": 2.0}}
    assert wanted["hits"]
    assert without_times(server.ask("/search", asked).json) == without_times(wanted)
    assert without_times(server.ask("/search/batch", [asked]).json) == without_times(wanted)
    flat = {**asked, "vector": "music=2"}
    assert without_times(server.ask(get("/search", **flat)).json) == without_times(wanted)
    assert server.ask(get("/explain", doc="jaws", **flat)).json == why


def test_a_document_and_a_query_are_explained(server, films):
    with Searcher.open("films", settings=films) as searcher:
        why = json.loads(json.dumps(searcher.explain("music", "jaws", k=1).to_dict()))
        terms = [term.to_dict() for term in searcher.expansion("music")]
    found = server.ask(get("/explain", query="music", collection="films", doc="jaws", k=1))
    assert found.json == why
    TypeAdapter(DocumentExplanationDict).validate_python(found.json, extra="forbid")
    read = server.ask("/explain", {"query": "music", "collection": "films"})
    assert read.json["expansion"] == terms
    TypeAdapter(ExpansionDict).validate_python(read.json, extra="forbid")


def test_collections_and_health(server):
    found = server.ask("/collections").json
    TypeAdapter(CollectionsDict).validate_python(found, extra="forbid")
    assert [(one["name"], one["documents"], one["modes"]) for one in found["collections"]] == [
        ("films", 6, ["hybrid", "sparse", "dense"]),
        ("words", 2, ["sparse"]),
    ]
    assert found["reranker"] is None
    TypeAdapter(HealthDict).validate_python(server.ask("/healthz").json, extra="forbid")


def test_only_named_collections_are_served(films):
    with serving(create_app(settings=films, collections=["words"])) as server:
        assert [one["name"] for one in server.ask("/collections").json["collections"]] == ["words"]
        assert server.ask(get("/search", query="a", collection="films")).status == 404
        assert server.ask(get("/search", query="band", collection="words")).json["mode"] == "sparse"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "says"),
    [
        ("/search", "{", 400, "Unreadable", "no JSON"),
        ("/search", b'{"query": "\xff"}', 400, "Unreadable", "no JSON"),
        ("/search", '{"query": "\\ud800", "collection": "films"}', 400, "Unreadable", "no JSON"),
        ("/search", {**SEARCH, "rrf_k": float("nan")}, 400, "Unreadable", "no JSON"),
        ("/search", {**SEARCH, "weights": {"dense": float("inf")}}, 400, "Unreadable", "no JSON"),
        ("/search", '{"query": "x", "collection": "films", "rrf_k": 1e999}', 422, "InvalidArgument", "finite"),
        ("/search", '{"query": "x", "collection": "films", "k": 1e999}', 422, "InvalidArgument", "integer"),
        ("/search", "[" * 15_000, 400, "Unreadable", "recursion"),
        ("/search/batch", "[" * 15_000, 400, "Unreadable", "recursion"),
        ("/explain", '{"a":' * 3_000, 400, "Unreadable", "recursion"),
        ("/search", b"\xef\xbb\xbf{}", 400, "Unreadable", "no JSON"),
        ("/search", b"", 400, "Unreadable", "no JSON"),
        (
            "/search",
            {**SEARCH, **{f"name{n}": 1 for n in range(500)}},
            422,
            "InvalidArgument",
            "the body has 502 names",
        ),
        (
            "/search",
            {**SEARCH, "weights": {f"leg{n}": 1 for n in range(500)}},
            422,
            "InvalidArgument",
            "weights has 500",
        ),
        (
            "/search",
            {**SEARCH, "vector": {f"term{n}": 1 for n in range(1001)}},
            422,
            "InvalidArgument",
            "vector has 1,001 names; 1,000",
        ),
        ("/search", {**SEARCH, "vector": {"music": 0}}, 422, "InvalidArgument", "vector"),
        ("/search", {**SEARCH, "vector": {"music": "2"}}, 422, "InvalidArgument", "vector"),
        ("/search", {**SEARCH, "vector": {}}, 422, "InvalidArgument", "The vector has no term"),
        ("/search", {**SEARCH, "vector": {"not a term": 1}}, 422, "InvalidArgument", "none of the terms"),
        ("/search", {**SEARCH, "vector": {"music": 1}, "mode": "dense"}, 422, "InvalidArgument", "no sparse leg"),
        ("/search", {**SEARCH, "n" * 15_000: 1}, 422, "InvalidArgument", "15,0"),
        (
            "/search/batch",
            [SEARCH, {f"name{n}": 1 for n in range(500)}],
            422,
            "InvalidArgument",
            "Line 2: the body has",
        ),
        ("/search", [], 422, "InvalidArgument", "dictionary"),
        ("/search", {"collection": "films"}, 422, "InvalidArgument", "query: field required"),
        ("/search", {**SEARCH, "query": " "}, 422, "InvalidArgument", "empty"),
        ("/search", {**SEARCH, "query": "x" * 10_001}, 422, "InvalidArgument", "query"),
        ("/search", {**SEARCH, "limit": 3}, 422, "InvalidArgument", "limit"),
        ("/search", {**SEARCH, "k": "3"}, 422, "InvalidArgument", "k: input should be a valid integer"),
        ("/search", {**SEARCH, "k": 21}, 422, "InvalidArgument", "less than or equal to 20"),
        ("/search", {**SEARCH, "depth": 201}, 422, "InvalidArgument", "less than or equal to 200"),
        ("/search", {**SEARCH, "k": 9, "depth": 3}, 422, "InvalidArgument", "depth is 3"),
        ("/search", {**SEARCH, "k": True}, 422, "InvalidArgument", "k: input should be a valid integer"),
        ("/search", {**SEARCH, "k": 2.0}, 422, "InvalidArgument", "k: input should be a valid integer"),
        ("/search", {**SEARCH, "query": None}, 422, "InvalidArgument", "query: input should be a valid string"),
        ("/search", {**SEARCH, "query": 3}, 422, "InvalidArgument", "query: input should be a valid string"),
        ("/search", {**SEARCH, "where": 123}, 422, "InvalidArgument", "where: input should be a valid string"),
        ("/search", {**SEARCH, "mode": []}, 422, "InvalidArgument", "mode: input should be a valid string"),
        ("/search", {**SEARCH, "fold": "yes"}, 422, "InvalidArgument", "fold: input should be a valid boolean"),
        ("/search", {**SEARCH, "weights": {}}, 422, "FusionError", "weights is {}"),
        ("/search", {**SEARCH, "weights": {"sparse": True}}, 422, "InvalidArgument", "weights"),
        ("/search", {**SEARCH, "offset": 10**30}, 422, "InvalidArgument", "offset"),
        ("/search", {**SEARCH, "offset": 900}, 422, "PastTheEnd", "6 documents"),
        ("/search", {**SEARCH, "mode": "bm25"}, 422, "InvalidArgument", "no 'bm25' leg"),
        ("/search", {**SEARCH, "where": "yeer > 1"}, 422, "FilterError", "year"),
        ("/search", {**SEARCH, "weights": {"bm25": 1}}, 422, "FusionError", "bm25"),
        ("/search", {**SEARCH, "rerank": True}, 422, "InvalidArgument", "--rerank"),
        ("/search", {**SEARCH, "rerank": "/etc"}, 422, "InvalidArgument", "boolean"),
        ("/search", {**SEARCH, "collection": "film"}, 404, "CollectionNotFound", "Did you mean 'films'"),
        ("/search", {**SEARCH, "collection": "../films"}, 422, "InvalidArgument", "cannot be used"),
        ("/search", {**SEARCH, "query": "x" * 30_000}, 413, "TooLarge", "20,000 bytes"),
        ("/explain", {**SEARCH, "leg": "nope"}, 422, "InvalidArgument", "nope"),
        ("/search/batch", [], 422, "InvalidArgument", "1 to 20"),
        ("/search/batch", [SEARCH] * 21, 422, "InvalidArgument", "1 to 20"),
        ("/search/batch", [SEARCH, {**SEARCH, "k": 0}], 422, "InvalidArgument", "Line 2: k"),
        ("/search/batch", SEARCH, 422, "InvalidArgument", "list"),
        ("/nothing", None, 404, "NotFound", "/docs"),
        ("/search/", None, 404, "NotFound", "/docs"),
        ("/search?query=a&query=b", None, 422, "InvalidArgument", "more than once"),
        ("/search?query=a&collection=films&k=1_0", None, 422, "InvalidArgument", "k"),
        ("/search?query=a&collection=films&fold=1", None, 422, "InvalidArgument", "fold"),
        ("/search?query=a&collection=films&weights=sparse", None, 422, "InvalidArgument", "weights"),
        ("/search?query=%ff&collection=films", None, 400, "Unreadable", "no UTF-8"),
        ("/search?query=%ed%a0%80&collection=films", None, 400, "Unreadable", "no UTF-8"),
        ("/explain?query=a&%c3%28=films", None, 400, "Unreadable", "no UTF-8"),
        ("/search?" + "a=b&" * 200, None, 422, "InvalidArgument", "more than 100 fields"),
        ("/search?query=" + "%F0%9F%8E%AC" * 10_001 + "&collection=films", None, 400, None, None),
        ("/nothing%ff%00", None, 404, "NotFound", "/docs"),
        ("//search", None, 404, "NotFound", "/docs"),
    ],
)
def test_an_error_is_a_status_and_a_sentence(server, path, body, status, kind, says):
    if kind is None:  # refused before it is a request, perhaps while it is still being sent
        with suppress(ConnectionError):
            assert server.ask(path, body).status == status
        return
    found = server.ask(path, body)
    assert (found.status, found.json["kind"]) == (status, kind), found.text
    assert len(found.text) < 5_000
    assert says in found.json["error"]
    TypeAdapter(ErrorDict).validate_python(found.json, extra="forbid")
    assert found.headers["Content-Type"] == "application/json"


def test_a_body_must_say_what_it_is(server):
    found = server.ask("/search", SEARCH, kind="text/plain")
    assert (found.status, found.json["kind"]) == (415, "UnsupportedMediaType")
    assert server.ask("/search", SEARCH, kind="Application/JSON; charset=utf-8").status == 200
    found = server.ask("/search", SEARCH, method="DELETE")
    assert (found.status, sorted(found.headers["Allow"].split(", "))) == (405, ["GET", "HEAD", "POST"])


def test_a_body_of_unknown_length_is_counted(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    parts = (b" " * 5_000 for _ in range(8))
    connection.request("POST", "/search", parts, {"Content-Type": "application/json"}, encode_chunked=True)
    with connection.getresponse() as reply:
        assert reply.status == 413
    connection.close()


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/metrics", "/collections", get("/search", **SEARCH)])
def test_a_head_is_the_answer_without_its_body(server, path):
    whole, head = server.ask(path), server.ask(path, method="HEAD")
    assert (head.status, head.text) == (200, "")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("path", ["/", "/search", "/search/batch", "/healthz"])
def test_other_methods_are_refused(server, path, method):
    found = server.ask(path, method=method)
    assert (found.status, found.json["kind"]) == (405, "HTTPException")
    assert found.headers["Allow"]
    assert "Access-Control-Allow-Origin" not in found.headers


def test_ten_thousand_lines_are_refused_at_once(films):
    with serving(create_app(settings=films)) as server:
        lines = (json.dumps(SEARCH) + "\n") * 10_000
        found = server.ask("/search/batch", lines, kind="application/x-ndjson")
        assert (found.status, found.json["error"]) == (422, "A batch has 1 to 1,000 searches.")
        found = server.ask("/search/batch", "\n" * 1_000_000, kind="application/x-ndjson")
        assert (found.status, found.json["error"]) == (422, "A batch has 1 to 1,000 searches.")
        found = server.ask("/search/batch", "{\n" * 10_000, kind="application/x-ndjson")
        assert (found.status, found.json["kind"]) == (400, "Unreadable")


def test_a_packed_body_is_not_unpacked(server):
    bomb = gzip.compress(b" " * 10_000_000)
    for coding in ("gzip", "deflate", "br", "x-gzip, identity"):
        found = server.ask("/search", bomb, headers={"Content-Encoding": coding})
        assert (found.status, found.json["kind"]) == (415, "UnsupportedMediaType")


def test_signs_that_a_terminal_obeys_are_sent_as_numbers(films):
    odd = "a\x1b]0;x\x07 b\x9b2J\x7f c\u202egnp\u2066 d\U000e0041 é 漢 🎬\ttab\nline"
    Indexer.open("signs", settings=films, sparse="fake/both", dense="fake/both").index(
        [Document("signs", odd, odd, {f"k{odd}": odd}, odd)]
    )
    with serving(create_app(settings=films, collections=["signs"])) as server:
        asked = {"query": "a", "collection": "signs"}
        for found in (server.ask("/search", asked), server.ask("/search/batch", [asked])):
            [hit] = json.loads(found.text)["hits"]
            assert hit["title"] == hit["origin"] == odd
            assert odd in hit["metadata"].values()
            assert not set(found.text) & set("\x1b\x07\x9b\x7f\u202e\u2066\U000e0041")
            assert {"é", "漢", "🎬"} <= set(found.text)
    from hybrid_search.collection.models import open_store_for

    open_store_for(None, films).delete("signs")


def test_a_store_that_is_away_is_503_with_a_time_to_come_again(films, monkeypatch):
    def away(name, **options):
        raise StoreUnavailable("The server does not answer.")

    monkeypatch.setattr(Searcher, "open", away)
    with serving(create_app(settings=films)) as server:
        found = server.ask("/search", SEARCH)
    assert (found.status, found.json["kind"], found.headers["Retry-After"]) == (503, "StoreUnavailable", "1")


def test_a_fault_of_ours_is_500_and_gives_nothing_away(films, monkeypatch, caplog):
    def broken(self, query, **options):
        raise RuntimeError("a secret")

    monkeypatch.setattr(Searcher, "search", broken)
    with serving(create_app(settings=films)) as server:
        found = server.ask("/search", SEARCH)
        line = server.ask("/search/batch", [SEARCH])
    assert (found.status, found.json["kind"]) == (500, "InternalError")
    assert "secret" not in found.text + line.text
    assert line.json["kind"] == "InternalError"


@pytest.mark.parametrize("value", [[], "text", 3, 2.5, True, None, [SEARCH], "{}"])
def test_a_body_that_is_no_object_is_refused(server, value):
    """FastAPI alone would look for attributes in it."""
    for path, name in (("/search", "Search"), ("/explain", "Explain")):
        found = server.ask(path, json.dumps(value))
        told = f"the body: input should be a valid dictionary or instance of {name}."
        assert (found.status, found.json) == (422, {"error": told, "kind": "InvalidArgument"})


@pytest.mark.parametrize(
    "kind", ["application/vnd.a+json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"]
)
def test_no_other_type_of_body_is_read(server, kind):
    """Of these a page of another site may send two without asking first, and FastAPI reads the first."""
    found = server.ask("/search", SEARCH, kind=kind)
    assert (found.status, found.json["kind"]) == (415, "UnsupportedMediaType")


def test_where_there_is_a_body_the_address_says_nothing(server):
    assert server.ask("/search?query=a&query=b&k=x&%ff", SEARCH).json["query"] == "music"
    assert server.ask("/healthz?a=a&a=b&%ff").status == 200


def test_what_fastapi_would_serve_of_its_own_accord_is_not_there(server):
    for path in ("/redoc", "/docs/oauth2-redirect", "/docs/", "/openapi.json/"):
        assert server.ask(path).status == 404
    document = server.ask("/openapi.json").json
    assert {method for methods in document["paths"].values() for method in methods} == {"get", "post"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "://" not in json.dumps(document)


# ---------------------------------------------------------------- who may ask, and how much


def test_forty_at_once_get_the_answers_that_one_gets(server):
    """Some of them with mistakes, and every other one goes away before it is answered."""
    asked = [{**SEARCH, "query": query, "k": k} for query in ("drummer", "shark", "music") for k in (0, 1, 3, 99)]
    alone = [server.ask("/search", body) for body in asked]
    found = {}

    def one(number):
        if number % 2:
            with socket.create_connection(("127.0.0.1", server.port)) as caller:
                caller.sendall(written("/search", asked[number % 12])[: 100 + number])
        else:
            found[number] = server.ask("/search", asked[number // 2 % 12])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    for number, answer in found.items():
        wanted = alone[number // 2 % 12]
        assert answer.status == wanted.status
        assert answer.json.get("hits", answer.json) == wanted.json.get("hits", wanted.json)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:80", 200), ("evil.example", 400), ("127.0.0.1.evil", 400)],
)
def test_the_host_is_checked(server, host, status):
    assert server.ask("/healthz", headers={"Host": host}).status == status
    assert server.ask("/", headers={"Host": host}).status == status


def test_a_key_is_asked_for(films):
    with serving(create_app(settings=films, api_key=KEY)) as server:
        for path in ("/", "/docs", "/healthz", "/openapi.json"):
            assert server.ask(path).status == 200
        for path in ("/collections", "/metrics", "/search", "/nothing"):
            found = server.ask(path)
            assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
        for header in (f"Bearer {KEY}x", "Bearer ", KEY, f"Basic {KEY}", "Bearer ä".encode("latin-1")):
            assert server.ask("/collections", headers={"Authorization": header}).status == 401
        assert server.ask("/collections", headers={"Authorization": f"Bearer {KEY}"}).status == 200
        assert KEY not in server.ask("/docs").text + server.ask("/openapi.json").text


def test_the_key_comes_from_the_settings(films):
    own = films.model_copy(update={"serve_api_key": type(films).model_validate({"serve_api_key": KEY}).serve_api_key})
    assert create_app(settings=own).state.service.key == KEY
    assert KEY not in repr(own)


def test_more_than_so_many_at_once_are_told_to_come_again(films, held):
    with serving(create_app(settings=films, limits=Limits(at_once=2, threads=2))) as server:
        answers = []
        waiting = [threading.Thread(target=lambda: answers.append(server.ask("/search", SEARCH))) for _ in range(2)]
        for thread in waiting:
            thread.start()
        while "requests_in_flight 2" not in server.ask("/metrics").text:
            pass
        found = server.ask("/search", SEARCH)
        assert (found.status, found.json["kind"], found.headers["Retry-After"]) == (503, "Busy", "1")
        assert server.ask("/healthz").status == 200
        held.set()
        for thread in waiting:
            thread.join()
        assert [answer.status for answer in answers] == [200, 200]
        assert "requests_in_flight 0" in server.ask("/metrics").text


def test_what_takes_too_long_is_given_up(films, held):
    with serving(create_app(settings=films, limits=Limits(timeout_s=0.2))) as server:
        found = server.ask("/search", SEARCH)
        assert (found.status, found.json["kind"]) == (503, "Timeout")
        held.set()


@pytest.mark.parametrize("wrong", [{"k": 0}, {"timeout_s": float("nan")}, {"k": 20_000, "depth": 20_000}, {"depth": 9}])
def test_limits_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(InvalidArgument, match="The limit"):
        Limits(**wrong)


# ---------------------------------------------------------------- batches


def test_a_batch_answers_in_order_and_errors_stand_in_their_line(server):
    searches = [{**SEARCH, "query": query, "k": 1} for query in ("drummer", "shark", "composer", "island")]
    searches.insert(2, {**SEARCH, "collection": "nope"})
    lines = "\n".join(map(json.dumps, searches)) + "\n\n"
    as_lines = server.ask("/search/batch", lines, kind="application/x-ndjson")
    assert as_lines.headers["Content-Type"] == "application/x-ndjson"
    answers = [json.loads(line) for line in as_lines.text.splitlines()]
    assert [answer.get("kind") or answer["hits"][0]["doc_id"] for answer in answers] == [
        "whiplash", "jaws", "CollectionNotFound", "amadeus", answers[4]["hits"][0]["doc_id"],
    ]  # fmt: skip
    for search, answer in zip(searches, answers, strict=True):
        alone = server.ask("/search", search).json
        assert answer == alone or without_times(answer) == without_times(alone)
    as_list = [json.loads(line) for line in server.ask("/search/batch", searches).text.splitlines()]
    assert [answer.get("hits") for answer in as_list] == [answer.get("hits") for answer in answers]


def test_an_answer_is_sent_while_the_next_is_searched(films, monkeypatch):
    event, whole = threading.Event(), Searcher.search

    def search(self, query, **options):
        assert query != "last" or event.wait(30)
        return whole(self, query, **options)

    monkeypatch.setattr(Searcher, "search", search)
    with serving(create_app(settings=films)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        body = json.dumps([SEARCH, {**SEARCH, "query": "last"}])
        connection.request("POST", "/search/batch", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert json.loads(reply.readline())["query"] == "music"  # the other one waits for us
        event.set()
        assert json.loads(reply.readline())["query"] == "last"
        assert reply.readline() == b""
        connection.close()


def written(path, value):
    """A request as it goes over the wire."""
    body = json.dumps(value).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def test_who_takes_nothing_of_a_batch_makes_room_for_others(films, models, monkeypatch):
    """Batches that nobody reads would hold every place until their time is over."""
    monkeypatch.setattr(gate, "GIVES_WAY_S", 0.2)
    whole, wide = Searcher.search, "x" * 200_000
    monkeypatch.setattr(
        Searcher, "search", lambda self, query, **o: replace(whole(self, query, **o), query=f"{query}{wide}")
    )
    with serving(create_app(settings=films, limits=Limits(at_once=2))) as server:
        idle = []
        for _ in range(2):
            caller = socket.socket()
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect(("127.0.0.1", server.port))
            caller.sendall(written("/search/batch", [SEARCH] * 200))
            idle.append(caller)
        end = time.monotonic() + 10
        while (found := server.ask("/search", SEARCH)).status == 503 and time.monotonic() < end:
            time.sleep(0.1)
        assert found.status == 200, found.text
        for caller in idle:
            caller.close()


def test_who_goes_away_is_not_searched_for(films, held):
    """Searches that wait for a thread are taken back; those that have begun end, for nobody."""
    with serving(create_app(settings=films, limits=Limits(at_once=20, threads=2))) as server:
        callers = []
        for number in range(20):
            caller = socket.create_connection(("127.0.0.1", server.port))
            caller.sendall(written("/search/batch", [SEARCH] * 50) if number % 2 else written("/search", SEARCH))
            callers.append(caller)
        while "requests_in_flight 20" not in server.ask("/metrics").text:
            time.sleep(0.01)
        assert server.ask("/search", SEARCH).status == 503
        for caller in callers:
            caller.close()
        while "requests_in_flight 0" not in server.ask("/metrics").text:
            time.sleep(0.01)
        held.set()
        begun = time.monotonic()
        assert server.ask("/search", SEARCH).status == 200
        assert time.monotonic() - begun < 2
        counted = re.search(r'searches_total{collection="films",mode="hybrid"} (\d+)', server.ask("/metrics").text)
        assert 1 <= int(counted[1]) <= 3  # ours, and perhaps the two that had begun; of 510


# ---------------------------------------------------------------- counts, document, pages


def test_requests_and_searches_are_counted(films):
    with serving(create_app(settings=films)) as server:
        server.ask("/search", SEARCH)
        server.ask("/search", {**SEARCH, "mode": "sparse"})
        server.ask("/search/batch", [SEARCH, SEARCH])
        server.ask("/search", {**SEARCH, "k": 0})
        server.ask("/secret-path", method="PURGE")
        text = server.ask("/metrics").text
    for line in (
        'searches_total{collection="films",mode="hybrid"} 3',
        'searches_total{collection="films",mode="sparse"} 1',
        'requests_total{method="POST",path="/search",status="200"} 2',
        'requests_total{method="POST",path="/search",status="422"} 1',
        'requests_total{method="other",path="other",status="404"} 1',
        'request_duration_seconds_count{path="/search"} 3',
        'request_duration_seconds_bucket{path="/search",le="+Inf"} 3',
    ):
        assert f"hybrid_search_{line}\n" in text
    assert "secret" not in text


def test_each_server_counts_for_itself_and_tells_nothing_of_its_process(films):
    with serving(create_app(settings=films)) as one, serving(create_app(settings=films)) as other:
        one.ask("/search", {**SEARCH, "mode": "dense+sparse"})
        text, of_other = one.ask("/metrics").text, other.ask("/metrics").text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert names == {
        f"hybrid_search_{name}"
        for name in (
            "info", "requests_in_flight", "requests_total", "searches_total", "request_duration_seconds",
        )
    }  # fmt: skip
    assert 'hybrid_search_searches_total{collection="films",mode="dense+sparse"} 1\n' in text
    assert "films" not in of_other
    assert "_created" not in text
    from prometheus_client.parser import text_string_to_metric_families

    samples = {str(sample) for family in text_string_to_metric_families(text) for sample in family.samples}
    assert len(samples) == len([line for line in text.splitlines() if not line.startswith("#")])


def test_the_document_tells_the_limits_and_the_key(server, films):
    document = server.ask("/openapi.json").json
    parameters = {one["name"]: one["schema"] for one in document["paths"]["/search"]["get"]["parameters"]}
    assert (parameters["k"]["maximum"], parameters["depth"]["maximum"]) == (20, 200)
    assert "securitySchemes" not in document["components"]
    guarded = create_app(settings=films, api_key=KEY)
    with serving(guarded) as other:
        document = other.ask("/openapi.json").json
    assert document["paths"]["/search"]["get"]["security"] == [{"key": []}]
    assert "401" in document["paths"]["/metrics"]["get"]["responses"]
    assert "security" not in document["paths"]["/healthz"]["get"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_run_what_is_in_them_and_fetch_nothing_else(server, path):
    page = server.ask(path)
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        for inner in re.findall(rf"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL):
            assert base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode() in policy
    assert not re.search(r"https?://|<(script|link|img)[^>]+src=|url\(|innerHTML|\son\w+=| style=", page.text)
    assert page.headers["X-Content-Type-Options"] == "nosniff"


# ---------------------------------------------------------------- a collection that changes


def test_what_is_indexed_later_is_found(films, models):
    fake = {"sparse": "fake/both", "dense": "fake/both"}
    Indexer.open("growing", settings=films, **fake).index([Document("a", "apples")])
    with serving(create_app(settings=films)) as server:
        asked = {"query": "pears", "collection": "growing", "mode": "sparse"}
        assert server.ask("/search", asked).json["hits"] == []
        loaded = len(models.loaded)
        Indexer.open("growing", settings=films, **fake).index([Document("b", "pears")])
        after = len(models.loaded)
        assert [hit["doc_id"] for hit in server.ask("/search", asked).json["hits"]] == ["b"]
        assert len(models.loaded) == after > loaded  # the server's own models are kept
        from hybrid_search.collection.models import open_store_for

        open_store_for(None, films).delete("growing")
        assert server.ask("/search", asked).status == 404


@pytest.mark.shared
def test_cranfield_over_http_is_cranfield_in_the_library(shared_collections, films, tmp_path):
    folder = shared_collections / "cranfield"
    Indexer.open("cranfield", settings=films, sparse="fake/both", dense="fake/both").index(folder)
    rows = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [json.loads(row)["text"] for row in rows]
    assert len(queries) == 225
    with Searcher.open("cranfield", settings=films) as searcher:
        wanted = [[(hit.doc_id, hit.score) for hit in searcher.search(query)] for query in queries]
    with serving(create_app(settings=films)) as server:
        found = server.ask("/search/batch", [{"query": query, "collection": "cranfield"} for query in queries]).text
    answers = [json.loads(line) for line in found.splitlines()]
    assert [[(hit["doc_id"], hit["score"]) for hit in answer["hits"]] for answer in answers] == wanted


def test_what_is_not_read_of_a_query_is_told(settings, bundled):
    Indexer.open("read", settings=settings, profile="bundled").index([{"_id": "a", "text": "apples"}])
    with serving(create_app(settings=settings)) as server:
        for query, field, told in (
            ("猫", "abstained", dict.fromkeys(("sparse", "dense"), "reads nothing of the query")),
            ("apples 猫", "unread", {"sparse": ["猫"], "dense": ["猫"]}),
        ):
            answer = server.ask("/search", {"query": query, "collection": "read"}).json
            assert answer[field] == told
            assert TypeAdapter(ResultsDict).validate_python(answer)[field] == told
        filtered = server.ask("/search", {"query": "apples", "collection": "read", "where": "title = 3"}).json
        assert filtered["notes"] == ["title holds texts, which 3 never equals: write texts and dates in quotes."]
