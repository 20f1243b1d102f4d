"""The test server answers what a true Qdrant 1.18.3 answered to the same requests."""

import pytest

from tests.qdrant_double.recorded_answers import VERSION
from tests.qdrant_over_http import QdrantOverHttp
from tests.store import recorded_exchanges
from tests.store.recorded_exchanges import RECORDINGS, Replay, compare

pytestmark = pytest.mark.shared

CASES = 71

ESTIMATE = "the engine estimates what it is not asked to count exactly; the in-memory form counts"
TIE = "several points have the same score and one of them has room: each form keeps another"
DELETED = "the engine still counts an indexed vector of a deleted point"

DIFFER = {
    (13, 13): DELETED,
    (37, 18): TIE,
    (42, 21): ESTIMATE,
    (47, 21): ESTIMATE,
    (53, 21): ESTIMATE,
    (54, 21): ESTIMATE,
    (64, 21): ESTIMATE,
    (65, 21): ESTIMATE,
    (70, 13): ESTIMATE,
}
"""(case, place in the case): why the double answers otherwise."""

PLACED = "which points share a shard, and on which peer it lies, is the double's own"
SHARDED = "the engine counts a term's documents within a shard, and finds equal scores in an order of its own"

OF_THE_CLUSTER = {
    **dict.fromkeys((6, 9, 14, 19, 24, 29, 37, 42), PLACED),
    **dict.fromkeys((10, 15, 25, 33, 38), SHARDED),
}
"""Place in the recording of a cluster: why the double answers otherwise."""

OF_AN_EARLIER_RUN = {38: "the recording lists a snapshot that was made before it began"}


@pytest.fixture(scope="module")
def exchanges():
    """All recorded exchanges of collections, by case."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"{RECORDINGS} is not there")
    cases = {}
    for exchange in recorded_exchanges.read("collections.jsonl"):
        cases.setdefault(exchange["case"], []).append(exchange)
    assert sorted(cases) == list(range(CASES))
    return cases


@pytest.fixture
def replay():
    with QdrantOverHttp(version=VERSION) as server, Replay(server.port) as connection:
        yield connection


def differing(replay, exchanges):
    """The differences of each exchange that has some, by its place."""
    found = {place: replay.differences(exchange) for place, exchange in enumerate(exchanges)}
    return {place: differences for place, differences in found.items() if differences}


@pytest.mark.parametrize("case", range(CASES))
def test_the_double_answers_as_the_true_server_did(replay, exchanges, case):
    expected = {place for number, place in DIFFER if number == case}
    found = differing(replay, exchanges[case])
    assert set(found) == expected, found


def test_refusals_are_those_of_the_true_server(replay):
    recorded = recorded_exchanges.read("refusals.jsonl")
    if not recorded:
        pytest.skip(f"{RECORDINGS} is not there")
    found = differing(replay, recorded)
    assert set(found) == set(OF_AN_EARLIER_RUN), found


def test_a_comparison_sees_shape_kind_and_value():
    assert list(compare({"score": 1.0, "version": 3}, {"score": 1.000001, "version": 9})) == []
    assert list(compare({"score": 1.0}, {"score": 1.1})) == [".score: 1.0 instead of 1.1"]
    assert list(compare({"version": "3"}, {"version": 9})) == [".version: '3' instead of 9"]
    assert list(compare({"a": None}, {})) == [".a: too much"]
    assert list(compare([1], [1, 2])) == [": 1 instead of 2"]
    assert list(compare(True, 1)) == [": True instead of 1"]


DIES, RETURNS = 20, 33
"""Places in the recording of a cluster: the first request with a dead peer, and the first with that peer back."""


def test_a_cluster_with_a_dead_peer_answers_as_the_true_one_did():
    recorded = recorded_exchanges.read("cluster.jsonl")
    if not recorded:
        pytest.skip(f"{RECORDINGS} is not there")
    found = {}
    with QdrantOverHttp(version=VERSION) as server, Replay(server.port) as replay:
        cluster = server.gather_peers()
        for place, exchange in enumerate(recorded):
            if place == DIES:
                cluster.kill(2)
            if place == RETURNS:
                cluster.revive(2)
            if differences := replay.differences(exchange):
                found[place] = differences
    assert set(found) == set(OF_THE_CLUSTER), "\n".join(map(str, found.items()))
