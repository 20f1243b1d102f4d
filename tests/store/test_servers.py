"""The server under test is had over REST in every process, and is left as it was found."""

from contextlib import closing

import pytest

from tests import servers
from tests.store.store_points import build, point


def test_a_relay_hands_on_to_a_port_at_which_rest_is_taken(faulty, name, monkeypatch):
    monkeypatch.setattr(servers, "speaks_grpc", lambda url: url == faulty.url)
    with servers.over(faulty.url, "rest") as url:
        assert url != faulty.url
        with closing(servers.store_of(url)) as store:
            build(store, name, [point(f"d{number}") for number in range(200)])
            assert len(list(store.reader(name).doc_ids())) == 200
    with servers.over(faulty.url, "grpc") as url:
        assert url == faulty.url


def test_what_has_been_made_is_dropped_and_others_are_refused(faulty, name):
    with closing(servers.client_of(faulty.url)) as client:
        client.create_collection(f"{name}", vectors_config={})
        with servers.left_as_found(faulty.url):
            client.create_collection("c", vectors_config={})
        assert servers.names(client) == [name]  # a test with a prefix clears away its own
        client.create_collection("theirs", vectors_config={})
        with pytest.raises(pytest.fail.Exception, match="holds theirs"), servers.left_as_found(faulty.url):
            pytest.fail("not reached")
        assert sorted(servers.names(client)) == sorted([name, "theirs"])
