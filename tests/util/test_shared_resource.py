"""One open thing for many users: it is opened once, closed once, and never under anybody."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybrid_search._util.shared_resource import Retired, SharedResource


class Thing:
    """Something that knows whether it was closed, and how often."""

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


def test_the_first_opens_it_and_the_last_closes_it_once_it_is_retired():
    made = []
    shared = SharedResource(Thing.close)
    assert not shared.is_open
    first = shared.acquire(lambda: made.append(Thing()) or made[-1])
    assert shared.acquire(pytest.fail) is first
    shared.release()
    shared.release()
    assert (shared.is_open, shared.in_use, first.closed) == (True, False, 0)  # nobody uses it, and it stays open
    with shared.use(pytest.fail) as value:
        shared.retire()
        shared.retire()
        assert value is first
        assert first.closed == 0
    assert (first.closed, shared.is_open) == (1, False)
    with pytest.raises(Retired):
        shared.acquire(pytest.fail)


def test_one_that_is_open_already_is_closed_like_any_other():
    thing = Thing()
    shared = SharedResource(Thing.close, thing)
    with shared.use(pytest.fail) as value:
        assert value is thing
    shared.retire()
    assert thing.closed == 1


def test_one_that_nobody_opened_is_not_closed():
    shared = SharedResource(pytest.fail)
    shared.retire()
    assert not shared.is_open


def test_where_it_cannot_be_opened_nobody_is_counted_and_the_next_tries_again():
    shared = SharedResource(Thing.close)

    def broken():
        raise OSError("not now")

    for _ in range(2):
        with pytest.raises(OSError, match="not now"):
            shared.acquire(broken)
    assert (shared.in_use, shared.is_open) == (False, False)
    thing = shared.acquire(Thing)
    shared.retire()
    shared.release()
    assert thing.closed == 1


def test_an_error_in_the_block_releases_it():
    shared = SharedResource(Thing.close)
    with pytest.raises(KeyError), shared.use(Thing):
        raise KeyError
    assert not shared.in_use


def test_an_error_of_closing_is_said_once_and_it_stays_closed():
    shared = SharedResource(lambda value: 1 / 0, Thing())
    with pytest.raises(ZeroDivisionError):
        shared.retire()
    assert not shared.is_open
    shared.retire()


def test_others_wait_for_the_one_who_opens_it_and_get_the_same():
    begun, go_on, made = threading.Event(), threading.Event(), []
    shared = SharedResource(Thing.close)

    def slow():
        begun.set()
        assert go_on.wait(60)
        made.append(Thing())
        return made[-1]

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(shared.acquire, slow)
        assert begun.wait(60)
        others = [threads.submit(shared.acquire, slow) for _ in range(7)]
        shared.retire()  # while it is being opened: who has asked already gets it
        go_on.set()
        assert {id(one.result(60)) for one in [first, *others] if one.exception(60) is None} == {id(made[0])}
    assert len(made) == 1
    got = [one for one in [first, *others] if one.exception() is None]
    for place, _ in enumerate(got, 1):
        assert made[0].closed == 0
        shared.release()
        assert made[0].closed == (place == len(got))


def test_threads_that_come_while_it_is_replaced_again_and_again_never_meet_a_closed_one():
    """As its keepers do: whoever finds it retired takes the next one."""
    made, failures = [], []
    keeper = [SharedResource(Thing.close)]
    stop = threading.Event()

    def make():
        made.append(Thing())
        return made[-1]

    def search():
        while not stop.is_set():
            try:
                with keeper[0].use(make) as thing:
                    if thing.closed:
                        failures.append(thing)
            except Retired:
                continue

    threads = [threading.Thread(target=search) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        old, keeper[0] = keeper[0], SharedResource(Thing.close)
        old.retire()
    stop.set()
    for thread in threads:
        thread.join()
    keeper[0].retire()
    assert failures == []
    assert made
    assert {thing.closed for thing in made} == {1}
