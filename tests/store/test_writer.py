"""One transaction for whatever waits."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from store import StoreUnavailable
from store.writer import Priority, Writer

Held = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a database with one table of notes."""
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text TEXT PRIMARY KEY)")
    return path


@pytest.fixture
def database(path: Path) -> SqliteDatabase:
    """Describe the writer's connection, which never waits for a lock."""
    return SqliteDatabase(str(path), timeout=0)


@pytest.fixture
def writer(database: SqliteDatabase) -> Iterator[Writer]:
    """Start a writer, and close it afterwards."""
    writer = Writer(database)
    yield writer
    writer.close()


@pytest.fixture
def held(writer: Writer) -> Held:
    """Return a context in which the writer is busy: what is submitted waits."""

    @contextmanager
    def held() -> Iterator[None]:
        busy, free = threading.Event(), threading.Event()
        writer.submit(Priority.MAINTENANCE, lambda: (busy.set(), free.wait()))
        busy.wait()
        try:
            yield
        finally:
            free.set()

    return held


@pytest.fixture
def write(database: SqliteDatabase) -> Callable[[str], Callable[[], str]]:
    """Return a function that makes jobs, each of which writes one note."""

    def job(text: str) -> Callable[[], str]:
        def work() -> str:
            database.execute_sql("INSERT INTO notes VALUES (?)", (text,))
            return text

        return work

    return job


@pytest.fixture
def notes(path: Path) -> Callable[[], list[str]]:
    """Return a function that reads what is committed, in the order written."""

    def read() -> list[str]:
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute("SELECT text FROM notes ORDER BY rowid")
            return [text for (text,) in rows]

    return read


@pytest.fixture
def trace(database: SqliteDatabase, writer: Writer) -> list[str]:
    """Return a list that grows by the statements the writer executes."""
    seen: list[str] = []
    writer.submit(
        Priority.MAINTENANCE,
        lambda: database.connection().set_trace_callback(seen.append),
    ).result()
    return seen


Write = Callable[[str], Callable[[], str]]
Notes = Callable[[], list[str]]


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


def test_lanes_go_in_their_order(writer: Writer, held: Held) -> None:
    """Beats first, then changes, bulk and a sweep; maintenance after the commit."""
    order: list[str] = []

    with held():
        futures = [
            writer.submit(
                priority, lambda priority=priority: order.append(priority.name)
            )
            for priority in reversed(Priority)
            for _ in range(2)
        ]
    for future in futures:
        future.result()

    assert order == [
        *("HEARTBEAT", "HEARTBEAT", "CHANGE", "CHANGE", "BULK", "SWEEP", "MAINTENANCE"),
        *("BULK", "SWEEP", "MAINTENANCE"),
    ]


@pytest.mark.parametrize(
    "priorities", [[Priority.SWEEP], [Priority.BULK], [Priority.BULK, Priority.SWEEP]]
)
def test_a_beat_overtakes_what_is_long(
    writer: Writer, held: Held, priorities: list[Priority]
) -> None:
    """Chunks of a sweep and bulk beats go one by one: a beat waits for one at most."""
    order: list[str] = []

    def work_long() -> None:
        if not order:
            writer.submit(Priority.HEARTBEAT, lambda: order.append("beat"))
        order.append("long")

    with held():
        waiting = [writer.submit(priority, work_long) for priority in priorities * 3]
    for future in waiting:
        future.result()

    assert order == ["long", "beat"] + ["long"] * (3 * len(priorities) - 1)


@pytest.mark.parametrize("priority", [Priority.SWEEP, Priority.BULK])
def test_a_beat_is_answered_before_what_is_long_begins(
    writer: Writer, held: Held, priority: Priority
) -> None:
    """It shares no transaction with it, although both waited."""
    answered: list[bool] = []
    with held():
        beat = writer.submit(Priority.HEARTBEAT, lambda: None)
        long = writer.submit(priority, lambda: answered.append(beat.done()))

    long.result()

    assert answered == [True]


def test_a_beat_goes_between_what_is_long_and_the_checkpoint(
    database: SqliteDatabase,
) -> None:
    """Who comes during a chunk does not wait for both."""
    order: list[str] = []
    writer = Writer(database, tend=lambda: order.append("checkpoint"))

    def chunk() -> None:
        writer.submit(Priority.HEARTBEAT, lambda: order.append("beat"))

    writer.submit(Priority.SWEEP, chunk).result()
    writer.close()

    assert order == ["beat", "checkpoint"]


def test_a_cancelled_job_is_skipped(
    writer: Writer, held: Held, write: Write, notes: Notes
) -> None:
    """A caller that went away before its job began changes nothing."""
    with held():
        gone = [
            writer.submit(priority, write("gone"))
            for priority in (Priority.CHANGE, Priority.MAINTENANCE)
        ]
        kept = writer.submit(Priority.CHANGE, write("kept"))
        cancelled = [future.cancel() for future in gone]

    assert cancelled == [True, True]
    assert kept.result() == "kept"
    assert notes() == ["kept"]


def test_a_job_that_began_cannot_be_cancelled(writer: Writer, held: Held) -> None:
    """Its caller learns how it went."""
    with held():
        answers: list[bool] = []
        job = writer.submit(Priority.CHANGE, lambda: answers.append(job.cancel()))

    assert job.result() is None
    assert answers == [False]


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


def test_close_commits_what_was_accepted(
    writer: Writer, held: Held, write: Write, notes: Notes
) -> None:
    """Also what takes more than one transaction."""
    with held():
        futures = [writer.submit(Priority.SWEEP, write(text)) for text in "abc"]
        closing = threading.Thread(target=writer.close)
        closing.start()
    closing.join()

    assert [future.result(0) for future in futures] == ["a", "b", "c"]
    assert notes() == ["a", "b", "c"]


def test_a_closed_writer_accepts_nothing(writer: Writer, write: Write) -> None:
    """Whoever comes late is told so."""
    writer.close()

    with pytest.raises(StoreUnavailable, match="the store is closed"):
        writer.submit(Priority.CHANGE, write("late"))


def test_closing_twice_is_closing_once(writer: Writer) -> None:
    """The second call returns at once."""
    writer.close()
    writer.close()


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

    assert 0.5 <= waited < 0.9
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
