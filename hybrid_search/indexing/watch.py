"""Keeps a collection in step with files that change: indexes once, then again after every change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from hybrid_search._util.extras import importing_extra
from hybrid_search.corpus.unknown_files import left_out_by_content, left_out_by_name
from hybrid_search.corpus.walk import KNOWN_SUFFIXES, STDIN, check_sources, glob_spec
from hybrid_search.errors import CorpusError, InvalidArgument, StoreBusy, StoreFull, StoreUnavailable
from hybrid_search.indexing.progress import IndexReport

PASSING = (StoreBusy, StoreUnavailable)
"""What a later attempt may not meet any more. After a round that went well, bad sources and a full disk are, too."""

_POLL_S = 0.2
_IGNORE_FILE = ".gitignore"


def watch(
    index_once: Callable[[], IndexReport],
    sources: Sequence[str | Path],
    *,
    globs: Sequence[str] = (),
    on_report: Callable[[IndexReport], None] | None = None,
    on_trouble: Callable[[Exception], None] | None = None,
    stop: Event | None = None,
    quiet_s: float = 0.5,
    pause_s: float = 30.0,
) -> None:
    """Index, and again after every change below the sources, until `stop` is set or Ctrl-C is pressed.

    Whatever changes while a round is at work brings another one. What a round does is `index_once`'s business:

        indexer = Indexer.open("notes")
        watch(lambda: indexer.index(["notes/"], prune=True), ["notes/"], on_report=print)

    Args:
        index_once: brings the collection in step with the sources.
        sources: what `index_once` reads: files and folders, without stdin.
        globs: those of `index_once`; other files' changes bring no round.
        on_report: called with the report after every round.
        on_trouble: called with the error of a round that failed and will be tried again.
        stop: ends it when set, after the round at work; None for never.
        quiet_s: seconds without a further change before a round begins, so that a file is not read half written.
        pause_s: seconds after which a failed round is tried again, if no change brings one before.

    Raises:
        InvalidArgument: stdin is a source.
        CorpusError: a source is not there at the beginning, or cannot be watched.
        MissingExtra: watchfiles is not installed.
        HybridSearchError: any error of the first round but StoreBusy and StoreUnavailable; of later rounds those
            that no change of the sources and no waiting will mend.
    """
    check_sources(sources)
    if STDIN in map(str, sources):
        raise InvalidArgument("Stdin (-) cannot be watched: it is read once. Name files or folders.")
    stop = stop or Event()
    passing: tuple[type[Exception], ...] = PASSING
    while not stop.is_set():
        # Watched anew where need be: a folder that was gone and is back is another one to the system.
        with _changes(sources, globs, quiet_s) as changed:
            while not (stop.is_set() or changed.lost):
                changed.clear()
                try:
                    report = index_once()
                except passing as error:
                    if on_trouble is not None:
                        on_trouble(error)
                    _wait(changed, stop, pause_s)
                    break
                passing = (*PASSING, CorpusError, StoreFull)
                if on_report is not None:
                    on_report(report)
                _wait(changed, stop, None)


def _wait(changed: _Changes, stop: Event, most_s: float | None) -> None:
    end = None if most_s is None else monotonic() + most_s
    while not stop.is_set() and (end is None or monotonic() < end):
        # In small steps: on Windows a longer wait would not notice Ctrl-C.
        if changed.wait(_POLL_S):
            return


class _Changes(Event):
    """Set when something has changed, or when watching has failed: waiting then raises why.

    `lost` says that a folder itself has gone, so that nothing more will be heard of it.
    """

    lost = False
    trouble: Exception | None = None

    def wait(self, timeout: float | None = None) -> bool:
        is_set = super().wait(timeout)
        if self.trouble is not None:
            raise CorpusError(f"The sources cannot be watched: {self.trouble}.") from self.trouble
        return is_set


@contextmanager
def _changes(sources: Sequence[str | Path], globs: Sequence[str], quiet_s: float) -> Iterator[_Changes]:
    """Watch the files that these sources name, or may name now; the event is set when one has changed."""
    watch = _watchfiles()
    changed, over = _Changes(), Event()
    folders, files = _places(sources)
    threads = []
    for paths, wanted in ((folders, _wanted_below(folders, globs)), (_parents(files), lambda path: path in files)):
        if not paths:
            continue
        begun = Event()
        options = {"recursive": paths is folders, "step": int(quiet_s * 1000), "debounce": int(quiet_s * 10_000)}
        arguments = (watch, paths, wanted, options, changed, begun, over)
        threads.append(Thread(target=_watch, args=arguments, name="watching", daemon=True))
        threads[-1].start()
        begun.wait()  # what changes from here on is noticed
    try:
        yield changed
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _watch(
    watch: Callable[..., Iterable[set[Any]]],
    paths: Sequence[Path],
    wanted: Callable[[Path], bool],
    options: Mapping[str, Any],
    changed: _Changes,
    begun: Event,
    stop: Event,
) -> None:
    try:
        for changes in watch(
            *paths,
            watch_filter=lambda _, path: wanted(Path(path)),
            stop_event=stop,
            rust_timeout=int(_POLL_S * 1000),
            yield_on_timeout=True,  # so that it is seen to have begun
            ignore_permission_denied=True,
            **options,
        ):
            begun.set()
            if changes:
                changed.lost = changed.lost or any(Path(path) in paths for _, path in changes)
                changed.set()
    except FileNotFoundError:
        changed.set()  # a source has just vanished: the round will say so
    except Exception as error:
        changed.trouble = error
        changed.set()
    finally:
        begun.set()


def _places(sources: Sequence[str | Path]) -> tuple[list[Path], set[Path]]:
    """Return the folders that are there, and the files: under their own name and under a link's target."""
    folders, files = [], set()
    for source in map(Path, sources):
        if source.is_dir():
            folders.append(source.resolve())
        else:
            files |= {source.parent.resolve() / source.name, source.resolve()}
    return folders, files


def _parents(files: Iterable[Path]) -> list[Path]:
    """Return the folders of files. Where an editor replaces a file, its folder notices and the file does not."""
    return sorted({file.parent for file in files if file.parent.is_dir()})


def _wanted_below(folders: Sequence[Path], globs: Sequence[str]) -> Callable[[Path], bool]:
    """Make the filter of changes that may matter to `walk.find`. Rather once too often: unchanged costs a hash."""
    spec = glob_spec(globs)

    def wanted(path: Path) -> bool:
        for folder in folders:
            if path == folder:
                return True
            if folder not in path.parents:
                continue
            parts = path.relative_to(folder).parts
            if any(part.startswith(".") for part in parts[:-1]) or (parts[-1][0] == "." and parts[-1] != _IGNORE_FILE):
                continue
            if parts[-1] == _IGNORE_FILE or path.is_dir() or not path.exists():
                return True  # what is gone may have been a folder
            if spec.match_file("/".join(parts)) if spec else _may_be_read(path):
                return True
        return False

    return wanted


def _may_be_read(path: Path) -> bool:
    if path.suffix.lower() in KNOWN_SUFFIXES:
        return True
    try:
        return not (left_out_by_name(path.name) or left_out_by_content(path))
    except OSError:
        return True


def _watchfiles() -> Any:
    with importing_extra("watch", "Following files"):
        from watchfiles import watch
    return watch
