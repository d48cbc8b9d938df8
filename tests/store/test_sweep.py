"""How the dead are removed."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from freezegun.api import FrozenDateTimeFactory

from store import (
    AgentRecord,
    AgentRegistryRepository,
    RegistryDatabase,
    Storage,
    StoreUnavailable,
    Swept,
)
from store.clock import Times
from store.connections import SqliteRegistryDatabase
from store.snapshots import Snapshots
from store.sweep import Chunk, Sweep

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add_all(repo: AgentRegistryRepository, records: list[AgentRecord]) -> None:
    """Add many records at the price of few commits."""
    for added in [repo.submit(repo.add, record) for record in records]:
        added.result()


def sweep_of(database: RegistryDatabase, kind: type[Sweep]) -> Sweep:
    """Make a sweep of a kind."""
    assert isinstance(database, SqliteRegistryDatabase)
    return kind(database, Snapshots(database.reading, Times()))


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


def test_a_sweep_without_a_guard_stops_between_two_chunks_too(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """The next one removes the rest."""
    add_all(repo, [make_record(f"agent-{n:04}") for n in range(1000)])
    frozen.tick(60)
    chunks = count()

    ended = repo.sweep(keep_on=lambda: next(chunks) < 1)

    assert 0 < ended.removed < 1000
    assert not ended.whole
    assert repo.sweep() == Swept(1000 - ended.removed)


def test_a_beat_committed_after_the_dead_were_noted_wins(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> None:
    """The deadline is checked again as the row is removed."""
    repo, database = storage

    class Hurried(Sweep):
        def _note_due(
            self, which: str, limit: int, until: datetime | None
        ) -> list[int]:
            noted = super()._note_due(which, limit, until)
            repo.update_heartbeats(["heard"])
            return noted

    add_all(repo, [make_record("heard"), make_record("silent")])
    frozen.tick(60)

    assert sweep_of(database, Hurried).remove_all() == 1
    assert [agent.agent_id for agent in repo.list_all()] == ["heard"]


def test_a_sweep_that_is_cut_is_taken_up_by_the_next(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> None:
    """What it removed stays removed, and nobody is removed twice."""
    repo, database = storage

    class Cut(Sweep):
        chunks = 0

        def _delete_due(self, rows: list[int], *, tell: bool) -> Chunk:
            self.chunks += 1
            if self.chunks == 3:
                raise StoreUnavailable("the disk is full")
            return super()._delete_due(rows, tell=tell)

    add_all(repo, [make_record(f"agent-{n}") for n in range(1100)])
    frozen.tick(60)

    with pytest.raises(StoreUnavailable):
        sweep_of(database, Cut).remove_all()
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
