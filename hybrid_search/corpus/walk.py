"""Finds the files of a source: one file, or the files of a folder in a stable order."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pathspec

from hybrid_search._util.arguments import listed, shown, texts
from hybrid_search._util.printable import storable
from hybrid_search.corpus.code import CODE_MARKUP
from hybrid_search.corpus.documents import CONVERTED
from hybrid_search.corpus.unknown_files import left_out_by_name
from hybrid_search.errors import CorpusError, InvalidArgument, near
from hybrid_search.types import BrokeOff, Failure, PassedOver

STDIN = "-"
BEIR_CORPUS = "corpus.jsonl"
JSONL_SUFFIXES = (".jsonl", ".ndjson")
KNOWN_SUFFIXES = frozenset(
    (*JSONL_SUFFIXES, ".json", ".csv", ".tsv", ".parquet", ".md", ".markdown", ".txt", ".text", ".rst", ".log", ".eml")
).union(CONVERTED, CODE_MARKUP)
DEAD_LINKS = "links that lead nowhere"
LINKS_OUT = "links out of the source"
SPECIAL = "pipes, sockets and devices"
"""Kinds of entries that are passed over in a folder."""


class FoundFile(NamedTuple):
    """A file to read.

    Args:
        path: what is opened.
        origin: the path as the user would write it.
        name: the id of the document, or the front of made-up ids: posix, relative to the source.
        folder: the source that it was found in; empty if the file itself was named.
        sure: whether to read it whatever it holds. Files of unknown suffixes are not sure: they are read if they
            turn out to be text.
    """

    path: Path
    origin: str
    name: str
    folder: str = ""
    sure: bool = True


def check_sources(sources: Sequence[str | Path]) -> None:
    """Refuse sources that do not exist; the error names all of them.

    Raises:
        InvalidArgument: no source, or stdin twice.
        CorpusError: some do not exist, or are neither a file nor a folder.
    """
    if isinstance(sources, (str, Path)):
        raise InvalidArgument(f"Sources must be a list of paths, not the one path {str(sources)!r}")
    named = listed("sources", sources, "paths")
    for place, source in enumerate(named):
        if not isinstance(source, (str, Path)):
            raise InvalidArgument(f"sources[{place}] is {shown(source)}; it must be a path.")
    paths = [os.fspath(source) for source in named]
    if not paths:
        raise InvalidArgument("No source given: name a file, a folder, or - for stdin")
    if paths.count(STDIN) > 1:
        raise InvalidArgument("Stdin (-) can be read only once")
    troubles = [_trouble(source) for source in paths if source != STDIN]
    found = [trouble for trouble in troubles if trouble]
    if found:
        raise CorpusError("; ".join(found))


def glob_spec(globs: Sequence[str]) -> pathspec.GitIgnoreSpec | None:
    """Return the globs as one matcher, with the meaning they have in a .gitignore; None for no globs.

    Raises:
        InvalidArgument: a glob is invalid.
    """
    if not globs:
        return None
    try:
        return pathspec.GitIgnoreSpec.from_lines(texts("globs", globs))
    except ValueError as error:
        raise InvalidArgument(f"A glob cannot be read: {error}. Give patterns such as '*.md' or 'docs/**'") from None


def find(
    sources: Sequence[str | Path], globs: Sequence[str] = (), *, follow_links: bool = False
) -> Iterator[FoundFile | Failure | PassedOver]:
    """Yield every file of the sources, in the order given; a folder's files are sorted by name.

    Hidden files and what a .gitignore excludes are left out of folders. Without globs, pictures, programs and the like
    are passed over by their suffix, and files of unknown suffixes are not `sure`. Stdin is a FoundFile with the origin
    `-`. A folder that holds `corpus.jsonl` is a BEIR folder: only that file of it is read.

    A link in a folder to something outside of it is passed over unless `follow_links` is set, because it may lead
    anywhere. A link to a pipe, a socket or a device is a failure, because reading it might never end.
    """
    spec = glob_spec(globs)
    paths = [os.fspath(source) for source in sources]
    folders = [source for source in paths if source != STDIN and Path(source).is_dir()]
    for source in paths:
        if source == STDIN:
            yield FoundFile(Path(STDIN), STDIN, "stdin")
            continue
        if source not in folders:
            yield FoundFile(Path(source), storable(source), storable(Path(source).name))
            continue
        # One folder's ids stay short; several folders may hold the same names.
        prefix = storable(Path(source).resolve().name) + "/" if len(folders) > 1 else ""
        empty = True
        for found in _Walk(source, spec, follow_links).files():
            empty = empty and isinstance(found, PassedOver)
            yield found._replace(name=prefix + found.name) if isinstance(found, FoundFile) else found
        if empty:
            wanted = (
                " ".join(globs) if globs else " ".join(sorted(KNOWN_SUFFIXES - CODE_MARKUP.keys())) + ", source code"
            )
            yield Failure(storable(source), f"no file to read in this folder; looked for {wanted}")


def real_path(path: str | Path) -> Path:
    """Return the one absolute path of a file or folder: links to folders are resolved, a link to a file is not."""
    path = Path(path)
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


class _Walk:
    """One walk through one folder. If asked, it follows links to folders outside, each target once."""

    def __init__(self, source: str, globs: pathspec.GitIgnoreSpec | None, follow_links: bool) -> None:
        self.source = source
        self.globs = globs
        self.follow_links = follow_links
        self.root = Path(source).resolve()
        self.linked: set[Path] = set()

    def files(self) -> Iterator[FoundFile | Failure | PassedOver]:
        yield from self._folder("", ())

    def _folder(
        self, relative: str, ignores: tuple[tuple[str, pathspec.GitIgnoreSpec], ...]
    ) -> Iterator[FoundFile | Failure | PassedOver]:
        here = os.path.join(self.source, *relative.split("/")) if relative else self.source  # noqa: PTH118
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            ignores = self._with_ignore_file(here, relative, ignores)
        except OSError as error:
            yield BrokeOff(storable(here), f"the folder cannot be read: {error.strerror or error}")
            return
        if self.globs is None and any(entry.name == BEIR_CORPUS and _is_file(entry) for entry in entries):
            entries = [entry for entry in entries if entry.name == BEIR_CORPUS]
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                if not _ignored(name, ignores) and self._wanted(name):
                    yield self._file(entry, name)
            elif not _ignored(name + "/", ignores):
                if not entry.is_symlink() or self._follows(target := _target(entry)):
                    yield from self._folder(name, ignores)
                elif not self._is_inside(target) and not self._is_known(target):
                    yield _link_out(entry)

    def _file(self, entry: os.DirEntry[str], name: str) -> FoundFile | Failure | PassedOver:
        """Classify an entry that is not a folder. A broken link yields a file, whose reading then reports the fault."""
        special = "" if _is_file(entry) else kind_of_special(entry.path)
        if special:
            if not entry.is_symlink():
                return PassedOver(storable(entry.path), SPECIAL)
            return Failure(storable(entry.path), f"leads to {special}, not to a file, and is not read")
        if entry.is_symlink() and not self.follow_links and not self._is_inside(_target(entry)):
            return _link_out(entry)
        sure = self.globs is not None or Path(name).suffix.lower() in KNOWN_SUFFIXES
        kind = "" if sure else left_out_by_name(name) or ("" if _is_file(entry) else DEAD_LINKS)
        if kind:
            return PassedOver(storable(entry.path), kind)
        return FoundFile(Path(entry.path), storable(entry.path), storable(name), self.source, sure)

    def _is_inside(self, target: Path | None) -> bool:
        """Return whether a link's target is inside the source or does not exist."""
        return target is None or target == self.root or self.root in target.parents

    def _is_known(self, target: Path | None) -> bool:
        """Return whether an outside folder was walked already, by itself or as part of one above it."""
        return target is not None and any(known == target or known in target.parents for known in self.linked)

    def _follows(self, target: Path | None) -> bool:
        """Return whether to walk a link's target: outside the source, not yet walked, no parent of the source."""
        if not self.follow_links or target is None or self._is_inside(target) or self._is_known(target):
            return False
        if target in self.root.parents:
            return False
        self.linked.add(target)
        return True

    def _wanted(self, name: str) -> bool:
        return self.globs is None or self.globs.match_file(name)

    def _with_ignore_file(
        self, here: str, relative: str, ignores: tuple[tuple[str, pathspec.GitIgnoreSpec], ...]
    ) -> tuple[tuple[str, pathspec.GitIgnoreSpec], ...]:
        file = Path(here) / ".gitignore"
        if not file.is_file():
            return ignores
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        rules = []
        for line in lines:
            try:
                pathspec.GitIgnoreSpec.from_lines([line])
            except ValueError:
                continue  # git, too, passes over a pattern that it cannot read
            rules.append(line)
        return (*ignores, (relative + "/" if relative else "", pathspec.GitIgnoreSpec.from_lines(rules)))


