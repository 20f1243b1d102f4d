"""Each fault on demand is what it says: on the wire, on the request that its rule names, and on no other."""

import json
import socket
import time
from http.client import HTTPConnection, IncompleteRead

import pytest

from tests.faults import (
    ALWAYS,
    Faults,
    add_fault,
    clear_faults,
    cut,
    delay,
    limit,
    read_only,
    reset_after,
    reset_before,
    restart,
    silence,
    status,
    too_many,
    wrong_key,
)
from tests.qdrant_over_http import QdrantOverHttp, child

CREATE = {"vectors": {"dense": {"size": 4, "distance": "Cosine"}}}


def ask(port, method="GET", path="/collections/c/exists", body=None, headers=None, timeout=10):
    """(status, headers, body) of one request on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def exists(port):
    return json.loads(ask(port)[2])["result"]["exists"]


@pytest.mark.parametrize(("fault", "done"), [(reset_before(), False), (reset_after(), True)])
def test_a_reset_comes_before_the_work_or_after_it(faulty, fault, done):
    faulty.faults.add(fault, "PUT", "^/collections/c$")
    with pytest.raises(ConnectionResetError):
        ask(faulty.port, "PUT", "/collections/c", CREATE)
    assert exists(faulty.port) is done


def test_an_answer_is_cut_in_the_middle_of_its_body(faulty):
    faulty.faults.add(cut(), "PUT")
    with pytest.raises(IncompleteRead) as caught:
        ask(faulty.port, "PUT", "/collections/c", CREATE)
    assert caught.value.partial
    assert exists(faulty.port)


def test_a_silent_server_takes_the_connection_and_says_nothing(faulty):
    faulty.faults.add(silence())
    with pytest.raises(TimeoutError):
        ask(faulty.port, "PUT", "/collections/c", CREATE, timeout=0.2)
    assert not exists(faulty.port)


def test_a_delay_is_waited_for_and_the_answer_is_right(faulty):
    faulty.faults.add(delay(0.2))
    began = time.monotonic()
    assert not exists(faulty.port)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("fault", "code", "wait"),
    [
        (status(503), 503, None),
        (status(500, "Service internal error: x"), 500, None),
        (too_many(), 429, None),
        (too_many("3"), 429, "3"),
        (limit(), 400, None),
        (wrong_key(), 401, None),
        (read_only(), 403, None),
    ],
)
def test_a_status_is_told_and_nothing_is_done(faulty, fault, code, wait):
    faulty.faults.add(fault, "PUT")
    answer, headers, body = ask(faulty.port, "PUT", "/collections/c", CREATE)
    assert (answer, headers["Retry-After"]) == (code, wait)
    assert json.loads(body)["status"]["error"] == fault.text
    assert not exists(faulty.port)


def test_after_a_restart_the_same_data_is_there(faulty):
    ask(faulty.port, "PUT", "/collections/c", CREATE)
    faulty.faults.add(restart(0.3))
    with pytest.raises(ConnectionError):
        ask(faulty.port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", faulty.port), timeout=1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert exists(faulty.port)
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    pytest.fail("it did not come back")


def test_a_server_ends_while_it_is_gone_or_silent():
    began = time.monotonic()
    with QdrantOverHttp() as server:
        server.restart(60)
    with QdrantOverHttp() as server:
        server.faults.add(silence())
        with pytest.raises(TimeoutError):
            ask(server.port, timeout=0.1)
    assert time.monotonic() - began < 10


def test_a_rule_counts_what_it_matches():
    faults = Faults()
    faults.add(status(500), "PUT", "/points$", nth=2, times=2)
    faults.add(status(503), path="^/collections/c/", nth=4, times=ALWAYS)
    asked = [("PUT", "/collections/c/points"), ("GET", "/collections/c"), ("POST", "/collections/c/points")]
    found = [fault and fault.status for fault in (faults.due(*one) for one in asked * 4)]
    assert found == [None, None, None, 500, None, 503, 500, None, 503, 503, None, 503]
    faults.clear()
    assert faults.due(*asked[0]) is None


def test_a_server_in_another_process_has_faults_too():
    with child() as url:
        port = int(url.rpartition(":")[2])
        add_fault(url, too_many("7"), "GET", "/exists$", times=ALWAYS)
        code, headers, _ = ask(port)
        assert (code, headers["Retry-After"]) == (429, "7")
        clear_faults(url)
        assert not exists(port)


def test_a_body_above_the_limit_ends_the_connection(faulty):
    with pytest.raises(ConnectionError):
        ask(faulty.port, "PUT", "/collections/c/points?wait=true", {"points": [], "x": "x" * (33 << 20)})


def test_keys_open_what_they_may():
    read = ("POST", "/collections/c/points/count", {"exact": True})
    write = ("PUT", "/collections/d", CREATE)
    with QdrantOverHttp(api_key="all", read_only_key="some") as server:

        def code(request, key):
            return ask(server.port, *request, headers={"api-key": key} if key else {})[0]

        assert code(("PUT", "/collections/c", CREATE), "all") == 200
        assert [code(read, key) for key in (None, "wrong", "some", "all")] == [401, 401, 200, 200]
        assert [code(write, key) for key in (None, "wrong", "some", "all")] == [401, 401, 403, 200]


def test_a_body_of_another_form_is_refused_as_such(faulty):
    ask(faulty.port, "PUT", "/collections/c", CREATE)
    for body in ({}, {"points": [{"vector": [1]}]}, {"points": 3}):
        assert ask(faulty.port, "PUT", "/collections/c/points?wait=true", body)[0] in (400, 422)
