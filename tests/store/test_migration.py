"""Databases of every released schema, opened by this program."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from store import AgentRecord, create_storage_backend
from store.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[2]
#: As `.dump` of the sqlite3 shell writes them, each with the same two agents.
RELEASED = {
    int(path.stem): path.read_text()
    for path in Path(__file__).with_name("released_schemas").glob("*.sql")
}
OLDER = sorted(RELEASED.keys() - {SCHEMA_VERSION})

OPEN = """
import sys
from store import create_storage_backend, failpoints
failpoints.arm("mid_migration:kill")
create_storage_backend(f"sqlite:///{sys.argv[1]}").database.open()
"""


def make(path: Path, version: int) -> None:
    """Make a database as the program of that schema left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(RELEASED[version])
        database.execute("PRAGMA journal_mode = wal")


def layout(path: Path) -> tuple[int, dict[str, set[str]], set[str]]:
    """Return the version, the columns of each table, and the indexes."""
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        named = database.execute("SELECT type, name FROM sqlite_schema").fetchall()
        columns = "SELECT name FROM pragma_table_info(?)"
        tables = {
            name: {column for (column,) in database.execute(columns, (name,))}
            for kind, name in named
            if kind == "table"
        }
        return version, tables, {name for kind, name in named if kind == "index"}


def agents(path: Path) -> list[AgentRecord]:
    """Open the database with this program, and return who is in it."""
    storage = create_storage_backend(f"sqlite:///{path}")
    found = storage.agents.list_all(include_dead=True)
    storage.agents.renew_all([one.agent_id for one in found])
    storage.database.close()
    return found


def test_there_is_a_database_of_each_older_schema() -> None:
    """A migration that nobody tries is none."""
    assert set(OLDER) == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("version", sorted(RELEASED))
def test_a_database_of_a_released_schema_becomes_one_of_today(
    tmp_path: Path, version: int
) -> None:
    """Whoever was registered still is; it looks as one that was made today."""
    path, fresh = tmp_path / "registry.db", tmp_path / "fresh.db"
    make(path, version)

    found = agents(path)

    assert [(one.agent_id, one.ttl_seconds, one.metadata) for one in found] == [
        ("summariser-1", 60, {"gpu": True}),
        ("summariser-2", 90, {}),
    ]
    assert [one.has_beaten for one in found] == [True, False]
    assert agents(fresh) == []
    assert layout(path) == layout(fresh)


@pytest.mark.parametrize("version", OLDER)
def test_a_kill_amid_a_migration_leaves_the_database_as_it_was(
    tmp_path: Path, version: int
) -> None:
    """All of it is one transaction; the next start does it."""
    path = tmp_path / "registry.db"
    make(path, version)
    before = layout(path)

    killed = subprocess.run([sys.executable, "-c", OPEN, path], cwd=ROOT, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert layout(path) == before
    assert len(agents(path)) == 2
    assert layout(path)[0] == SCHEMA_VERSION
