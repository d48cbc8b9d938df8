"""Whether the database is still the one that was opened, and undamaged.

A registry whose file was removed goes on as if nothing were wrong: its descriptors
still lead to the file that nobody else can see, and every change is acknowledged
into it. One that is opened anew in its place is empty. So before anything is read
or written, the files at the path are compared with those that were opened.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from peewee import SqliteDatabase

from store import schema
from store.errors import StoreUnavailable, StoreUnusable
from store.faults import DAMAGE, is_locked, result_code, storage_failure
from store.queries import execute

log = logging.getLogger(__name__)

#: A look at a whole database that takes longer is ended: 40 ms for 100,000 agents.
_QUICK_CHECK_SECONDS = 10.0
#: While the database is damaged: how often it is looked at again.
_PROBE_SECONDS = 1.0

#: Writes a page, and changes nothing.
_WRITE = f"PRAGMA user_version = {schema.SCHEMA_VERSION}"

_Identity = tuple[int, int]


def quick_check(path: Path, *, writable: bool = False) -> str | None:
    """Return what is wrong with a SQLite file; None when nothing was found.

    Nothing is written, not even what stands in a log of the file.

    Raises:
        sqlite3.Error: it cannot be opened for other reasons than damage.
    """
    mode = "rw" if writable else "ro"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as database:
        ending = threading.Timer(_QUICK_CHECK_SECONDS, database.interrupt)
        ending.start()
        try:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            code = result_code(error)
            if code == sqlite3.SQLITE_INTERRUPT:
                log.info("%s is large: not all of it was checked", path)
                return None
            if code not in DAMAGE:
                raise
            verdict = str(error)
        finally:
            ending.cancel()
    return None if verdict == "ok" else str(verdict).splitlines()[-1]


def check(path: Path) -> None:
    """Return when the file at `path` is whole, or none is there.

    Raises:
        StoreUnusable: it is damaged, or cannot be read.
        StoreUnavailable: another program has it locked.
    """
    if not path.exists() or not path.stat().st_size:
        return
    try:
        # A transaction that was cut short before there was a log is rolled back
        # first, which takes writing.
        journal = schema.beside(path, "-journal")
        found = quick_check(path, writable=journal.exists())
    except sqlite3.Error as error:
        kind = StoreUnavailable if is_locked(error) else StoreUnusable
        raise kind(f"{path} cannot be opened: {error}") from error
    if found is not None:
        raise StoreUnusable(f"{path} is damaged: {found}. {schema.MENDING}")


class Soundness:
    """Watches over one open database.

    Args:
        path: where it is; looked at as long as it is open.
        writing: the connection that writes, to look for damage with.
    """

    def __init__(
        self,
        path: Path,
        writing: SqliteDatabase,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = (str(path.absolute()), str(schema.beside(path, "-wal")))
        self._writing = writing
        self._monotonic = monotonic
        self._opened: list[_Identity] | None = None
        self._failed = False
        self._damaged = False
        self._next_probe = 0.0

    def remember(self) -> None:
        """Take the files that are at the path now for those that were opened."""
        self._opened = self._identities()

    def require_files(self) -> None:
        """Return when the files at the path are those that were opened.

        Raises:
            StoreUnavailable: one was removed, replaced or emptied.
        """
        if self._opened is None:
            return
        try:
            same = self._identities() == self._opened
        except OSError as error:
            raise StoreUnavailable(
                f"{error.filename} is not where it was opened: {error.strerror}"
            ) from error
        if not same:
            raise StoreUnavailable(
                f"{self._paths[0]} was replaced while it was open: stop the daemon, "
                "and put the right file in its place"
            )

    def require(self) -> None:
        """Return when the database may be written; for the writer's thread.

        Raises:
            StoreUnavailable: not the files that were opened, or damaged.
        """
        self.require_files()
        if self._damaged:
            self._probe()
        if self._failed:
            # Else a transaction that finds nothing to write would look like success.
            execute(self._writing, _WRITE)
            self._failed = False

    def note(self, error: BaseException) -> None:
        """Take note of a failure of the writer: damage stops all writing."""
        self._failed = True
        if self._damaged or result_code(storage_failure(error)) not in DAMAGE:
            return
        self._damaged = True
        self._next_probe = self._monotonic() + _PROBE_SECONDS
        log.error(
            "%s is damaged: %s. Nothing is written any more. %s",
            self._paths[0],
            error,
            schema.MENDING,
            extra={"action": "store_damaged"},
        )

    def _probe(self) -> None:
        now = self._monotonic()
        if now >= self._next_probe:
            self._next_probe = now + _PROBE_SECONDS
            execute(self._writing, "PRAGMA shrink_memory")  # forgets what was read
            (found,) = execute(self._writing, "PRAGMA quick_check(1)").fetchone()
            if found == "ok":
                self._damaged = False
                return
        raise StoreUnavailable("the database is damaged")

    def _identities(self) -> list[_Identity]:
        database, log_file = (os.stat(path) for path in self._paths)  # noqa: PTH116 - before every call
        if not database.st_size:
            return []
        return [(found.st_dev, found.st_ino) for found in (database, log_file)]
