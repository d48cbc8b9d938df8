"""What is SQLite's own: how it sweeps, and what it says."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun.api import FrozenDateTimeFactory

from store import (
    AgentRecord,
    AgentRegistryRepository,
    SqliteAgentRegistryRepository,
    Storage,
    StoreUnavailable,
    create_storage_backend,
)
from store.leases import Status
from store.sweep import Chunk

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add_all(repo: AgentRegistryRepository, records: list[AgentRecord]) -> None:
    """Add many records at the price of few commits."""
    for added in [repo.submit(repo.add, record) for record in records]:
        added.result()


def test_a_sweep_takes_more_than_one_chunk_holds(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All the dead go; of many, a hundred are told."""
    caplog.set_level(logging.INFO, "store")
    add_all(
        repo,
        [
            make_record(f"agent-{n:04}", last_heartbeat=NOON - timedelta(seconds=n))
            for n in range(1100)
        ],
    )
    frozen.tick(59)

    assert repo.delete_expired() == 1099
    assert [agent.agent_id for agent in repo.list_all()] == ["agent-0000"]
    assert len(caplog.messages) == 100


def test_a_beat_committed_after_the_dead_were_noted_wins(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> None:
    """The deadline is checked again as the row is removed."""

    class Hurried(SqliteAgentRegistryRepository):
        def _due(self, which: str, limit: int) -> list[int]:
            due = super()._due(which, limit)
            self.update_heartbeats(["heard"])
            return due

    repo = Hurried(storage.database)  # type: ignore[arg-type] # SQLite's own
    add_all(repo, [make_record("heard"), make_record("silent")])
    frozen.tick(60)

    assert repo.delete_expired() == 1
    assert [agent.agent_id for agent in repo.list_all()] == ["heard"]


def test_a_sweep_that_is_cut_is_taken_up_by_the_next(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> None:
    """What it removed stays removed, and nobody is removed twice."""

    class Cut(SqliteAgentRegistryRepository):
        chunks = 0

        def _delete_due(self, rows: list[int]) -> tuple[Chunk, datetime]:
            self.chunks += 1
            if self.chunks == 3:
                raise StoreUnavailable("the disk is full")
            return super()._delete_due(rows)

    repo = Cut(storage.database)  # type: ignore[arg-type] # SQLite's own
    add_all(repo, [make_record(f"agent-{n}") for n in range(1100)])
    frozen.tick(60)

    with pytest.raises(StoreUnavailable):
        repo.delete_expired()
    left = len(repo.list_all(include_dead=True))

    assert 0 < left < 1100
    assert [repo.delete_expired(), repo.delete_expired()] == [left, 0]


def test_an_expiry_says_why(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """How long the agent was silent, and what its TTL was."""
    caplog.set_level(logging.INFO, "store")
    repo.add(make_record())
    frozen.tick(61.5)
    repo.delete_expired()
    (said,) = caplog.records

    assert said.message == (
        "Agent summariser-1 expired: silent for 61.5 s, its TTL is 60 s"
    )
    assert (said.action, said.agent_id) == ("agent_expired", "summariser-1")


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
