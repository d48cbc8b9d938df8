"""Room on the disk, kept in reserve: beats outlive a full disk.

Committed pages stand in SQLite's log until they are moved into the database,
which may have to grow for them. When neither can grow any more, nothing can be
written at all: no beat, and no removal that would make room. So a file beside the
database holds room that nobody else can take. While it is whole, agents may be
added; as soon as a write finds the disk full it is given up step by step, for beats
and removals alone, until there is room to take it again.

A limit on the size of files (RLIMIT_FSIZE) works the same way: the last part of
what the database may grow by is kept for beats.
"""

import errno
import logging
import os
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from store.errors import StoreFull, StoreUnusable
from store.faults import result_code, storage_failure

log = logging.getLogger(__name__)

#: The reserve takes at most this part of a small disk.
_PART_OF_DISK = 8
#: The reserve is given up in so many steps.
_STEPS = 8
#: How often it is tried to take it again.
_RETRY_SECONDS = 1.0
#: With less room than this a write may fail for the lack of it: the index of
#: SQLite's log grows by 32 KiB.
_TIGHT_BYTES = 65_536
#: There is no room: on the disk, of the user's share, for a file of that size.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: A file system that cannot promise room at all.
_NO_PROMISE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Room:
    """The reserve of one database. After `open`, for the writer's thread alone.

    Args:
        path: the database.
        reserve_bytes: how much is held; 0 holds nothing, and refuses nobody.
    """

    def __init__(
        self,
        path: Path,
        reserve_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = path
        self._path = Path(f"{path}.reserve")
        self._wanted = reserve_bytes
        self._monotonic = monotonic
        self._bytes = 0
        self._next_try = 0.0
        #: Whether less than the whole reserve is held: then nobody is added.
        self.short = False
        #: Whether the database has to grow by so much that a checkpoint should be
        #: done while there is room for it.
        self.owing = False

    def open(self) -> None:
        """Learn how large the reserve should be; let opening use some of it."""
        self._bytes = min(self._wanted, self._disk_bytes(), _file_limit())
        self.short = self.owing = False
        if self._bytes and self._free_bytes() < self._held():
            self._truncate(self._held() // 2)

    @property
    def kept(self) -> bool:
        """Whether anything is reserved, so that agents have to claim their room."""
        return self._bytes > 0

    def take(self) -> bool:
        """Hold the whole reserve if that can be; tell whether it is held.

        Raises:
            StoreUnusable: its file cannot be written, for other reasons than room.
        """
        if not self._bytes:
            self._path.unlink(missing_ok=True)
            return True
        try:
            self._fallocate()
        except OSError as error:
            if error.errno in _NO_PROMISE:
                self._bytes = 0
            elif error.errno not in _NO_ROOM:
                raise StoreUnusable(
                    f"{self._path} cannot be written: {error.strerror}"
                ) from error
            else:
                if not self.short:
                    self._fall_short(error.strerror)
                return False
        if self.short:
            self.short = False
            log.warning(
                "There is room on the disk again: agents are added",
                extra={"action": "disk_room"},
            )
        return True

    def retake(self) -> bool:
        """Do as `take`, but seldom: whether there is room changes slowly."""
        if not self.short:
            return True
        now = self._monotonic()
        if now < self._next_try:
            return False
        self._next_try = now + _RETRY_SECONDS
        # With some left over, or it would be given up again at once.
        missing = self._bytes - self._held()
        with suppress(StoreUnusable):
            return self._free_bytes() >= missing + self._step() and self.take()
        return False

    def relieve(self, error: BaseException) -> bool:
        """Give up a step of the reserve, if that may cure the error."""
        failure = storage_failure(error)
        if not self._bytes or not self._lacks_room(result_code(failure)):
            return False
        held = self._held()
        if not self.short:
            self._fall_short(failure)
        return held > 0 and self._truncate(max(0, held - self._step()))

    def claim(self, database_bytes: int) -> None:
        """Refuse a transaction that makes the database grow too far.

        Whatever is committed must fit into the database later, when it is moved
        there, even if somebody has filled the disk by then.

        Args:
            database_bytes: how large the database is, with this transaction.

        Raises:
            StoreFull: nobody can be added now.
        """
        grown = database_bytes - self._database.stat().st_size
        self.owing = grown > self._bytes // 4
        promised = grown <= self._bytes // 2 or grown <= self._free_bytes() // 2
        kept = min(self._bytes, _file_limit())
        allowed = database_bytes <= _PART_OF_DISK * _file_limit() - kept
        if not self.retake() or not promised or not allowed:
            raise StoreFull("the disk is full: nobody can be added")

    def _lacks_room(self, code: int) -> bool:
        """Tell whether a write failed for want of room.

        A limit on the size of files, and a log index that cannot grow, are told as
        an I/O error; but so is a disk that is broken, which no room can cure.
        """
        if code != sqlite3.SQLITE_IOERR:
            return code == sqlite3.SQLITE_FULL
        largest = max(
            file_bytes(f"{self._database}{suffix}") for suffix in ("", "-wal", "-shm")
        )
        soft, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limited = soft != resource.RLIM_INFINITY and largest + _TIGHT_BYTES > soft
        return limited or self._free_bytes() < _TIGHT_BYTES

    def _fall_short(self, reason: object) -> None:
        self.short = True
        self._next_try = self._monotonic() + _RETRY_SECONDS
        log.error(
            "The disk is full (%s): nobody is added until there is room again. "
            "Heartbeats, removals and reads go on",
            reason,
            extra={"action": "disk_full"},
        )

    def _fallocate(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            held = os.fstat(descriptor).st_size
            try:
                os.posix_fallocate(descriptor, 0, self._bytes)
            finally:
                whole = os.fstat(descriptor).st_size >= self._bytes
                os.ftruncate(descriptor, self._bytes if whole else held)
        finally:
            os.close(descriptor)

    def _truncate(self, size: int) -> bool:
        try:
            os.truncate(self._path, size)
        except OSError:
            return False
        return True

    def _held(self) -> int:
        return file_bytes(self._path)

    def _step(self) -> int:
        return max(1, self._bytes // _STEPS)

    def _disk_bytes(self) -> int:
        disk = os.statvfs(self._database.parent)
        return disk.f_blocks * disk.f_frsize // _PART_OF_DISK

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._database.parent)
        return disk.f_bavail * disk.f_frsize


def file_bytes(path: Path | str) -> int:
    """Return the size of a file; 0 where there is none, or none that we may see."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - often, and most are no Path
    except OSError:
        return 0


def _file_limit() -> int:
    """Return the part of the largest file allowed that a reserve may be."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    return 2**62 if soft == resource.RLIM_INFINITY else soft // _PART_OF_DISK
