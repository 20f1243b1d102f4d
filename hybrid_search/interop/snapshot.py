"""A collection as one file, from any store, and back into any store.

    save_snapshot("movies", "movies.snapshot")
    restore_snapshot("movies.snapshot", store="http://localhost:6333")

The file is a tar archive, not compressed: `snapshot.json`, and the collection as a folder of the embedded store has it,
whose manifest holds a checksum of every file. Nothing in it is trusted: a restore writes plain files below a folder of
its own, compares them with their checksums, and only then reads them.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

from hybrid_search._util import sync, utc_now
from hybrid_search.errors import CorpusError
from hybrid_search.indexing.progress import Progress
from hybrid_search.interop.chunks import check_writable, disk_errors
from hybrid_search.interop.move import MoveReport, move
from hybrid_search.protocols import Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.edge.verify import verify_published
from hybrid_search.store.schema import check_name

FORMAT = 1
"""Version of the archive; a later one is refused."""

HEAD = "snapshot.json"
HEAD_BYTES = 1 << 20
"""The longest head that is read."""

_MEMBER = re.compile(r"CURRENT|g\d{1,12}(/[A-Za-z0-9_.-]{1,255}){1,12}", re.ASCII)
"""What a published version in a folder consists of; `_check_member` refuses dots alone."""


class Snapshot(NamedTuple):
    """What was written: where, how many documents and chunks, how long the file is and how long it took."""

    file: Path
    documents: int
    chunks: int
    bytes: int
    seconds: float


def save_snapshot(
    collection: str,
    file: str | Path,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Snapshot:
    """Write a collection to one file. The file appears, or replaces one of that name, when it is whole.

    The copy that goes into the file is compared with the collection first, as `move` does. Beside the file there must
    be room for it twice while it is made.

    Args:
        collection: its name; what is published of it is saved.
        file: to write.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        on_progress: called at the beginning and while it runs.

    Raises:
        InvalidArgument: the file is a folder, its folder is not there or may not be written, or the collection has a
            layout for other programs.
        StoreFull, StoreError: the file cannot be written; and as `move`.
    """
    begun, path = perf_counter(), Path(file).expanduser()
    check_writable(path, f"{collection}.snapshot")
    with disk_errors(path), TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        copy = EdgeStore(folder)
        report = move(collection, source=store, target=copy, settings=settings, on_progress=on_progress)
        head = {"format": FORMAT, "collection": collection, "created": utc_now()}
        counted = {"documents": report.documents, "chunks": report.chunks, "checksum": report.checksum}
        _write_archive(path, {**head, **counted}, copy.folder / collection)
    return Snapshot(path, report.documents, report.chunks, path.stat().st_size, perf_counter() - begun)


def restore_snapshot(
    file: str | Path,
    name: str | None = None,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    replace: bool = False,
    wait_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> MoveReport:
    """Make a collection from a file that `save_snapshot` wrote; it is compared with the file before it is published.

    Args:
        file: to read.
        name: of the collection; the one that was saved when not given.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        replace: put it in the place of another collection of that name.
        wait_s: seconds to wait for another process that writes to the collection.
        on_progress: called at the beginning and while it runs.

    Raises:
        CorpusError: the file is not there, no snapshot, damaged, cut short, or of a newer format.
        StoreFull: the folder for temporary files (TMPDIR) has no room for its content.
        StoreError, InvalidArgument: as `move`.
    """
    begun, path = perf_counter(), Path(file).expanduser()
    with TemporaryDirectory(prefix="hybrid-search-") as folder:
        with _opened(path) as archive:
            head = _head_of(path, archive)
            wanted = check_name(name or head["collection"])
            with disk_errors(Path(folder)):
                _extract(path, archive, Path(folder) / wanted)
        unpacked = EdgeStore(folder)
        _require_whole(path, unpacked, wanted, head)
        settings = settings or load_settings()
        where: str | Path | Store = store if store is not None else settings.store
        options: dict[str, Any] = {"replace": replace, "wait_s": wait_s, "on_progress": on_progress}
        report = move(wanted, source=unpacked, target=where, settings=settings, **options)
    return report._replace(source=str(path), seconds=perf_counter() - begun)


def _write_archive(path: Path, head: dict[str, Any], root: Path) -> None:
    """Write the published version in a collection's folder, behind the head; the file is replaced when it is whole."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with tarfile.open(temporary, "x:", format=tarfile.PAX_FORMAT) as archive:
            content = json.dumps(head, indent=1).encode()
            member = tarfile.TarInfo(HEAD)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            current = (root / "CURRENT").read_text(encoding="utf-8").strip()
            for part in (root / "CURRENT", *sorted((root / current).rglob("*"))):
                if part.is_file():
                    archive.add(part, part.relative_to(root).as_posix(), recursive=False, filter=_nameless)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owns a file and what may be done with it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive, and translate what is wrong with it.

    Raises:
        CorpusError: it is not there, or cannot be read.
    """
    if not path.is_file():
        raise CorpusError(f"There is no file {path}. `hybrid-search collections snapshot NAME FILE` writes one.")
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise CorpusError(
            f"{path} is no snapshot, or cut short ({error}). Take a whole one; nothing was restored."
        ) from error


def _head_of(path: Path, archive: tarfile.TarFile) -> dict[str, Any]:
    """Read what a snapshot says of itself.

    Raises:
        CorpusError: it is no snapshot, or of a newer format.
    """
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.isreg() and first.name == HEAD else None
    try:
        head = json.loads(content.read(HEAD_BYTES)) if content else None
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or not isinstance(head.get("collection"), str):
        raise CorpusError(f"{path} is a tar archive, but no snapshot: it does not begin with {HEAD}.")
    if head.get("format") != FORMAT:
        raise CorpusError(
            f"{path} has format {str(head.get('format'))[:20]}, this version reads {FORMAT}. Update hybrid-search."
        )
    return head


def _extract(path: Path, archive: tarfile.TarFile, root: Path) -> None:
    """Write the files of a snapshot below a folder, which is made. Nothing else is ever written.

    Raises:
        CorpusError: it holds something that no snapshot has.
    """
    root.mkdir()
    for member in iter(archive.next, None):
        _check_member(path, member)
        target = root.joinpath(*member.name.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        if content is None or target.exists():
            raise _not_ours(path, member)
        with target.open("xb") as file:
            shutil.copyfileobj(content, file)
        if target.stat().st_size != member.size:
            raise CorpusError(f"{path} is cut short, in {member.name!r}. Take a whole one; nothing was restored.")


def _check_member(path: Path, member: tarfile.TarInfo) -> None:
    dots = any(not part.strip(".") for part in member.name.split("/"))
    if not member.isreg() or member.issparse() or dots or not _MEMBER.fullmatch(member.name):
        raise _not_ours(path, member)


def _not_ours(path: Path, member: tarfile.TarInfo) -> CorpusError:
    return CorpusError(
        f"{path} holds {member.name[:80]!r}, which no snapshot has. It was not made by hybrid-search, or was changed; "
        "nothing was restored."
    )


def _require_whole(path: Path, unpacked: EdgeStore, name: str, head: dict[str, Any]) -> None:
    """Compare what was unpacked with its checksums.

    Raises:
        CorpusError: it is damaged, or not what the head says.
    """
    damaged = [f"{path} holds no collection"]
    if unpacked.names() == [name]:
        damaged = [finding.text for finding in verify_published(unpacked.folder / name) if finding.state == "damaged"]
    if not damaged:
        info = unpacked.info(name)
        if (info.documents, info.points) == (head.get("documents"), head.get("chunks")):
            return
        damaged = [f"it holds {info.documents} documents in {info.points} chunks, and says otherwise"]
    raise CorpusError(f"{path} is damaged: {damaged[0]}. Take another one; nothing was restored.")
