"""Which files a source means: one file, or a folder's files in a stable order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pathspec

from hybrid_search.corpus.code import CODE_MARKUP
from hybrid_search.corpus.documents import CONVERTED
from hybrid_search.corpus.unknown_files import left_out_by_name
from hybrid_search.errors import CorpusError, InvalidArgument, near
from hybrid_search.types import Failure, PassedOver

STDIN = "-"
BEIR_CORPUS = "corpus.jsonl"
JSONL_SUFFIXES = (".jsonl", ".ndjson")
KNOWN_SUFFIXES = frozenset(
    (*JSONL_SUFFIXES, ".json", ".csv", ".tsv", ".parquet", ".md", ".markdown", ".txt", ".text", ".rst", ".log", ".eml")
).union(CONVERTED, CODE_MARKUP)


DEAD_LINKS = "links that lead nowhere"


class FoundFile(NamedTuple):
    """A file to read.

    Args:
        path: what is opened.
        origin: the path as the user would write it.
        name: the id of the document, or the front of made-up ids: posix, relative to the source.
        sure: whether it is to be read whatever it is. Of the others no reader knows the suffix; they are read where
            they turn out to be text.
    """

    path: Path
    origin: str
    name: str
    sure: bool = True


def check_sources(sources: Sequence[str | Path]) -> None:
    """Refuse sources that are not there, all at once.

    Raises:
        InvalidArgument: no source, or stdin twice.
        CorpusError: some do not exist, or are neither a file nor a folder.
    """
    if isinstance(sources, (str, Path)):
        raise InvalidArgument(f"Sources must be a list of paths, not the one path {str(sources)!r}")
    given = [os.fspath(source) for source in sources]
    if not given:
        raise InvalidArgument("No source given: name a file, a folder, or - for stdin")
    if given.count(STDIN) > 1:
        raise InvalidArgument("Stdin (-) can be read only once")
    troubles = [_trouble(source) for source in given if source != STDIN]
    found = [trouble for trouble in troubles if trouble]
    if found:
        raise CorpusError("; ".join(found))


def glob_spec(globs: Sequence[str]) -> pathspec.GitIgnoreSpec | None:
    """The globs as one matcher, with the meaning they have in a .gitignore; None for none.

    Raises:
        InvalidArgument: a glob that cannot be meant.
    """
    if not globs:
        return None
    try:
        return pathspec.GitIgnoreSpec.from_lines(globs)
    except ValueError as error:
        raise InvalidArgument(f"A glob cannot be read: {error}. Give patterns such as '*.md' or 'docs/**'") from None


def find(sources: Sequence[str | Path], globs: Sequence[str] = ()) -> Iterator[FoundFile | Failure | PassedOver]:
    """Every file of the sources, in the order given, folders sorted by name.

    Hidden files and what a .gitignore excludes are left out of folders. Unless globs say which to take, pictures,
    programs and the like are passed over by their suffix, and files of suffixes that no reader knows are not `sure`.
    Stdin is a FoundFile with `-` as its origin. A folder that holds `corpus.jsonl` is a BEIR folder: only that file is
    read of it.
    """
    spec = glob_spec(globs)
    given = [os.fspath(source) for source in sources]
    folders = [source for source in given if source != STDIN and Path(source).is_dir()]
    for source in given:
        if source == STDIN:
            yield FoundFile(Path(STDIN), STDIN, "stdin")
            continue
        if source not in folders:
            yield FoundFile(Path(source), printable(source), printable(Path(source).name))
            continue
        # One folder's ids stay short; several folders may hold the same names.
        prefix = printable(Path(source).resolve().name) + "/" if len(folders) > 1 else ""
        empty = True
        for found in _Walk(source, spec).files():
            empty = empty and isinstance(found, PassedOver)
            yield found._replace(name=prefix + found.name) if isinstance(found, FoundFile) else found
        if empty:
            wanted = (
                " ".join(globs) if globs else " ".join(sorted(KNOWN_SUFFIXES - CODE_MARKUP.keys())) + ", source code"
            )
            yield Failure(printable(source), f"no file to read in this folder; looked for {wanted}")


def printable(path: str) -> str:
    """The path as text that can be encoded: bytes of a name that are no UTF-8 are shown as `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _Walk:
    """One walk through one folder. Links to folders are followed when they lead outside it, each target once."""

    def __init__(self, source: str, globs: pathspec.GitIgnoreSpec | None) -> None:
        self.source = source
        self.globs = globs
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
            yield Failure(printable(here), f"the folder cannot be read: {error.strerror or error}")
            return
        if self.globs is None and any(entry.name == BEIR_CORPUS and _is_file(entry) for entry in entries):
            entries = [entry for entry in entries if entry.name == BEIR_CORPUS]
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if not _ignored(name + "/", ignores) and (not entry.is_symlink() or self._leads_outside(entry)):
                    yield from self._folder(name, ignores)
            # A link that leads nowhere is handed on, so that its failure is seen; a pipe would block for ever.
            elif (
                not _ignored(name, ignores)
                and self._wanted(name)
                and (_is_file(entry) or not Path(entry.path).exists())
            ):
                yield self._taken(entry, name)

    def _wanted(self, name: str) -> bool:
        return self.globs is None or self.globs.match_file(name)

    def _taken(self, entry: os.DirEntry[str], name: str) -> FoundFile | PassedOver:
        """A file, if it is none that is passed over for its suffix."""
        sure = self.globs is not None or Path(name).suffix.lower() in KNOWN_SUFFIXES
        if not sure:
            kind = left_out_by_name(name) or ("" if _is_file(entry) else DEAD_LINKS)
            if kind:
                return PassedOver(printable(entry.path), kind)
        return FoundFile(Path(entry.path), printable(entry.path), printable(name), sure)

    def _leads_outside(self, entry: os.DirEntry[str]) -> bool:
        target = Path(entry.path).resolve()
        inside = target == self.root or self.root in target.parents or target in self.root.parents
        if inside or target in self.linked or any(known in target.parents for known in self.linked):
            return False
        self.linked.add(target)
        return True

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
    """The deepest .gitignore that has a word on it decides."""
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


def _trouble(source: str) -> str:
    path = Path(source)
    try:
        there = bool(source) and path.exists()
    except OSError as error:
        return f"{source!r} cannot be reached: {error.strerror or error}"
    if there and (path.is_file() or path.is_dir()):
        return ""
    if there:
        return f"{source!r} is neither a file nor a folder; pipe it in and give - as the source"
    try:
        beside = [item.name for item in path.parent.iterdir()] if source else []
    except OSError:
        beside = []
    close = [repr(str(path.parent / name)) for name in near(path.name, beside)]
    return f"No file or folder {source!r}" + (f" (did you mean {' or '.join(close)}?)" if close else "")
