"""What a registry's SQLite file looks like, and whether a file is one.

The file is judged by its first 100 bytes, read as bytes: opening a foreign
database with SQLite, even to look, may already change it. (Offsets: "The
Database Header" in SQLite's file format documentation.)
"""

import struct
from pathlib import Path

from peewee import SchemaManager, SqliteDatabase

from store.base import StoreUnusable
from store.models import AgentRecord, HoldRecord, ListeningRecord
from store.queries import execute

#: Marks a file as ours in its header: "AREG".
APPLICATION_ID = 0x41524547
#: The layout this program writes and reads.
SCHEMA_VERSION = 3

#: What brings a database of a version to the next one.
_MIGRATIONS = {
    1: ("ALTER TABLE agents ADD COLUMN rearms INTEGER NOT NULL DEFAULT 0",),
    2: ("ALTER TABLE agents ADD COLUMN owner VARCHAR(64) NOT NULL DEFAULT ''",),
}

#: What an operator can do about a file that is damaged.
MENDING = "Put a backup in its place: agent-registryd restore FILE"

_MAGIC = b"SQLite format 3\x00"
_HEADER_SIZE = 100
_VERSION_OFFSET = 60
_APPLICATION_ID_OFFSET = 68


def check(path: Path) -> None:
    """Return when `path` is a registry's database, or none is there yet.

    Touches nothing.

    Raises:
        StoreUnusable: the file is unreadable, foreign, or of a newer program.
    """
    header = _read_header(path)
    if restoring(path).exists():
        raise StoreUnusable(
            f"a restore to {path} was cut short: run it again, "
            f"or remove {restoring(path)}"
        )
    if not header:
        _refuse_lone_log(path)
        return
    if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
        raise StoreUnusable(
            f"{path} is not a SQLite database. {MENDING} if it was a registry's"
        )
    (application_id,) = struct.unpack_from(">I", header, _APPLICATION_ID_OFFSET)
    if application_id != APPLICATION_ID:
        raise StoreUnusable(f"{path} is the database of another program")
    (version,) = struct.unpack_from(">I", header, _VERSION_OFFSET)
    _refuse_newer(path, version)


def restoring(path: Path) -> Path:
    """Name the file that stands beside `path` while a backup is being put there."""
    return Path(f"{path.resolve()}.restoring")


def refuse_emptied(path: Path, lock_path: Path) -> None:
    """Return unless `path` is empty where a registry was: its lock file shows it.

    Call it before the lock is taken. A file that is missing is a new registry.

    Raises:
        StoreUnusable: what was registered is gone.
    """
    # With a journal beside it, its own first transaction was cut short.
    if (
        path.exists()
        and not path.stat().st_size
        and lock_path.exists()
        and not Path(f"{path}-journal").exists()
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
            for model in (AgentRecord, ListeningRecord, HoldRecord):
                SchemaManager(model, database).create_all()  # what is missing
            database.application_id = APPLICATION_ID
            database.user_version = SCHEMA_VERSION
    database.journal_mode = "wal"


def _read_header(path: Path) -> bytes:
    try:
        if not path.parent.is_dir():
            raise StoreUnusable(f"the folder {path.parent} does not exist")
        with path.open("rb") as file:
            return file.read(_HEADER_SIZE)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be read: {error.strerror}") from error


def _refuse_lone_log(path: Path) -> None:
    """Refuse a log without its database: SQLite would delete it as left over."""
    log = Path(f"{path.resolve()}-wal")
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
