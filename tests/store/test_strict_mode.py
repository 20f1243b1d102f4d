"""A collection of the test server with limits enforces them: with a status, a text and a time to wait."""

import json
from http.client import HTTPConnection

import pytest

from tests.qdrant_double.refusals import Refused
from tests.qdrant_double.strict_mode import StrictMode
from tests.qdrant_over_http import QdrantOverHttp

INDEXED = {"year": "integer"}
FILTER = {"must": [{"key": "year", "match": {"value": 1}}, {"must_not": [{"key": "kind", "match": {"value": "x"}}]}]}


def refused(function, *arguments, **named):
    """(status, text, seconds to wait) of a refusal, or None."""
    try:
        function(*arguments, **named)
    except Refused as error:
        return error.status, error.text, error.headers.get("Retry-After")
    return None


@pytest.mark.parametrize(
    ("limits", "searches", "text"),
    [
        ({"max_query_limit": 5}, [{"limit": 6}], 'Limit exceeded 6 > 5 for "limit"'),
        ({"max_query_limit": 5}, [{}], 'Limit exceeded 10 > 5 for "limit"'),
        ({"max_query_limit": 5}, [{"limit": 5}], None),
        ({"search_max_batchsize": 1}, [{}, {}], "Limit exceeded 2 > 1"),
        ({"search_max_batchsize": 2}, [{}, {}], None),
        (
            {"search_allow_exact": False},
            [{"params": {"exact": True}}],
            "Exact search disabled!. Help: Set exact=false.",
        ),
        ({"search_allow_exact": False}, [{"params": {"exact": False}}], None),
        ({"search_allow_exact": True}, [{"params": {"exact": True}}], None),
        ({"search_max_hnsw_ef": 10}, [{"params": {"hnsw_ef": 11}}], 'Limit exceeded 11 > 10 for "hnsw_ef"'),
        ({"unindexed_filtering_retrieve": False}, [{"filter": FILTER}], 'Index required but not found for "kind"'),
        ({"unindexed_filtering_retrieve": True}, [{"filter": FILTER}], None),
        ({"filter_max_conditions": 1}, [{"filter": FILTER}], "Limit exceeded 2 > 1"),
    ],
)
def test_a_search_is_held_to_its_limits(limits, searches, text):
    found = refused(StrictMode(limits).search, searches, INDEXED, batch=True)
    if text is None:
        assert found is None
    else:
        assert found[0] == 400
        assert found[1].startswith("Bad request: ")
        assert text in found[1]


def test_a_rate_gives_back_a_token_after_the_time_it_says():
    now = [0.0]
    strict = StrictMode({"write_rate_limit": 30, "read_rate_limit": 2}, clock=lambda: now[0])
    assert refused(strict.upsert, 20) is None
    status, text, wait = refused(strict.upsert, 20)
    assert (status, wait) == (429, "20")
    assert text.endswith("Operation requires 20 tokens but only 10.0 were available. Retry after 20s")
    now[0] += 20
    assert refused(strict.upsert, 20) is None
    assert refused(strict.upsert, 31) == (
        429,
        "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter capacity, "
        "please try to split your request",
        None,
    )
    assert [refused(strict.read, None, {}) is None for _ in range(3)] == [True, True, False]


def test_changes_are_held_to_their_limits():
    strict = StrictMode({"upsert_max_batchsize": 2, "unindexed_filtering_update": False, "max_query_limit": 3})
    assert refused(strict.upsert, 2) is None
    assert 'Limit exceeded 3 > 2 for "upsert limit"' in refused(strict.upsert, 3)[1]
    assert '"kind"' in refused(strict.change, {"filter": FILTER}, INDEXED)[1]
    assert refused(strict.change, {"points": [1, 2, 3]}, INDEXED) is None
    assert 'Limit exceeded 4 > 3 for "limit"' in refused(strict.read, {"limit": 4}, INDEXED)[1]


def test_limits_are_set_changed_and_lifted_on_the_wire():
    with QdrantOverHttp() as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)

        def ask(method, path, body):
            connection.request(method, f"/collections/c{path}", json.dumps(body))
            response = connection.getresponse()
            response.read()
            return response.status

        def write(count):
            points = [{"id": place, "vector": {"dense": [1, 0, 0, 0]}} for place in range(count)]
            return ask("PUT", "/points?wait=true", {"points": points})

        ask("PUT", "", {"vectors": {"dense": {"size": 4, "distance": "Dot"}}})
        found = [write(3)]
        for limits in ({"enabled": True, "upsert_max_batchsize": 2}, {"upsert_max_batchsize": 3}, {"enabled": False}):
            ask("PATCH", "", {"strict_mode_config": limits})
            found += [write(3), write(4)]
        connection.close()
    assert found == [200, 400, 400, 200, 400, 200, 200]
