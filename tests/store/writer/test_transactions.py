"""One transaction for whatever waits, and whom its failure is told."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from store import StoreUnavailable
from store.writer import Priority, Writer

from .notes import Held, Notes, Write


def test_what_waits_shares_one_transaction(
    writer: Writer, held: Held, write: Write, trace: list[str]
) -> None:
    """Jobs queued while the writer is busy are committed together."""
    with held():
        futures = [writer.submit(Priority.CHANGE, write(text)) for text in "abc"]

    assert [future.result() for future in futures] == ["a", "b", "c"]
    assert [line for line in trace if line.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_nobody_is_answered_before_the_commit(
    writer: Writer, held: Held, write: Write, notes: Notes
) -> None:
    """While a later job of the same transaction runs, the first still waits."""
    with held():
        first = writer.submit(Priority.CHANGE, write("a"))
        seen = writer.submit(Priority.CHANGE, lambda: (first.done(), notes()))

    assert seen.result() == (False, [])
    assert first.result() == "a"
    assert notes() == ["a"]


def test_a_batch_is_answered_though_what_mends_it_fails(
    database: SqliteDatabase,
) -> None:
    """As a disk that is gone fails to say how much room it has."""

    def mend(_error: Exception) -> bool:
        raise OSError("gone")

    def fail() -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with closing(Writer(database, mended=mend)) as writer:
        failing = [writer.submit(Priority.HEARTBEAT, fail) for _ in range(2)]

        told = [str(one.exception(timeout=10)) for one in failing]
        after = writer.submit(Priority.HEARTBEAT, lambda: "heard").result(timeout=10)

    assert told == ["the change was not stored: gone"] * 2
    assert (after, writer.lag_seconds()) == ("heard", 0)


def test_a_failing_job_is_undone_alone(
    writer: Writer, held: Held, write: Write, notes: Notes
) -> None:
    """Its caller gets the error; its neighbours are committed."""

    def fail() -> None:
        write("half")()
        raise LookupError("on purpose")

    with held():
        before = writer.submit(Priority.CHANGE, write("before"))
        failing = writer.submit(Priority.CHANGE, fail)
        after = writer.submit(Priority.CHANGE, write("after"))

    with pytest.raises(LookupError, match="on purpose"):
        failing.result()
    assert [before.result(), after.result()] == ["before", "after"]
    assert notes() == ["before", "after"]


@pytest.mark.parametrize("priority", [Priority.CHANGE, Priority.MAINTENANCE])
def test_an_error_of_the_database_is_told_as_unavailable(
    writer: Writer, database: SqliteDatabase, priority: Priority
) -> None:
    """No caller has to know which database is behind the store."""
    failing = writer.submit(priority, lambda: database.execute_sql("SELECT missing"))

    with pytest.raises(StoreUnavailable, match="no such column: missing"):
        failing.result()


def test_a_transaction_that_cannot_begin_fails_all_its_callers(
    writer: Writer, held: Held, write: Write, path: Path, notes: Notes
) -> None:
    """With the file locked by another, nothing is applied; later it works again."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with held():
            futures = [writer.submit(Priority.CHANGE, write(text)) for text in "ab"]
        errors = [future.exception() for future in futures]
        other.execute("ROLLBACK")

    writer.submit(Priority.CHANGE, write("c")).result()

    assert [type(error) for error in errors] == [StoreUnavailable] * 2
    assert [str(error) for error in errors] == [
        "the change was not stored: database is locked"
    ] * 2
    assert notes() == ["c"]


def test_a_transaction_that_cannot_commit_fails_all_its_callers(
    writer: Writer, held: Held, write: Write, path: Path, notes: Notes
) -> None:
    """A reader in the way of the commit leaves nothing half done."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM notes").fetchall()
        with held():
            futures = [writer.submit(Priority.CHANGE, write(text)) for text in "ab"]
        errors = [future.exception() for future in futures]
        other.execute("ROLLBACK")

    writer.submit(Priority.CHANGE, write("c")).result()

    assert [type(error) for error in errors] == [StoreUnavailable] * 2
    assert notes() == ["c"]


def test_a_full_disk_undoes_the_whole_transaction(
    writer: Writer, held: Held, write: Write, database: SqliteDatabase, notes: Notes
) -> None:
    """SQLite ends the transaction itself, so nobody may be told it was stored."""
    fill = "INSERT INTO notes VALUES (zeroblob(1000000))"
    writer.submit(
        Priority.MAINTENANCE, lambda: database.execute_sql("PRAGMA max_page_count = 9")
    ).result()

    with held():
        before = writer.submit(Priority.CHANGE, write("before"))
        full = writer.submit(Priority.CHANGE, lambda: database.execute_sql(fill))
        after = writer.submit(Priority.CHANGE, write("after"))
    errors = [future.exception() for future in (before, full, after)]
    writer.submit(Priority.CHANGE, write("small")).result()

    assert [type(error) for error in errors] == [StoreUnavailable] * 3
    assert notes() == ["small"]


def test_maintenance_runs_outside_a_transaction(
    writer: Writer, database: SqliteDatabase
) -> None:
    """A checkpoint inside one would do nothing."""

    def in_transaction() -> bool:
        return bool(database.connection().in_transaction)

    priorities = (Priority.CHANGE, Priority.MAINTENANCE)

    assert [
        writer.submit(priority, in_transaction).result() for priority in priorities
    ] == [
        True,
        False,
    ]


def test_once_a_transaction_failed_the_next_ones_fail_soon(
    path: Path, database: SqliteDatabase, write: Callable[[str], Callable[[], str]]
) -> None:
    """Who waits behind it is not made to wait as long again; later all is as before."""
    database.timeout = 0.5
    writer = Writer(database)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for text in "abc":
            with pytest.raises(StoreUnavailable):
                writer.submit(Priority.CHANGE, write(text)).result()
        waited = time.monotonic() - began
    writer.submit(Priority.CHANGE, write("d")).result()
    writer.close()

    assert 0.5 <= waited < 1.4
    assert database.timeout == 0.5


def test_maintenance_is_done_though_what_tends_the_log_fails(
    database: SqliteDatabase, write: Write
) -> None:
    """Else whoever asked for it, as a stop does, would wait for ever."""
    ready = threading.Event()

    def fail() -> None:
        raise OSError("no such device")

    writer = Writer(database, tend=fail, ready=ready.wait)
    writer.submit(Priority.CHANGE, write("first"))
    writer.submit(Priority.CHANGE, write("second"))
    maintained = writer.submit(Priority.MAINTENANCE, lambda: "done")
    ready.set()

    assert maintained.result(timeout=5) == "done"
    writer.close()


def test_the_writer_outlives_what_fails_behind_a_commit(
    database: SqliteDatabase,
    write: Callable[[str], Callable[[], str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The change was answered, the failure is told, and the next one is served."""

    def fail() -> None:
        raise PermissionError("the log may not be looked at")

    writer = Writer(database, fail)
    answers = [writer.submit(Priority.CHANGE, write(text)).result(30) for text in "ab"]
    writer.close()

    assert answers == ["a", "b"]
    assert "the log may not be looked at" in caplog.text
