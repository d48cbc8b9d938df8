"""What is SQLite's own."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store import (
    AgentRecord,
    AgentRegistryRepository,
    StoreUnavailable,
    create_storage_backend,
)
from store.leases import Status

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("method", ["add", "register", "beat", "delete", "sweep"])
def test_a_write_that_cannot_be_stored_changes_nothing(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    tmp_path: Path,
    method: str,
) -> None:
    """While another program holds the file, writers are told and readers served."""
    write: dict[str, Callable[[], object]] = {
        "add": lambda: repo.add(make_record("other")),
        "register": lambda: repo.register(make_record(host="10.0.0.8")),
        "beat": lambda: repo.update_heartbeat("summariser-1"),
        "delete": lambda: repo.delete("summariser-1"),
        "sweep": repo.delete_expired,
    }
    repo.add(make_record(last_heartbeat=NOON))
    before = [agent.__data__ for agent in repo.list_all(include_dead=True)]

    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            write[method]()
        during = [agent.__data__ for agent in repo.list_all(include_dead=True)]

    assert during == before
    assert [agent.__data__ for agent in repo.list_all(include_dead=True)] == before
    write[method]()


def test_many_register_all_or_none(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """One that cannot be stored keeps the others out."""
    wanted = [make_record("a"), make_record("b", port=2**63)]

    with pytest.raises(OverflowError):
        repo.register_all(wanted)

    assert repo.list_all() == []


@pytest.mark.parametrize("method", ["get", "list", "count"])
def test_a_read_that_fails_is_never_an_empty_answer(
    repo: AgentRegistryRepository, tmp_path: Path, method: str
) -> None:
    """A table that is gone is an error, not an empty registry."""
    read: dict[str, Callable[[], object]] = {
        "get": lambda: repo.get("summariser-1"),
        "list": repo.list_all,
        "count": lambda: repo.count_by_status(NOON),
    }
    repo.list_all()
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("DROP TABLE agents")

    with pytest.raises(StoreUnavailable, match="no such table: agents"):
        read[method]()


def test_what_was_stored_is_there_after_a_restart(
    store_url: str, make_record: MakeRecord
) -> None:
    """Another process, later, reads the same rows."""
    stored = make_record(last_heartbeat=NOON, metadata={"zone": "b"})
    first = create_storage_backend(store_url)
    first.agents.add(stored)
    first.database.close()

    second = create_storage_backend(store_url)
    (found,) = second.agents.list_all(include_dead=True)
    counted = second.agents.count_by_status(NOON)
    second.database.close()

    assert found.__data__ == stored.__data__
    assert counted[Status.ALIVE] == 1
