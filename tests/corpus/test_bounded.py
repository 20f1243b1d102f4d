"""Work in a process of its own: its bounds hold, its end is told, and the next request goes on."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from hybrid_search.corpus.bounded import Bound, BoundedProcess, Exceeded
from hybrid_search.errors import ManifestMismatch, MissingExtra, UnknownModel

AMPLE = Bound(cpu_s=60, memory_bytes=1 << 30)
OPENER = "tests.bounded_handlers:opened"


@pytest.fixture
def process():
    with BoundedProcess(OPENER, "argument") as process:
        yield process


def ask(process, verb, value=None, bound=AMPLE):
    return list(process.ask((verb, value), bound))


def test_answers_come_in_order_and_whole(process):
    value = {"text": "naïve 🎈 \ud800", "bytes": b"\0\xff", "none": None}
    assert ask(process, "echo", value) == ["argument", value]
    assert [answer[100_000:] for answer in ask(process, "count", 50)] == [str(n) for n in range(50)]


def test_what_is_printed_there_is_no_answer(process):
    assert ask(process, "print", "hello") == []
    assert ask(process, "echo", 1) == ["argument", 1]


@pytest.mark.parametrize(
    ("verb", "value", "bound", "reason"),
    [
        ("spin", None, AMPLE._replace(cpu_s=0.5), r"more than 0\.5 s of processor time"),
        ("hold", None, AMPLE._replace(cpu_s=0.5), r"more than 0\.5 s of processor time"),
        ("sleep", 60, AMPLE._replace(silent_s=0.5), r"nothing within 0\.5 s"),
        ("eat", 400, AMPLE._replace(memory_bytes=300 << 20), "more than 315 MB of memory"),
        ("crash", None, AMPLE, "ended with signal SIGABRT"),
        ("exit", 3, AMPLE, "ended with exit code 3"),
        ("raise", "theirs", AMPLE, "KeyError"),
        ("deep", 10**6, AMPLE, "RecursionError"),
    ],
)
def test_what_goes_beyond_its_bound_is_ended_and_the_next_goes_on(process, verb, value, bound, reason):
    begun = time.monotonic()
    with pytest.raises(Exceeded, match=reason) as raised:
        ask(process, verb, value, bound)
    assert len(str(raised.value)) < 400
    assert time.monotonic() - begun < 20
    assert ask(process, "echo", 1) == ["argument", 1]


def test_time_counts_anew_with_each_request(process):
    assert ask(process, "eat", 1, AMPLE._replace(cpu_s=0.5)) == [1 << 20]
    for _ in range(3):
        with pytest.raises(Exceeded, match="processor time"):
            ask(process, "spin", None, AMPLE._replace(cpu_s=0.3))


def test_a_caller_who_is_slow_does_not_use_up_the_time(process):
    answers = process.ask(("count", 30), AMPLE._replace(silent_s=0.5))
    next(answers)
    time.sleep(1.0)
    assert len(list(answers)) == 29


def test_a_caller_who_goes_away_leaves_no_answer_behind(process):
    next(process.ask(("count", 30), AMPLE))
    assert ask(process, "echo", 1) == ["argument", 1]


def test_errors_of_ours_arrive_as_they_are(process):
    with pytest.raises(MissingExtra, match="Reading it needs the 'parquet' extra") as raised:
        ask(process, "raise", "ours")
    assert raised.value.extra == "parquet"
    assert isinstance(raised.value, ImportError)


@pytest.mark.parametrize("error", [UnknownModel("x", ["xy"]), ManifestMismatch("c", "the legs", "a", "b")])
def test_every_error_of_ours_can_travel(error):
    import pickle

    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


def test_what_cannot_be_opened_says_why():
    with (
        BoundedProcess("tests.bounded_handlers:unopened", 7) as process,
        pytest.raises(Exceeded, match="opened with 7"),
    ):
        ask(process, "echo")
    with BoundedProcess("tests.no_such_module:opened") as process, pytest.raises(Exceeded, match="ModuleNotFound"):
        ask(process, "echo")


def test_closing_ends_the_process_at_once():
    process = BoundedProcess(OPENER)
    ask(process, "echo")
    pid = process.start().pid
    process.close()
    process.close()
    assert not psutil.pid_exists(pid)


ORPHAN = """
import sys
from hybrid_search.corpus.bounded import Bound, BoundedProcess
process = BoundedProcess("tests.bounded_handlers:opened")
print(process.start().pid, flush=True)
for _ in process.ask((sys.argv[1], None), Bound(600, 1 << 30)):
    pass
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux ends a process with its parent")
@pytest.mark.parametrize("work", ["spin", "hold"])
def test_it_ends_with_its_parent_whatever_it_is_at(work):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, work], stdout=subprocess.PIPE, env=env)
    child = psutil.Process(int(parent.stdout.readline()))
    deadline = time.monotonic() + 20
    while child.cpu_times().user < 0.5 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    gone, _ = psutil.wait_procs([child], timeout=5)
    assert gone


def test_a_process_started_in_a_thread_outlives_it():
    import threading

    with BoundedProcess(OPENER, 1) as process:
        thread = threading.Thread(target=process.start)
        thread.start()
        thread.join()
        time.sleep(0.3)
        pid = process.start().pid
        assert ask(process, "echo", 2) == [1, 2]
        assert process.start().pid == pid
