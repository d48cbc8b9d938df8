"""What a store counts of its own work."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun.api import FrozenDateTimeFactory

from store import (
    AgentRecord,
    AgentRegistryRepository,
    Figures,
    GuardRules,
    NotOwner,
    Storage,
    StoreUnavailable,
)
from store.figures import Ledger

MakeRecord = Callable[..., AgentRecord]
MakeStorage = Callable[..., Storage]


def commits(repo: AgentRegistryRepository) -> int:
    """Return how many transactions were stored."""
    return repo.figures().commits.within[-1][1]


def test_a_store_that_counts_nothing_shows_zeros(repo: AgentRegistryRepository) -> None:
    """The contract brings an answer along, of the same shape."""
    figures = AgentRegistryRepository.figures(repo)

    assert figures == Figures()
    assert figures.commits.within[-1] == (float("inf"), 0)


def test_asking_a_store_opens_nothing(storage: Storage) -> None:
    """All is zero, and there is no file."""
    figures = storage.agents.figures()

    assert (figures.failed_commits, figures.log_bytes) == (0, 0)
    assert not Path(storage.database.location).exists()


def test_a_commit_is_counted_before_it_is_answered(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """One transaction, one count, and the time it took; reading counts nothing."""
    counted = []
    for number in range(3):
        repo.add(make_record(f"agent-{number}"))
        repo.list_all()
        counted.append(commits(repo))

    assert counted == [1, 2, 3]
    assert 0 < repo.figures().commits.total < 10


def test_a_commit_that_fails_is_counted_apart(
    storage: Storage, make_record: MakeRecord
) -> None:
    """Another process holds the file."""
    repo = storage.agents
    repo.add(make_record())
    with closing(sqlite3.connect(storage.database.location)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            repo.delete("summariser-1")

    assert repo.figures().failed_commits == 1
    assert commits(repo) == 1


def test_figures_go_on_when_a_store_is_opened_again(
    storage: Storage, make_record: MakeRecord
) -> None:
    """A counter that falls would look like a restart of the process."""
    storage.agents.add(make_record())
    storage.database.close()
    storage.database.open()

    storage.agents.delete("summariser-1")

    assert commits(storage.agents) == 2


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [(0.0, 0.0005), (0.0005, 0.0005), (0.00051, 0.001), (60.0, float("inf"))],
)
def test_a_value_is_within_each_bound_it_does_not_exceed(
    seconds: float, bound: float
) -> None:
    """As Prometheus has it: at the bound is within, and the counts add up."""
    ledger = Ledger()

    ledger.committed(seconds, stored=True)

    counted = ledger.figures(0).commits
    assert [count for _, count in counted.within] == [
        int(each >= bound) for each, _ in counted.within
    ]
    assert counted.total == seconds


def test_who_expires_is_counted_once(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Also across chunks; an agent that leaves by itself does not count."""
    for number in range(500):
        repo.add(make_record(f"agent-{number}"))
    repo.delete("agent-0")
    frozen.tick(60)

    for _ in range(2):
        repo.delete_expired()

    assert repo.figures().expired == 499


@pytest.mark.parametrize("how", ["update_heartbeats", "renew_all", "register"])
def test_who_comes_back_is_counted(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
    how: str,
) -> None:
    """By a beat or a registration, at the deadline and after it; nobody else is."""
    repo.add(make_record("dead"))
    repo.add(make_record("alive", ttl_seconds=61))
    frozen.tick(60)
    known = ["dead", "alive"]

    for _ in range(2):
        if how == "register":
            repo.register_all([make_record(one) for one in [*known, "new"]])
        else:
            getattr(repo, how)([*known, "unknown"])

    assert repo.figures().revived == 1


def test_who_is_refused_comes_not_back(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """A bulk beat with one agent of somebody else's renews nobody."""
    repo.add(make_record("dead", owner="billing"))
    repo.add(make_record("foreign", owner="search"))
    frozen.tick(60)

    with pytest.raises(NotOwner):
        repo.renew_all(["dead", "foreign"], "billing")

    assert repo.figures().revived == 0


def test_a_hold_is_counted_as_it_begins(
    make_storage: MakeStorage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> None:
    """Neither again while it goes on, nor when a restart finds it; the next one is."""
    ids = [f"agent-{number}" for number in range(20)]

    def expire() -> AgentRegistryRepository:
        repo = make_storage(guard=GuardRules()).agents
        for agent_id in ids:
            repo.register(make_record(agent_id))
        frozen.tick(1)
        repo.update_heartbeats(ids)
        frozen.tick(60)
        return repo

    repo = expire()
    for _ in range(3):
        repo.sweep()
    after_restart = make_storage(guard=GuardRules()).agents
    after_restart.sweep()
    repo.update_heartbeats(ids)
    repo.sweep()
    ended = repo.hold()
    frozen.tick(timedelta(seconds=60))
    repo.sweep()

    assert ended is None
    assert (repo.figures().holds, after_restart.figures().holds) == (2, 0)


def test_the_size_of_the_log_is_what_the_disk_says(
    storage: Storage, make_record: MakeRecord
) -> None:
    """It grows with what is written, and a checkpoint empties it."""
    storage.agents.add(make_record())
    log = Path(f"{storage.database.location}-wal")
    written = storage.agents.figures().log_bytes

    storage.database.checkpoint()

    assert written > 0
    assert storage.agents.figures().log_bytes == log.stat().st_size == 0