def _ignored(name: str, ignores: tuple[tuple[str, pathspec.GitIgnoreSpec], ...]) -> bool:
    """Return whether a name is ignored; the deepest .gitignore with a matching line decides."""
    for base, spec in reversed(ignores):
        include = spec.check_file(name[len(base) :]).include
        if include is not None:
            return bool(include)
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _target(entry: os.DirEntry[str]) -> Path | None:
    """Return where a link leads; None if it leads to itself or to nothing."""
    try:
        return Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _link_out(entry: os.DirEntry[str]) -> PassedOver:
    return PassedOver(storable(entry.path), LINKS_OUT)


def kind_of_special(path: str | Path) -> str:
    """Name what a path leads to if that is neither a file nor a folder; empty otherwise."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return ""
    kinds = (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for check, name in kinds if check(mode)), "")


def _trouble(source: str) -> str:
    path = Path(source)
    try:
        there = bool(source) and path.exists()
    except OSError as error:
        return f"{source!r} cannot be reached: {error.strerror or error}"
    if there and (path.is_file() or path.is_dir()):
        return ""
    if there:
        special = kind_of_special(path) or "something else"
        return f"{source!r} is neither a file nor a folder but {special}; pipe it in and give - as the source"
    try:
        beside = [item.name for item in path.parent.iterdir()] if source else []
    except OSError:
        beside = []
    close = [repr(str(path.parent / name)) for name in near(path.name, beside)]
    return f"No file or folder {source!r}" + (f" (did you mean {' or '.join(close)}?)" if close else "")
