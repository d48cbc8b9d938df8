"""One SQLite file, and the threads that hold its connections."""

import sqlite3
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from peewee import SqliteDatabase

from store import backup, schema, soundness
from store.database import Manifest, RegistryDatabase, Restored
from store.errors import StoreUnavailable, StoreUnusable
from store.faults import is_locked
from store.figures import Figures, Ledger
from store.queries import execute
from store.readers import Readers
from store.room import Room, file_bytes
from store.soundness import Soundness
from store.wal import WriteAheadLog, may_lose_commits
from store.writer import Priority, Writer

#: How long a connection waits for another process's lock before it gives up.
_BUSY_SECONDS = 0.5
#: Heartbeats rewrite scattered rows, a page for each: half of SQLite's default
#: page took 35 % less CPU a beat (32 beats a commit, 10,000 agents).
_PAGE_BYTES = 2048
#: Room for 100,000 agents, of which any may beat next: with SQLite's default of
#: 2 MiB a bulk heartbeat among them took a third more CPU.
_WRITER_CACHE_KIB = 32 * 1024
_READER_CACHE_KIB = 8 * 1024


class SqliteRegistryDatabase(RegistryDatabase):
    """One SQLite file, one writing connection, and a few that read.

    Args:
        path: the file; made when missing.
        synchronous: "full" or "normal", as in SQLite's PRAGMA synchronous.
        reader_threads: how many calls may read at the same time.
        wal_limit_bytes: readers wait for the log to be emptied at this size.
        reserve_bytes: room on the disk that is held for heartbeats and removals.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str = "full",
        reader_threads: int = 4,
        wal_limit_bytes: int = 64 * 1024 * 1024,
        reserve_bytes: int = 0,
    ) -> None:
        self.location = str(path)
        # One lock a file, by whatever links it is reached.
        self.lock_path = schema.beside(path, ".lock")
        self._path = path
        self._log_file = str(schema.beside(path, "-wal"))
        self._reader_threads = reader_threads
        self._wal_limit_bytes = wal_limit_bytes
        #: For the writer's thread alone.
        self.room = Room(path.resolve(), reserve_bytes)
        #: For the writer's thread alone, and for the readers' threads.
        self.writing = self._connections(
            page_size=_PAGE_BYTES,
            cache_size=-_WRITER_CACHE_KIB,
            # To undo one statement alone, SQLite notes each page that it changes: for
            # a bulk heartbeat 14,000 of them, in a file of their own. In memory a
            # beat takes a seventh less CPU, and needs no room in /var/tmp.
            temp_store="memory",
            synchronous=synchronous,
            wal_autocheckpoint=0,
        )
        # Only the connection that writes may checkpoint: SQLite up to 3.51.2 can
        # lose committed data when one commits as another checkpoints.
        self.reading = self._connections(
            query_only=1, cache_size=-_READER_CACHE_KIB, wal_autocheckpoint=0
        )
        self._opening = threading.Lock()
        self._threads: tuple[Writer, Readers] | None = None
        self._tending: WriteAheadLog
        self._closed = False
        #: Counts on when the database is closed and opened again.
        self.ledger = Ledger()
        self._let_go: Callable[[], object] = lambda: None

    @property
    def writer(self) -> Writer:
        """The thread that writes; the first call opens the database."""
        return self._opened()[0]

    @property
    def readers(self) -> Readers:
        """The threads that read; the first call opens the database."""
        return self._opened()[1]

    def check(self) -> None:
        """See `RegistryDatabase`."""
        schema.check(self._path)
        schema.refuse_emptied(self._path, self.lock_path)

    def open(self) -> None:
        """See `RegistryDatabase`."""
        with self._opening:
            self._closed = False
        self._opened()

    def caution(self) -> str | None:
        """See `RegistryDatabase`."""
        if not may_lose_commits(sqlite3.sqlite_version_info):
            return None
        return (
            f"SQLite {sqlite3.sqlite_version} can lose changes when another program "
            "checkpoints the database beside the daemon: let none, or install 3.51.3"
        )

    def checkpoint(self) -> None:
        """See `RegistryDatabase`."""
        writer = self.writer
        writer.submit(Priority.MAINTENANCE, self._tending.empty).result()

    def backup(
        self, target: Path, keep_on: Callable[[], bool] = lambda: True
    ) -> Manifest:
        """See `RegistryDatabase`."""
        return backup.backup(self._path, target, keep_on)

    def restore(self, source: Path) -> Restored:
        """See `RegistryDatabase`."""
        return backup.restore(source, self._path.resolve())

    def write_lag_seconds(self) -> float:
        """Return how long the oldest change waits; 0 while nothing is open."""
        threads = self._threads
        return threads[0].lag_seconds() if threads else 0.0

    def figures(self) -> Figures:
        """Return what was counted."""
        return self.ledger.figures(file_bytes(self._log_file))

    def close(self) -> None:
        """See `RegistryDatabase`."""
        with self._opening:
            self._closed = True
            self._threads = None
            self._let_go()

    def _opened(self) -> tuple[Writer, Readers]:
        if self._threads is not None:
            return self._threads
        with self._opening:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._threads is None:
                self._threads = self._start()
            return self._threads

    def _start(self) -> tuple[Writer, Readers]:
        schema.check(self._path)
        self.room.open()
        soundness.check(self._path)
        new = not self._path.exists()
        sound = Soundness(self._path, self.writing)
        readers = Readers(self.reading, self._reader_threads, sound.require_files)
        self._tending = tending = WriteAheadLog(
            self.writing,
            self._log_file,
            readers,
            self.room,
            limit_bytes=self._wal_limit_bytes,
        )
        writer = Writer(
            self.writing,
            tend=tending.tend,
            ledger=self.ledger,
            ready=sound.require,
            mended=partial(_mended, sound, tending),
        )
        try:
            writer.submit(Priority.MAINTENANCE, partial(self._create, sound)).result()
        except BaseException as error:
            _close_both(writer, readers)
            if new:
                _remove_if_empty(self._path)
            if isinstance(error, StoreUnavailable):
                kind = StoreUnavailable if is_locked(error) else StoreUnusable
                reason = error.__cause__ or error
                raise kind(f"{self._path} cannot be opened: {reason}") from error
            raise
        # Also when nobody calls close(): as the owner is collected, or at exit.
        self._let_go = weakref.finalize(self, _close_both, writer, readers)
        return writer, readers

    def _create(self, sound: Soundness) -> None:
        schema.create(self.writing)
        execute(self.writing, "SELECT 1 FROM agents LIMIT 1")  # makes the log
        sound.remember()
        self.room.take()

    def _connections(self, **pragmas: object) -> SqliteDatabase:
        return SqliteDatabase(str(self._path), pragmas=pragmas, timeout=_BUSY_SECONDS)


def _mended(sound: Soundness, tending: WriteAheadLog, error: Exception) -> bool:
    sound.note(error)
    return tending.relieve(error)


def _remove_if_empty(path: Path) -> None:
    """Leave no file behind that could not be made a database: it would look emptied."""
    if path.exists() and not path.stat().st_size:
        path.resolve().unlink()  # not a link to it, which is the operator's


def _close_both(writer: Writer, readers: Readers) -> None:
    # The writer last: the last connection to go takes the log into the database.
    readers.close()
    writer.close()
