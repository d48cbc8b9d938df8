"""What a registry's SQLite file looks like, and whether a file is one.

The file is judged by the marks in its header, read by SQLite as if nobody could
change it (`immutable`): else opening a foreign database, even to look, may already
change it. Never by opening the file ourselves: POSIX lets go of all locks that a
process has on a file when any descriptor of it is closed. Without the locks of an
open store, the next program to close the database deletes the log under it.
"""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from peewee import SchemaManager, SqliteDatabase

from store import failpoints
from store.errors import StoreUnusable
from store.models import AgentRecord, HoldRecord, ListeningRecord
from store.queries import execute

#: Marks a file as ours in its header: "AREG".
APPLICATION_ID = 0x41524547
#: The layout this program writes and reads.
SCHEMA_VERSION = 4

#: What brings a database of a version to the next one.
_MIGRATIONS = {
    1: ("ALTER TABLE agents ADD COLUMN rearms REAL NOT NULL DEFAULT 0",),
    2: ("ALTER TABLE agents ADD COLUMN owner VARCHAR(64) NOT NULL DEFAULT ''",),
    3: ("DROP INDEX IF EXISTS agents_agent_name_agent_id",),
}

#: What an operator can do about a file that is damaged.
MENDING = "Put a backup in its place: agent-registryd restore FILE"


class _Marks(NamedTuple):
    """What a file says of itself."""

    application_id: int
    version: int


def check(path: Path) -> None:
    """Return when `path` is a registry's database, or none is there yet.

    Touches nothing.

    Raises:
        StoreUnusable: the file is unreadable, foreign, or of a newer program.
    """
    marks = _read_marks(path)
    if restoring(path).exists():
        raise StoreUnusable(f"a restore to {path} was cut short: run it again")
    if marks is None:
        _refuse_lone_log(path)
        return
    if marks.application_id != APPLICATION_ID:
        raise StoreUnusable(f"{path} is the database of another program")
    _refuse_newer(path, marks.version)


def beside(path: Path, suffix: str) -> Path:
    """Name a file that belongs to a database: beside it, not beside a link to it."""
    return Path(f"{path.resolve()}{suffix}")


def restoring(path: Path) -> Path:
    """Name the file that stands beside `path` while a backup is being put there."""
    return beside(path, ".restoring")


def refuse_emptied(path: Path, lock_path: Path) -> None:
    """Return unless `path` is empty where a registry was.

    The lock file shows it, which is signed once there is a database. A file that is
    missing is a new registry.

    Raises:
        StoreUnusable: what was registered is gone.
    """
    # With a journal beside it, its own first transaction was cut short.
    if (
        path.exists()
        and not path.stat().st_size
        and lock_path.exists()
        and lock_path.stat().st_size
        and not beside(path, "-journal").exists()
    ):
        raise StoreUnusable(_emptied(path))


def create(database: SqliteDatabase) -> None:
    """Make or migrate the tables as needed, then turn on write-ahead logging.

    Call it outside any transaction. Marks and tables are committed before the
    switch to WAL, so that the file's own header shows whose it is from the start.

    Raises:
        StoreUnusable: the database is of a newer program.
    """
    with database.atomic("IMMEDIATE"):
        version = database.user_version
        _refuse_newer(Path(database.database), version)
        if version < SCHEMA_VERSION:
            for older in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                for statement in _MIGRATIONS[older]:
                    execute(database, statement)
                failpoints.reach("mid_migration")
            for model in (AgentRecord, ListeningRecord, HoldRecord):
                SchemaManager(model, database).create_all()  # what is missing
            database.application_id = APPLICATION_ID
        # Also where it is right already: a file that cannot be written shows it now.
        database.user_version = SCHEMA_VERSION
    database.journal_mode = "wal"


def _read_marks(path: Path) -> _Marks | None:
    """Return what the file says of itself; None when it is missing or empty."""
    if not _holds_anything(path):
        return None
    try:
        return _ask_marks(path)
    except sqlite3.OperationalError as error:
        refused = not os.access(path, os.R_OK)
        reason = os.strerror(errno.EACCES) if refused else error
        raise StoreUnusable(f"{path} cannot be read: {reason}") from error
    except sqlite3.DatabaseError as error:
        raise StoreUnusable(_no_database(path, error)) from error


def _holds_anything(path: Path) -> bool:
    try:
        if not path.parent.is_dir():
            raise StoreUnusable(f"the folder {path.parent} does not exist")
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be read: {error.strerror}") from error


def _ask_marks(path: Path) -> _Marks:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as file:
        # Else SQLite calls a file malformed that has fewer pages than its header
        # tells, as a checkpoint leaves it that was cut short: the log has the rest.
        file.execute("PRAGMA writable_schema = ON")
        asked = ("PRAGMA application_id", "PRAGMA user_version")
        return _Marks(*(file.execute(pragma).fetchone()[0] for pragma in asked))


def _no_database(path: Path, error: sqlite3.DatabaseError) -> str:
    if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
        return f"{path} is not a SQLite database. {MENDING} if it was a registry's"
    return f"{path} is damaged: {error}. {MENDING}"


def _refuse_lone_log(path: Path) -> None:
    """Refuse a log without its database: SQLite would delete it as left over."""
    log = beside(path, "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreUnusable(_emptied(path))


def _emptied(path: Path) -> str:
    return f"{path} is empty, and a registry was there. {MENDING}"


def _refuse_newer(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} has schema {version}, of a newer agent-registry; "
            f"this one knows schemas up to {SCHEMA_VERSION}"
        )
