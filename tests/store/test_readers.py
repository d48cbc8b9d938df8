"""The threads that read."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from peewee import OperationalError, SqliteDatabase

from store import StoreUnavailable
from store.readers import Readers


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    """Describe a database that may only be read."""
    return SqliteDatabase(str(tmp_path / "empty.db"), pragmas={"query_only": 1})


@pytest.fixture
def readers(database: SqliteDatabase) -> Iterator[Readers]:
    """Start two readers, and close them afterwards."""
    readers = Readers(database, 2)
    yield readers
    readers.close()


def test_a_call_is_answered_in_a_reading_thread(readers: Readers) -> None:
    """The caller's thread does not touch the database."""
    name = readers.submit(lambda: threading.current_thread().name).result()

    assert name in ("store-reader-1", "store-reader-2")


def test_calls_run_at_the_same_time(readers: Readers) -> None:
    """Two calls that wait for each other both end."""
    barrier = threading.Barrier(2, timeout=30)
    calls = [readers.submit(barrier.wait) for _ in range(2)]

    assert sorted(call.result() for call in calls) == [0, 1]


def test_each_thread_has_a_connection_of_its_own(
    readers: Readers, database: SqliteDatabase
) -> None:
    """A connection is never shared."""
    barrier = threading.Barrier(2, timeout=30)

    def connection() -> int:
        barrier.wait()
        return id(database.connection())

    calls = [readers.submit(connection) for _ in range(2)]

    assert len({call.result() for call in calls}) == 2


def test_an_error_of_the_database_is_told_as_unavailable(
    readers: Readers, database: SqliteDatabase
) -> None:
    """No caller has to know which database is behind the store."""
    failing = readers.submit(lambda: database.execute_sql("SELECT missing"))

    with pytest.raises(StoreUnavailable, match="could not be read: no such column"):
        failing.result()


def test_a_read_that_is_ended_between_two_rows_is_unavailable(
    readers: Readers, database: SqliteDatabase
) -> None:
    """Then SQLite says so itself, and not Peewee."""
    stepped, ended = threading.Event(), threading.Event()
    connections = []

    def read() -> None:
        connections.append(database.connection())
        rows = database.execute_sql("SELECT value FROM json_each('[1, 2]')")
        stepped.set()
        ended.wait(30)
        rows.fetchall()

    reading = readers.submit(read)
    stepped.wait(30)
    connections[0].interrupt()
    ended.set()

    with pytest.raises(StoreUnavailable, match="could not be read: interrupted"):
        reading.result()


def test_no_reader_stays_in_a_transaction_whose_end_was_interrupted(
    readers: Readers, database: SqliteDatabase
) -> None:
    """It could not begin another, and its snapshot would keep the log for ever."""

    def begin() -> None:
        database.execute_sql("BEGIN")
        raise OperationalError("interrupted")

    for reading in [readers.submit(begin) for _ in range(2)]:
        with pytest.raises(StoreUnavailable):
            reading.result()
    reads = [
        readers.submit(lambda: database.connection().in_transaction) for _ in range(20)
    ]

    assert {read.result() for read in reads} == {False}


def test_an_error_of_the_call_reaches_its_caller(readers: Readers) -> None:
    """And the thread goes on."""

    def fail() -> None:
        raise LookupError("on purpose")

    failing = [readers.submit(fail) for _ in range(3)]

    assert [str(call.exception()) for call in failing] == ["on purpose"] * 3


def test_a_cancelled_call_is_skipped(readers: Readers) -> None:
    """A caller that went away costs nothing."""
    free = threading.Event()
    ran: list[str] = []
    busy = [readers.submit(free.wait) for _ in range(2)]
    gone = readers.submit(lambda: ran.append("gone"))
    cancelled = gone.cancel()
    free.set()
    readers.close()

    assert cancelled
    assert [call.result(0) for call in busy] == [True, True]
    assert ran == []


def test_close_answers_what_was_accepted(readers: Readers) -> None:
    """Calls that wait as it closes are still served."""
    calls = [readers.submit(lambda n=n: n) for n in range(50)]
    readers.close()

    assert [call.result(0) for call in calls] == list(range(50))


def test_closed_readers_accept_nothing(readers: Readers) -> None:
    """Whoever comes late is told so."""
    readers.close()

    with pytest.raises(StoreUnavailable, match="the store is closed"):
        readers.submit(lambda: None)


def test_a_call_racing_close_is_answered_or_refused(
    database: SqliteDatabase,
) -> None:
    """No call is accepted and then forgotten: its caller would wait for ever."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    accepted: list[Future[None]] = []

    def call_until_refused(readers: Readers) -> None:
        try:
            while True:
                accepted.append(readers.submit(lambda: None))
        except StoreUnavailable:
            pass

    try:
        for _ in range(50):
            readers = Readers(database, 1)
            caller = threading.Thread(target=call_until_refused, args=(readers,))
            caller.start()
            readers.close()
            caller.join()
    finally:
        sys.setswitchinterval(interval)

    assert accepted
    assert all(call.done() for call in accepted)


def test_long_calls_leave_threads_for_the_others(database: SqliteDatabase) -> None:
    """Half of the threads are theirs at most; the rest of them waits in order."""
    readers = Readers(database, 4)
    free = threading.Event()
    began = threading.Semaphore(0)
    order: list[int] = []

    def long(number: int) -> None:
        order.append(number)
        began.release()
        free.wait(30)

    calls = [
        readers.submit(lambda number=number: long(number), long=True)
        for number in range(10)
    ]
    for _ in range(2):
        assert began.acquire(timeout=30)

    barrier = threading.Barrier(2, timeout=30)
    short = [readers.submit(barrier.wait) for _ in range(2)]
    assert sorted(call.result() for call in short) == [0, 1]
    assert sorted(order) == [0, 1]
    free.set()
    for call in calls:
        call.result()
    assert sorted(order) == list(range(10))
    readers.close()


def test_long_calls_that_wait_are_answered_at_the_close(
    database: SqliteDatabase,
) -> None:
    """What was accepted is answered, also what no thread was free for."""
    readers = Readers(database, 1)
    free = threading.Event()
    calls = [readers.submit(lambda: free.wait(30), long=True) for _ in range(5)]
    closing = threading.Thread(target=readers.close)

    closing.start()
    free.set()
    closing.join()

    assert [call.result() for call in calls] == [True] * 5
