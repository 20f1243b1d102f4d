"""The shard that a writer fills: every write is logged before the engine gets it, and every file sealed at the end."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hybrid_search.errors import CollectionDamaged, StoreError, StoreFull
from hybrid_search.manifest import Manifest
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.clean_shutdown import BASE, LOG, RECORD, read_seal, seal, unseal
from hybrid_search.store.edge.disk import cannot_write, is_low, require_space
from hybrid_search.store.edge.files import Sum, write_checked
from hybrid_search.store.edge.locks import WriterLock
from hybrid_search.store.edge.manifest_file import Record, read_record
from hybrid_search.store.edge.point_sample import Sample
from hybrid_search.store.edge.recovery import make_ready, restore
from hybrid_search.store.edge.recovery_bases import EMPTY, frozen_files, list_bases, new_token, save_base
from hybrid_search.store.edge.shard_process import AnyShard, ShardProcess, create_shard, open_shard, optimize_in_child
from hybrid_search.store.edge.write_log import Delete, Write, WriteLog, encode_write, scan


class WorkingShard:
    """The shard in a writer's folder, opened on first use.

    Args:
        name: of the collection.
        lock: the writer's.
        folder: `work` or `rebuild`; it has a manifest, unless `create` follows.
    """

    def __init__(self, name: str, lock: WriterLock, folder: Path) -> None:
        self.folder = folder
        self._name, self._lock = name, lock
        self._shard: AnyShard | None = None
        self._log: WriteLog | None = None
        self._token = EMPTY.token
        self._frozen: dict[str, Sum] = {}
        self._sample = Sample()
        self._failed: Exception | None = None
        self._sealed = self._closed = False

    @classmethod
    def create(cls, name: str, lock: WriterLock, folder: Path, manifest: Manifest) -> WorkingShard:
        """Create an empty shard. It counts as written to, so that an empty collection can be published."""
        made = cls(name, lock, folder)
        folder.mkdir(parents=True, exist_ok=True)
        made._unseal()
        made._shard = create_shard(folder / "shard", manifest, lock.inherited())
        made._begin_log()
        return made

    @classmethod
    def resume(cls, name: str, lock: WriterLock, folder: Path) -> WorkingShard:
        """Open an existing shard, recovered where it was not closed or is damaged.

        Raises:
            CollectionDamaged: there is nothing whole to recover it from.
        """
        found = cls(name, lock, folder)
        make_ready(name, lock.root, folder, lock.inherited())
        found._resume()
        return found

    @property
    def shard(self) -> AnyShard:
        """The open shard; opens it where it is closed."""
        if self._closed:
            raise StoreError(f"The collection in {self._lock.root} has been closed; open it again.")
        if self._shard is None:
            self._require_whole()
            self._unseal()
            with self._or_give_up():
                self._shard = open_shard(self.folder / "shard", self._lock.inherited())
                self._sample.begin(self._shard)
        return self._shard

    @property
    def unpublished(self) -> bool:
        """Whether there are writes that no published generation has yet."""
        return (self.folder / LOG).exists()

    @property
    def logged_points(self) -> int:
        """Number of points in the log, which are written again after a kill."""
        return 0 if self._log is None else self._log.points

    def write(self, write: Write) -> None:
        """Log a write and apply it.

        Raises:
            StoreFull: there is no room for it; nothing has been written.
            StoreError: an earlier write failed. Opening the collection again recovers it.
        """
        frame = encode_write(write)
        self._require_whole()
        require_space(self._lock.root, 3 * len(frame))  # in the log, in the engine, and what it takes beside
        shard = self._shard_with_room()
        log = self._log or self._begin_log()
        log.append(frame, 0 if isinstance(write, Delete) else len(write.ids()))
        with self._or_give_up():
            write.apply(shard)
            self._sample.record_write(shard, write)

    def sync(self) -> None:
        """Make all writes survive a power loss."""
        self._require_whole()
        if self._log is not None:
            self._log.sync()

    def reopen(self) -> None:
        """Release the files that were read so far."""
        shard = self.shard
        with self._or_give_up():
            shard.reopen()

    def optimize(self, record: Record | None) -> str:
        """Build the engine's indexes; then save the shard as a recovery base, if a record is given.

        Returns:
            Why it failed, or an empty string. The shard is then as it was.
        """
        self._close_shard()
        self._unseal()
        with self._or_give_up():
            problem = optimize_in_child(self.folder / "shard", self._lock.inherited())
            if problem:
                restore(self._name, self._lock.root, self.folder, handles=self._lock.inherited())
            there = {name for name in self._frozen if (self.folder / "shard" / name).is_file()}
            self._frozen = {name: sum_ for name, sum_ in self._frozen.items() if name in there}
            if record is not None:
                self._save_base(record)
        return problem

    def publish(self, record: Record, describe: Callable[[AnyShard, Path], None]) -> None:
        """Publish all writes.

        Args:
            record: of the new generation, with its counts; the tokens are filled in here.
            describe: is called with the copied shard, open, and the new generation's folder; writes the files beside.

        Raises:
            CollectionDamaged: the shard does not hold what was written. It is recovered when it is opened next.
            StoreFull, StoreError: see `generations.publish`. Readers keep what they have.
        """
        record = record._replace(token=new_token(), after=self._token)
        self._sample.begin(self.shard)
        self._close_shard()

        def settle(building: Path) -> Mapping[str, Any]:
            copy = open_shard(building / "shard", self._lock.inherited())
            try:
                describe(copy, building)
                problem = self._difference(copy, record)
            finally:
                copy.close()
            if problem:
                raise StoreError(f"The copy in {building} {problem}; readers keep what they have.")
            return record.to_dict()

        try:
            sums = generations.publish(self._lock.root, self.folder / "shard", settle, self._frozen)
        except StoreError as error:
            self._recheck(record, error)
            raise
        self._token, self._frozen = record.token, {name: sums[name] for name in frozen_files(sums)}
        self.describe(record._replace(counts={}, token="", after=""))
        self._forget_log()
        seal(self.folder, sums)
        self._sealed = True

    def close(self) -> None:
        """Close the shard, and seal it if it holds all writes.

        Without room for the seal it stays unsealed, and is recovered when it is opened next: the log has all writes.
        """
        if self._closed:
            return
        self._closed = True
        try:
            # After a failure that one is told, and not what comes of it.
            with suppress(StoreFull if self._failed is None else StoreError):
                self._close_shard()
                if not self._sealed and self._failed is None:
                    self.sync()
                    seal(self.folder)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise cannot_write(self._lock.root, error) from error
        finally:
            if self._log is not None:
                self._log.close()

    def describe(self, record: Record) -> None:
        """Write the record of what is being built."""
        self._unseal()
        write_checked(self.folder / RECORD, record.to_dict())

    def move_to(self, folder: Path) -> None:
        """Continue in another folder, to which the closed shard was moved."""
        self.folder = folder

    def _resume(self) -> None:
        sums = {name.removeprefix("shard/"): sum_ for name, sum_ in (read_seal(self.folder) or {}).items()}
        self._frozen = {name: sums[name] for name in frozen_files(sums)}
        try:
            base = list_bases(self._lock.root, self.folder)[0]
            after = scan(self.folder / LOG).after if self.unpublished else base.token
        except CollectionDamaged:  # what readers have can no longer be read
            base, after = EMPTY, ""
        self._token = base.token
        if after == base.token:
            self._log = WriteLog.resume(self.folder / LOG) if self.unpublished else None
        elif after == base.after != "":
            self._forget_log()  # a publication was cut short when it had been done
        else:
            self._save_base(read_record(self.folder))

    def _unseal(self) -> None:
        unseal(self.folder, logged=self._log is not None)
        self._sealed = False

    def _difference(self, shard: AnyShard, record: Record) -> str:
        """Return how a shard differs from what it must hold, in words; empty for nothing."""
        found = shard.counts(record.manifest)
        expected = {key: record.counts.get(key) for key in found}
        if found != expected:
            return f"holds {found}, expected {expected}"
        wrong = self._sample.count_differing(shard)
        return f"differs in {wrong} of the {len(self._sample)} points that were compared" if wrong else ""

    def _recheck(self, record: Record, error: StoreError) -> None:
        """Check the shard after a failed publication. Nothing more is written to a shard that is damaged itself."""
        if isinstance(error, StoreFull):
            return
        try:
            problem = self._difference(self.shard, record)
        except StoreError as again:
            problem = f"cannot be read ({again})"
        if not problem and not isinstance(error, CollectionDamaged):
            return
        damage = CollectionDamaged(
            f"{self.folder / 'shard'} {problem or 'has changed'}: files were damaged while they were in use. Readers "
            "keep what they have; run it again, and what is damaged is made anew."
        )
        self._give_up(damage)
        raise damage from error

    def _save_base(self, record: Record) -> None:
        self._token, self._frozen = save_base(self.folder, record, self._token, self._frozen)
        self._begin_log()

    def _begin_log(self) -> WriteLog:
        """Replace the log by a new one that starts at the current base, and record that in the seal."""
        if self._log is not None:
            self._log.close()
        self._log = WriteLog.begin(self.folder / LOG, self._token)
        self._unseal()
        return self._log

    def _forget_log(self) -> None:
        if self._log is not None:
            self._log.close()
        self._log = None
        self._unseal()  # it says that there is no log before there is none
        (self.folder / LOG).unlink(missing_ok=True)
        generations.remove_folder(self.folder / BASE)

    def _shard_with_room(self) -> AnyShard:
        """Return the shard, moved to a child process if room has become scarce."""
        shard = self.shard
        if not isinstance(shard, ShardProcess) and is_low(self._lock.root):
            self._close_shard()
            shard = self.shard
        return shard

    def _close_shard(self) -> None:
        shard, self._shard = self._shard, None
        if shard is None:
            return
        if shard.is_lost:
            self._give_up(StoreError("the engine failed."))
        with self._or_give_up():
            shard.close()

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """Refuse further writes if the block fails: whether the engine applied its operation is unknown."""
        try:
            yield
        except OSError as error:
            self._give_up(error)
            raise cannot_write(self._lock.root, error) from error
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        if self._failed is None:
            self._failed = error if isinstance(error, Exception) else StoreError("it was interrupted")

    def _require_whole(self) -> None:
        if isinstance(self._failed, CollectionDamaged):
            raise CollectionDamaged(str(self._failed)) from self._failed
        if self._failed is not None:
            raise StoreError(
                f"Collection {self._name!r} cannot be written to after this: {self._failed} Open it again."
            ) from self._failed
