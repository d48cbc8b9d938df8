"""Room that is held in reserve, and what it is given up for."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import StoreUnusable
from store.room import Room

RESERVE = 1_048_576


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Hold a reserve beside a database on a disk that has room."""
    database = tmp_path / "registry.db"
    database.write_bytes(b"x" * 4096)
    room = Room(database, RESERVE)
    room.open()
    assert room.take()
    return room


def failure(code: int) -> sqlite3.Error:
    """Return what SQLite raises with a code of its own."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def test_a_reserve_that_cannot_be_written_is_no_full_disk(tmp_path: Path) -> None:
    """Another user's, or a folder: it would never be taken, and nobody be added."""
    (tmp_path / "registry.db").write_bytes(b"x" * 4096)
    (tmp_path / "registry.db.reserve").mkdir()
    room = Room(tmp_path / "registry.db", RESERVE)
    room.open()

    with pytest.raises(StoreUnusable, match=r"registry\.db\.reserve cannot be written"):
        room.take()

    assert not room.short


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_BUSY,
    ],
)
def test_a_disk_that_fails_is_not_called_full(
    room: Room, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Where there is room, giving up the reserve would cure nothing."""
    caplog.set_level(logging.WARNING, "store.room")

    assert not room.relieve(failure(code))

    assert (tmp_path / "registry.db.reserve").stat().st_size == RESERVE
    assert not room.short
    assert caplog.messages == []


def test_the_reserve_is_given_up_step_by_step_for_a_full_disk(
    room: Room, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; at last there is none, and nothing can be given up."""
    full = failure(sqlite3.SQLITE_FULL)
    sizes = []
    while room.relieve(full):
        sizes.append((tmp_path / "registry.db.reserve").stat().st_size)

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    assert room.short
    assert [one.action for one in caplog.records] == ["disk_full"]  # type: ignore[attr-defined] # our own field
