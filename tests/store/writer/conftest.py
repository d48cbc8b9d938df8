"""What the tests of the writer share: a database of notes, and its writer."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from store.writer import Priority, Writer

from .notes import Held


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
