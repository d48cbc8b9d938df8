"""The sweep, and what it knows of itself."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
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

INTERVAL = 60.0


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


class Stopwatch:
    """A monotonic clock that stands still until it is told to move."""

    seconds = 1_000.0

    def __call__(self) -> float:
        """Return the seconds passed."""
        return self.seconds


@pytest.fixture
def breakable(storage: Storage) -> BreakableRepository:
    """Return a repository on the file of `storage`."""
    return BreakableRepository(storage.database)


@pytest.fixture
def stopwatch() -> Stopwatch:
    """Return the clock of `sweep`."""
    return Stopwatch()


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


class HangingRepository(SqliteAgentRegistryRepository):
    """A repository whose sweeps hang until they are let go."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.database)  # type: ignore[arg-type] # SQLite's own
        self.let_go = threading.Event()

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Hang, then sweep."""
        self.let_go.wait()
        return super().sweep(keep_on)


class SlowRepository(SqliteAgentRegistryRepository):
    """A repository whose sweeps find no end of work."""

    ended = False

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Sweep for as long as it may."""
        while keep_on():
            time.sleep(0.001)
        self.ended = True
        return Swept(7, whole=False)


def test_a_sweep_ends_at_its_deadline(
    storage: Storage, wait_until: Callable[..., None]
) -> None:
    """Two at once would each take what one may; it was told as hung, and no more."""
    slow = SlowRepository(storage.database)  # type: ignore[arg-type] # SQLite's own
    sweep = ExpirySweep(slow, interval_seconds=INTERVAL, deadline_seconds=0.01)

    sweep.run()
    wait_until(lambda: slow.ended)
    wait_until(lambda: "sweep" not in {one.name for one in threading.enumerate()})

    health = sweep.health()
    assert (health.failures, health.last_error) == (1, "SweepHung")
    assert health.last_finished_at is None


class TestHanging:
    """A run that hangs is abandoned; APScheduler would never run the job again."""

    @pytest.fixture
    def hanging(self, storage: Storage) -> Iterator[HangingRepository]:
        """Return a repository whose sweeps hang until the test is over."""
        hanging = HangingRepository(storage)
        yield hanging
        hanging.let_go.set()

    @pytest.fixture
    def sweep(self, hanging: HangingRepository, stopwatch: Stopwatch) -> ExpirySweep:
        """Return a sweep that waits for longer than a good one takes."""
        return ExpirySweep(
            hanging,
            interval_seconds=INTERVAL,
            deadline_seconds=0.2,
            monotonic=stopwatch,
        )

    def test_a_run_that_hangs_is_left_to_itself(
        self, sweep: ExpirySweep, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It counts as failed, and the log says so."""
        sweep.run()

        health = sweep.health()
        assert (health.runs, health.failures) == (1, 1)
        assert health.last_error == "SweepHung"
        assert "removed nobody within 0.2 s" in caplog.text

    def test_the_next_run_takes_over(
        self,
        sweep: ExpirySweep,
        hanging: HangingRepository,
        wait_until: Callable[..., None],
    ) -> None:
        """The one that hung removes nobody when it goes on after all."""
        sweep.run()
        hanging.let_go.set()
        wait_until(lambda: "sweep" not in {one.name for one in threading.enumerate()})
        before = sweep.health().last_error

        sweep.run()

        health = sweep.health()
        assert (before, health.last_error) == ("SweepHung", None)
        assert (health.runs, health.failures) == (2, 1)
        assert not sweep.stuck

    def test_after_three_that_hang_no_other_is_begun(
        self, sweep: ExpirySweep, stopwatch: Stopwatch
    ) -> None:
        """It would hang too: health turns red, and the watchdog is to act."""
        for _ in range(5):
            stopwatch.seconds += INTERVAL
            sweep.run()

        running = [one for one in threading.enumerate() if one.name == "sweep"]
        assert len(running) == 3
        assert sweep.stuck
        assert sweep.health().overdue
        assert sweep.health().last_error == "SweepStuck"


class CreepingRepository(SqliteAgentRegistryRepository):
    """A repository whose sweeps find one more agent to remove until they are let go."""

    def __init__(self, storage: Storage, dead: AgentRecord) -> None:
        super().__init__(storage.database)  # type: ignore[arg-type] # SQLite's own
        self.let_go = threading.Event()
        self._dead = dead

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Remove one after the other."""
        removed = 0
        while keep_on() and not self.let_go.is_set():
            self.add(self._dead)
            removed += self.delete_expired()
        return Swept(removed, whole=keep_on())


class TestLong:
    """A sweep that takes long, and removes, is healthy."""

    @pytest.fixture
    def creeping(
        self, storage: Storage, make_record: Callable[..., AgentRecord]
    ) -> Iterator[CreepingRepository]:
        """Return a repository whose sweeps last until the test is over."""
        dead = make_record("dead", last_heartbeat=datetime(2026, 1, 1, tzinfo=UTC))
        creeping = CreepingRepository(storage, dead)
        yield creeping
        creeping.let_go.set()

    @pytest.fixture
    def sweep(self, creeping: CreepingRepository, stopwatch: Stopwatch) -> ExpirySweep:
        """Return a sweep of it, with time to remove some before it would hang."""
        return ExpirySweep(
            creeping,
            interval_seconds=INTERVAL,
            deadline_seconds=0.5,
            monotonic=stopwatch,
        )

    def test_a_long_sweep_that_removes_is_awaited(
        self, sweep: ExpirySweep, creeping: CreepingRepository, stopwatch: Stopwatch
    ) -> None:
        """No second one begins beside it, nothing failed, and nothing is overdue."""
        for _ in range(4):
            stopwatch.seconds += INTERVAL
            sweep.run()

        running = [one for one in threading.enumerate() if one.name == "sweep"]
        health = sweep.health()
        assert len(running) == 1
        assert (health.runs, health.failures, health.overdue) == (1, 0, False)
        assert not sweep.stuck

    def test_a_long_sweep_ends_at_a_stop(
        self,
        sweep: ExpirySweep,
        creeping: CreepingRepository,
        wait_until: Callable[..., None],
    ) -> None:
        """Behind its chunk, and nothing of it is told as failed."""
        sweep.run()

        sweep.stop()

        wait_until(lambda: "sweep" not in {one.name for one in threading.enumerate()})
        assert (sweep.health().failures, sweep.health().last_error) == (0, None)

    def test_a_long_sweep_counts_when_it_is_done(
        self, sweep: ExpirySweep, creeping: CreepingRepository, stopwatch: Stopwatch
    ) -> None:
        """With all that it removed; the next run begins a new one."""
        sweep.run()
        creeping.let_go.set()

        sweep.run()

        removed = sweep.health().removed
        sweep.run()
        assert removed > 1
        assert sweep.health().runs == 2
        assert sweep.health().removed == 0


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
