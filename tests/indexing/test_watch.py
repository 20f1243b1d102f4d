"""Watching sources: which changes bring a round, what a failed round does, and how it ends."""

import builtins
import shutil
from threading import Event, Thread
from time import sleep

import pytest

from hybrid_search import Indexer, watch
from hybrid_search.errors import CorpusError, InvalidArgument, ManifestMismatch, MissingExtra, StoreBusy
from hybrid_search.store.edge.store import EdgeStore
from tests.waiting import CHANGED, Told, until

pytest.importorskip("watchfiles", reason="needs the extra watch")

NO_TEXTS = ("x.bin", "x.dat", ".a.md.swp")
NOW = {"quiet_s": 0.05, "pause_s": 60.0}


class Watching:
    """`watch` in a thread. `rounds` grows by one a round; a round raises what lies first in `errors`."""

    def __init__(self, sources, **options):
        self.rounds, self.errors, self.troubles, self.ended = 0, [], Told(), None
        self.stop = Event()
        options = {**NOW, "on_trouble": self.troubles.append, "stop": self.stop, **options}
        self.thread = Thread(target=self._run, args=(sources, options))

    def __enter__(self):
        self.thread.start()
        until(lambda: self.rounds)
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def _run(self, sources, options):
        try:
            watch(self.once, sources, **options)
        except Exception as error:
            self.ended = error

    def once(self):
        with CHANGED:
            self.rounds += 1
            CHANGED.notify_all()
        if self.errors:
            raise self.errors.pop(0)

    def brings_a_round(self, change):
        before = self.rounds
        change()
        return until(lambda: self.rounds > before)

    def brings_none(self, change):
        before = -1
        while before != self.rounds:  # an earlier change may bring a second round
            before = self.rounds
            sleep(0.3)
        change()
        sleep(0.5)
        return self.rounds == before


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("apples")
    return folder


def test_changes_that_bring_a_round(notes):
    with Watching([notes]) as watching:
        assert watching.brings_a_round(lambda: (notes / "a.md").write_text("pears"))
        assert watching.brings_a_round(lambda: (notes / "new.txt").write_text("plums"))
        assert watching.brings_a_round(lambda: (notes / "sub" / "b.md").write_text("plums"))
        assert watching.brings_a_round(lambda: (notes / ".gitignore").write_text("b.md"))
        assert watching.brings_a_round((notes / "new.txt").unlink)
        assert watching.brings_a_round(lambda: shutil.move(notes / "sub", notes.parent / "sub"))
        assert watching.brings_a_round(lambda: shutil.move(notes.parent / "sub", notes / "sub.2"))
        assert watching.brings_a_round(lambda: (notes / "sub.2" / "b.md").write_text("cherries"))
        assert watching.brings_a_round(lambda: (notes / "README").write_text("words"))
        assert watching.brings_none(lambda: [(notes / name).write_bytes(b"\0") for name in NO_TEXTS])
    assert watching.ended is None


def test_an_editor_that_replaces_the_file_is_noticed(notes):
    file, other = notes / "a.md", notes / "b.md"
    with Watching([file]) as watching:
        for text in ("pears", "plums"):
            other.write_text(text)
            assert watching.brings_a_round(lambda: other.replace(file))
        assert watching.brings_none(lambda: other.write_text("not a source"))


def test_globs_say_which_files_matter(notes):
    with Watching([notes], globs=["*.py"]) as watching:
        assert watching.brings_a_round(lambda: (notes / "a.py").write_text("x = 1"))
        assert watching.brings_none(lambda: (notes / "a.md").write_text("pears"))


def test_what_changes_during_a_round_brings_another_one(notes):
    within = Event()

    class Slow(Watching):
        def once(self):
            super().once()
            if self.rounds == 1:
                (notes / "a.md").write_text("while at work")
                sleep(0.3)
                within.set()

    with Slow([notes]) as watching:
        assert within.wait(10)
        until(lambda: watching.rounds == 2)


def test_a_folder_that_goes_and_comes_back_is_still_watched(notes):
    with Watching([notes]) as watching:
        watching.errors = [CorpusError("gone")]
        assert watching.brings_a_round(lambda: shutil.rmtree(notes))
        until(lambda: watching.troubles)

        def back():
            notes.mkdir()
            (notes / "a.md").write_text("apples")

        assert watching.brings_a_round(back)
        sleep(0.3)
        assert watching.brings_a_round(lambda: (notes / "b.md").write_text("pears"))


def test_a_failed_round_is_told_and_tried_again(notes):
    with Watching([notes], pause_s=0.1) as watching:
        watching.errors = [StoreBusy("busy"), StoreBusy("busy")]
        assert watching.brings_a_round(lambda: (notes / "a.md").write_text("pears"))
        until(lambda: watching.rounds == 4)
    assert [str(error) for error in watching.troubles] == ["busy", "busy"]
    assert watching.ended is None


def test_a_change_brings_the_next_try_before_the_pause_is_over(notes):
    with Watching([notes]) as watching:
        watching.errors = [CorpusError("half written")]
        watching.brings_a_round(lambda: (notes / "a.md").write_text(""))
        until(lambda: watching.troubles)
        assert watching.brings_a_round(lambda: (notes / "a.md").write_text("pears"))


@pytest.mark.parametrize("error", [CorpusError("empty"), ManifestMismatch("c", "x", 1, 2), InvalidArgument("no")])
def test_what_is_wrong_from_the_start_ends_it(notes, error):
    def once():
        raise error

    with pytest.raises(type(error)):
        watch(once, [notes], **NOW)


def test_a_busy_store_at_the_start_is_waited_for(notes):
    stop, errors = Event(), [StoreBusy("busy")]

    def once():
        if errors:
            raise errors.pop()
        stop.set()

    watch(once, [notes], stop=stop, pause_s=0.05)


def test_sources_that_cannot_be_watched(notes, monkeypatch):
    with pytest.raises(InvalidArgument, match="Stdin"):
        watch(lambda: None, ["-"])
    with pytest.raises(CorpusError, match="nowhere"):
        watch(lambda: None, [notes / "nowhere"])
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "watchfiles":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'hybrid-search-qdrant\[watch\]'"):
        watch(lambda: None, [notes])


def test_watching_that_fails_is_an_error(notes, monkeypatch):
    def broken(*_, **__):
        raise OSError("too many watches")
        yield

    monkeypatch.setattr("watchfiles.watch", broken)
    with pytest.raises(CorpusError, match="too many watches"):
        watch(lambda: None, [notes])


def test_a_collection_stays_in_step(notes, settings):
    reports = Told()
    indexer = Indexer.open("c", settings=settings, sparse="qdrant/bm25-engine", dense="none")
    stop = Event()

    def run():
        watch(lambda: indexer.index([notes], prune=True), [notes], on_report=reports.append, stop=stop, quiet_s=0.05)

    thread = Thread(target=run)
    thread.start()
    try:
        until(lambda: reports)
        (notes / "b.md").write_text("pears")
        until(lambda: reports[-1].documents == 1 and reports[-1].unchanged == 1)
        (notes / "a.md").unlink()
        until(lambda: reports[-1].removed == 1)
    finally:
        stop.set()
        thread.join(20)
    assert EdgeStore(settings.store).info("c").documents == 1
