"""What is shown of a running job: at each width of a terminal, in a log, and to machines."""

import io
import json

import pytest
from rich.cells import cell_len
from rich.console import Console

from hybrid_search.cli import progress, progress_bar
from hybrid_search.cli.progress_bar import JobBar, shortened
from hybrid_search.indexing.progress import JobProgress, Progress
from hybrid_search.types import Failure

LONG = "/home/anna/notes/projects/search/meetings/2024/january/minutes-of-the-first-meeting.md"
WIDE = "吾輩は猫である/名前はまだ無い/どこで生れたかとんと見当がつかぬ.txt"


def state(**other):
    counts = {"documents": 0, "chunks": 0, "unchanged": 0, "failed": 0, "total": 28_731, "seconds": 0.0}
    return Progress(**{**counts, **other})


@pytest.fixture
def clock(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(progress_bar, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def drawn(shown, width):
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(shown)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("current", ["", "a.md", LONG, WIDE])
@pytest.mark.parametrize("total", [None, 28_731, 12_345_678])
def test_the_bar_is_two_lines_at_every_width(clock, width, current, total):
    shown = JobBar()
    shown.tell(state(total=total))
    clock[0] += 14
    more = {"chunks": 9_120, "tokens": 203_123, "current": current, "saved": 2_100, "eta_s": 4_920.0}
    shown.tell(state(documents=2_134, unchanged=10_000, total=total, failed=3, seconds=14.0, **more))
    lines = drawn(shown, width)
    assert len(lines) == 2
    assert max(cell_len(line) for line in lines) <= width
    assert "1 h 22 min left" in lines[0]
    assert "9,120 chunks" in lines[1]
    if width >= 60:
        assert "12,137" in lines[0]
        assert (total is None) == ("%" not in lines[0])
        assert "14,509 tokens/s" in lines[1]
        assert "3 failed" in lines[1]
        assert lines[1].rstrip().endswith(current[-4:])
    if width == 120:
        assert "2,100 saved" in lines[1]


def test_the_time_left_runs_down_between_two_tellings(clock):
    shown = JobBar()
    shown.tell(state(documents=5, eta_s=50.0))
    assert "50 s left" in drawn(shown, 80)[0]
    clock[0] += 20
    assert "30 s left" in drawn(shown, 80)[0]
    clock[0] += 100
    assert "0 s left" in drawn(shown, 80)[0]
    shown.tell(state(documents=5, seconds=200.0))
    assert "3 min 20 s so far" in drawn(shown, 80)[0]


@pytest.mark.parametrize("width", [1, 2, 5, 12, 30, 200])
@pytest.mark.parametrize("path", ["a", "a/b/c.md", LONG, WIDE, "C:\\Users\\anna\\a.md", "two\nlines.md"])
def test_a_path_is_shortened_to_its_end(path, width):
    short = shortened(path, width)
    assert cell_len(short) <= width
    assert short.isprintable()
    if cell_len(path) > width:
        assert path.endswith(short.removeprefix("…"))


def test_a_log_gets_a_line_every_thirty_seconds_and_none_before(clock, capsys):
    with progress.watching("auto") as watchers:
        for _ in range(29):
            watchers.on_progress(state(documents=1))
            watchers.on_download("acme/model", 1_000_000, 9_000_000)
            clock[0] += 1
        assert capsys.readouterr().err == ""
        for _ in range(31):
            clock[0] += 1
            watchers.on_progress(state(documents=2, chunks=7, failed=1, eta_s=90.0))
        clock[0] += 30
        watchers.on_download("acme/model", 2_000_000, 9_000_000)
    out, err = capsys.readouterr()
    first = "indexing: 3 of 28,731 documents, 7 chunks, 1 failed, 1 min 30 s left"
    assert err.splitlines() == [first, first, "fetching acme/model: 2 of 9 MB"]
    assert "\r" not in err
    assert out == ""


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_events_come_at_most_twice_a_second_and_the_last_one_always(monkeypatch, clock, capsys):
    monkeypatch.setattr(progress, "EVENT_EVERY_S", 1_000.0)
    with progress.watching("json", collection="c") as watchers:
        for n in range(5):
            failures = (Failure("a.md", "no text"),) if n == 2 else ()
            watchers.on_progress(state(documents=n, failures=failures))
            watchers.on_download("acme/model", n, 4)
    found = [(event["event"], event.get("documents", event.get("bytes"))) for event in events(capsys)]
    assert found == [
        ("start", None),
        ("progress", 0),
        ("download", 0),
        ("failure", None),
        ("download", 4),
        ("progress", 4),
    ]


def test_what_came_too_soon_is_printed_a_moment_later(capfd):
    from time import sleep

    with progress.watching("json") as watchers:
        watchers.on_progress(state(documents=1))
        watchers.on_progress(state(documents=2))
        for _ in range(100):
            sleep(0.05)
            shown = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
            if any(event.get("documents") == 2 for event in shown):
                return
    raise AssertionError("it was never printed")


@pytest.fixture
def job(monkeypatch):
    """A tally with a clock of its own: `job(unchanged=3, documents=2, after=10.0)` gives what is told then."""
    now = [0.0]
    monkeypatch.setattr("hybrid_search.indexing.progress.perf_counter", lambda: now[0])
    told = []
    tally = JobProgress("c", "custom", "", 10_000, told.append, started=0.0)

    def go(after, unchanged=0, documents=0):
        now[0] += after
        tally.unchanged += unchanged
        tally.add(documents, documents)
        return told[-1]

    go.tally, go.told = tally, told
    return go


def test_the_time_left_is_not_fooled_by_what_an_earlier_run_did(job):
    assert job(0.0).eta_s is None
    for _ in range(50):
        assert job(0.01, unchanged=100).eta_s is None
    for n in range(1, 20):
        now = job(10.0, documents=64)
        assert now.eta_s == pytest.approx((5_000 - n * 64) * 10 / 64, rel=0.01)


def test_the_time_left_follows_the_pace(job):
    for _ in range(20):
        now = job(1.0, documents=10)
    assert now.eta_s == pytest.approx(980, rel=0.01)
    for _ in range(60):
        now = job(1.0, documents=5)
    assert now.eta_s == pytest.approx(9_500 / 5, rel=0.1)


def test_the_time_left_where_every_tenth_document_has_changed(job):
    for _ in range(10):
        for _ in range(9):
            job(0.001, unchanged=64)
        now = job(8.0, documents=64)
    assert now.eta_s == pytest.approx((10_000 - 6_400) * 8 / 640, rel=0.15)


def test_the_time_left_is_none_where_the_total_is_not_known_or_wrong(job):
    job(1.0, documents=10_000)
    assert job(2.0).eta_s == 0
    assert job(2.0, documents=1).eta_s is None
    job.tally.total = None
    assert job(2.0, documents=1).eta_s is None


def test_failures_are_told_once_and_at_the_latest_a_second_later(job):
    job.tally.fail(Failure("a:1", "no text"))
    assert job(0.5).failures == (Failure("a:1", "no text"),)
    assert job(0.1).failures == ()
    job(5.0)
    count = len(job.told)
    job.tally.fail(Failure("a:2", "no text"))
    assert len(job.told) == count
    job.tally.told_at -= 2
    job.tally.fail(Failure("a:3", "no text"))
    assert [failure.origin for failure in job.told[-1].failures] == ["a:2", "a:3"]
    job.tally.fail(Failure("a:4", "no text"))
    report = job.tally.report()
    assert [failure.origin for failure in job.told[-1].failures] == ["a:4"]
    assert report.failed == 4


def test_the_current_file_is_told_without_the_line(job):
    for origin, current in (("a/b.jsonl:17", "a/b.jsonl"), ("a.md", "a.md"), ("", ""), ("-:3", "-")):
        job.tally.origin = origin
        assert job(1.0).current == current
