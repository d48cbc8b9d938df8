"""A sweep that runs, fails or is left out, and what it knows of itself."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from freezegun import freeze_time

from daemon.expiry import ExpirySweep
from store import (
    AgentRecord,
    AgentRegistryRepository,
    GuardRules,
    SqliteAgentRegistryRepository,
    Storage,
    StoreUnavailable,
    Swept,
)

from .stopwatch import INTERVAL, Stopwatch


class BreakableRepository(SqliteAgentRegistryRepository):
    """A repository whose sweep fails while it is broken, or its store away."""

    broken = away = False

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Sweep, or fail."""
        if self.away:
            raise StoreUnavailable("the change was not stored: database is locked")
        if self.broken:
            raise ArithmeticError("a bug of ours")
        return super().sweep(keep_on)


@pytest.fixture
def breakable(storage: Storage) -> BreakableRepository:
    """Return a repository on the file of `storage`."""
    return BreakableRepository(storage.database)


@pytest.fixture
def sweep(breakable: BreakableRepository, stopwatch: Stopwatch) -> ExpirySweep:
    """Return a sweep of `breakable`."""
    return ExpirySweep(breakable, interval_seconds=INTERVAL, monotonic=stopwatch)


def test_a_sweep_that_never_ran_says_so(sweep: ExpirySweep) -> None:
    """Nothing finished, nothing failed, nothing overdue."""
    health = sweep.health()

    assert (health.runs, health.failures, health.removed) == (0, 0, 0)
    assert health.last_finished_at is None
    assert not health.overdue


def test_a_sweep_removes_the_dead_and_tells_how_many(
    sweep: ExpirySweep,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The living stay; count and instant stand in the health, the count in the log."""
    caplog.set_level(logging.INFO)
    with freeze_time("2026-01-01") as frozen:
        for agent_id, ttl_seconds in (("a", 60), ("b", 60), ("c", 61)):
            repo.add(make_record(agent_id, ttl_seconds=ttl_seconds))
        frozen.tick(60)

        sweep.run()

    health = sweep.health()
    assert (health.runs, health.removed) == (1, 2)
    assert health.last_finished_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert [record.agent_id for record in repo.list_all(include_dead=True)] == ["c"]
    assert "Expired agents removed by the sweep: 2" in caplog.messages


def test_a_sweep_of_nothing_is_not_told_at_info(
    sweep: ExpirySweep, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a minute that says nothing would bury the others."""
    caplog.set_level(logging.INFO)

    sweep.run()

    assert caplog.messages == []
    assert sweep.health().runs == 1


def test_a_failed_sweep_is_counted_and_shown(
    sweep: ExpirySweep,
    breakable: BreakableRepository,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The kind of error stands in the health, the whole of it in the log."""
    breakable.broken = True

    sweep.run()

    health = sweep.health()
    assert (health.runs, health.failures) == (1, 1)
    assert health.last_error == "ArithmeticError"
    assert health.last_finished_at is None
    assert "a bug of ours" in caplog.text
    assert [one.action for one in caplog.records] == ["sweep_failed"]  # type: ignore[attr-defined] # our own field


def test_a_sweep_whose_store_is_away_is_left_out(
    sweep: ExpirySweep,
    breakable: BreakableRepository,
    stopwatch: Stopwatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It did not fail, but it is missing: after three intervals that is told too."""
    breakable.away = True
    stopwatch.seconds += 3 * INTERVAL + 1

    sweep.run()

    health = sweep.health()
    assert (health.runs, health.failures) == (1, 0)
    assert health.last_error == "StoreUnavailable"
    assert health.overdue
    assert [one.action for one in caplog.records] == ["sweep_skipped"]  # type: ignore[attr-defined] # our own field


def test_the_next_good_sweep_clears_the_error(
    sweep: ExpirySweep, breakable: BreakableRepository
) -> None:
    """The count of failures stays."""
    breakable.broken = True
    sweep.run()
    breakable.broken = False

    sweep.run()

    health = sweep.health()
    assert health.last_error is None
    assert (health.runs, health.failures) == (2, 1)
    assert health.last_finished_at is not None


@pytest.mark.parametrize("runs", ["none", "failing"])
@pytest.mark.parametrize(
    ("seconds", "overdue"), [(3 * INTERVAL, False), (3 * INTERVAL + 0.001, True)]
)
def test_a_sweep_is_overdue_after_three_intervals(
    sweep: ExpirySweep,
    breakable: BreakableRepository,
    stopwatch: Stopwatch,
    *,
    seconds: float,
    overdue: bool,
    runs: str,
) -> None:
    """Three intervals without a good one, whether it hangs or fails."""
    stopwatch.seconds += seconds
    if runs == "failing":
        breakable.broken = True
        sweep.run()

    health = sweep.health()

    assert health.age_seconds == pytest.approx(seconds)
    assert health.overdue is overdue


def test_a_good_sweep_is_young_again(sweep: ExpirySweep, stopwatch: Stopwatch) -> None:
    """Its age counts from the last good run, not from the start."""
    stopwatch.seconds += 10 * INTERVAL

    sweep.run()

    assert sweep.health().age_seconds == 0
    assert not sweep.health().overdue


@pytest.fixture
def guarded(
    storage: Storage, make_record: Callable[..., AgentRecord]
) -> AgentRegistryRepository:
    """Return a repository with a guard, and a hundred agents that beat for a while."""
    repo = SqliteAgentRegistryRepository(storage.database, guard=GuardRules())  # type: ignore[arg-type] # SQLite's own
    ids = [f"agent-{number:03d}" for number in range(100)]
    for agent_id in ids:
        repo.register(make_record(agent_id, ttl_seconds=60))
    return repo


def test_a_hold_is_told_as_it_begins_and_ends(
    guarded: AgentRegistryRepository,
    stopwatch: Stopwatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not at every sweep in between."""
    caplog.set_level(logging.INFO, "daemon.expiry")
    sweep = ExpirySweep(guarded, interval_seconds=INTERVAL, monotonic=stopwatch)
    ids = [record.agent_id for record in guarded.list_all()]
    with freeze_time(guarded.now()) as frozen:
        frozen.tick(1)
        guarded.update_heartbeats(ids)
        frozen.tick(60)
        for _ in range(3):
            sweep.run()
            frozen.tick(60)
        guarded.update_heartbeats(ids)

        sweep.run()

    told = [one.action for one in caplog.records]  # type: ignore[attr-defined] # our own field
    assert told == ["hold", "hold_ended"]
    assert len(guarded.list_all(include_dead=True)) == 100
