"""How the write-ahead log is kept short."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from store import (
    AgentRecord,
    AgentRegistryRepository,
    Storage,
    StoreUnavailable,
    create_storage_backend,
)
from store.readers import Readers
from store.room import Room
from store.sqlite import SqliteAgentRegistryRepository
from store.wal import _PATIENCE_SECONDS as PATIENCE_SECONDS
from store.wal import WriteAheadLog, may_lose_commits

LIMIT = 1024 * 1024
AGENTS = 400
#: What the transaction that crosses the limit may add.
SLACK = 2


class CheckpointsThatTake:
    """A clock that moves by each checkpoint, as its rows cost.

    Args:
        database: the connection whose checkpoints are noticed.
        seconds_a_row: what each row that was changed since the last one costs.
    """

    def __init__(self, database: SqliteDatabase, seconds_a_row: float) -> None:
        self.rows_between: list[int] = []
        self._connection = database.connection()
        self._connection.set_trace_callback(self._notice)
        self._seconds_a_row = seconds_a_row
        self._seconds = 0.0
        self._rows = 0

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._seconds

    def _notice(self, statement: str) -> None:
        if "wal_checkpoint" in statement:
            rows = self._connection.total_changes
            self.rows_between.append(rows - self._rows)
            self._seconds += self.rows_between[-1] * self._seconds_a_row
            self._rows = rows


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """Open a store of a small log, with some agents in it."""
    storage = create_storage_backend(
        f"sqlite:///{tmp_path}/registry.db", wal_limit_bytes=LIMIT
    )
    yield storage
    storage.database.close()


@pytest.fixture
def beat(
    storage: Storage, make_record: Callable[..., AgentRecord]
) -> Callable[[], int]:
    """Return a function that renews all leases, and tells the size of the log."""
    ids = [f"agent-{n}" for n in range(AGENTS)]
    for agent_id in ids:
        storage.agents.add(make_record(agent_id, metadata={"text": "x" * 3000}))
    log = Path(f"{storage.database.location}-wal")

    def beat() -> int:
        storage.agents.update_heartbeats(ids)
        return log.stat().st_size

    return beat


def readers_of(storage: Storage) -> Readers:
    """Return the threads that read."""
    assert isinstance(storage.agents, SqliteAgentRegistryRepository)
    return storage.agents._database.readers


def test_log_stays_short_while_nobody_reads(beat: Callable[[], int]) -> None:
    """Each checkpoint lets the log start anew."""
    sizes = [beat() for _ in range(50)]

    assert max(sizes) <= LIMIT * SLACK


def test_log_is_emptied_although_somebody_always_reads(
    storage: Storage, beat: Callable[[], int]
) -> None:
    """A reader that holds its snapshot is ended, and told to come again."""
    reading = threading.Event()

    def read_for_ever() -> None:
        database = storage.agents._database.reading  # type: ignore[attr-defined]
        with database.atomic():
            database.execute_sql("SELECT count(*) FROM agents").fetchone()
            reading.set()
            database.execute_sql(
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
                " SELECT count(*) FROM n"
            ).fetchone()

    endless = readers_of(storage).submit(read_for_ever)
    reading.wait()

    sizes = [beat() for _ in range(50)]

    assert max(sizes) <= LIMIT * SLACK
    with pytest.raises(StoreUnavailable):
        endless.result()
    assert len(storage.agents.list_all()) == AGENTS


def test_reads_wait_while_the_log_is_emptied(storage: Storage) -> None:
    """And are answered after it."""
    readers = readers_of(storage)

    with readers.paused(patience_seconds=0):
        waiting = readers.submit(lambda: "read")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.05)

    assert waiting.result(timeout=5) == "read"


def test_a_checkpoint_that_fails_loses_nothing(
    storage: Storage, beat: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    """Another process that reads keeps the log from being emptied; beats go on."""
    caplog.set_level(logging.WARNING, "store.wal")
    other = sqlite3.connect(storage.database.location, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM agents").fetchone()

    grown = max(beat() for _ in range(12))
    other.close()
    shrunk = [beat() for _ in range(12)][-1]

    assert grown > LIMIT
    assert shrunk < LIMIT * SLACK
    assert not [record for record in caplog.records if record.exc_info]


def test_our_readers_are_not_ended_again_and_again_for_nothing(
    storage: Storage, beat: Callable[[], int]
) -> None:
    """While another process reads, as a backup does, the log cannot be emptied."""
    other = sqlite3.connect(storage.database.location, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM agents").fetchone()
    while beat() <= LIMIT * SLACK:
        pass
    over, answered = threading.Event(), threading.Event()

    def read_long() -> bool:
        database = storage.agents._database.reading  # type: ignore[attr-defined]
        with database.atomic():
            database.execute_sql("SELECT count(*) FROM agents").fetchone()
            answered.set()
            return over.wait(30)

    reading = readers_of(storage).submit(read_long)
    answered.wait()
    began = time.monotonic()
    for _ in range(5):
        beat()
    seconds = time.monotonic() - began
    over.set()
    other.close()

    assert reading.result()
    assert seconds < 5 * PATIENCE_SECONDS


def test_the_log_of_a_linked_database_is_kept_short(
    tmp_path: Path, make_record: Callable[..., AgentRecord]
) -> None:
    """SQLite keeps it beside the database that the link leads to."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "registry.db").symlink_to(tmp_path / "disk" / "registry.db")
    agents, database = create_storage_backend(
        f"sqlite:///{tmp_path}/registry.db", wal_limit_bytes=LIMIT
    )
    agents.register(make_record())

    log = tmp_path / "disk" / "registry.db-wal"
    assert agents.figures().log_bytes == log.stat().st_size > 0
    database.close()


def test_a_log_that_may_not_be_seen_is_no_error(
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asks for figures wants to know the others all the more then."""
    repo.register(make_record())

    def stat(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("store.room.os.stat", stat)

    assert repo.figures().log_bytes == 0


@pytest.mark.parametrize(
    ("seconds_a_row", "rows_between"), [(1e-6, 500), (4e-5, 200), (1.0, 100)]
)
def test_checkpoints_hold_the_writer_for_eight_milliseconds(
    tmp_path: Path, seconds_a_row: float, rows_between: int
) -> None:
    """The dearer a row is to copy, the fewer of them; within bounds."""
    database = SqliteDatabase(
        str(tmp_path / "wal.db"),
        pragmas={"journal_mode": "wal", "wal_autocheckpoint": 0, "synchronous": 0},
    )
    database.execute_sql("CREATE TABLE rows (text TEXT)")
    checkpoints = CheckpointsThatTake(database, seconds_a_row)
    log = WriteAheadLog(
        database,
        str(tmp_path / "wal.db-wal"),
        Readers(database, 0),
        Room(tmp_path / "wal.db", 0),
        limit_bytes=1_000 * LIMIT,
        monotonic=checkpoints.monotonic,
    )

    for _ in range(4_000):
        database.execute_sql("INSERT INTO rows VALUES ('x')")
        log.tend()
    database.close()

    assert checkpoints.rows_between[-1] == pytest.approx(rows_between, abs=1)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_versions_that_can_lose_commits_are_known(
    version: tuple[int, int, int], *, expected: bool
) -> None:
    """By the number of the release, two of which are patched."""
    assert may_lose_commits(version) is expected
