"""A sweep that takes long is awaited while it removes; one that hangs is abandoned."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from daemon.expiry import ExpirySweep
from store import AgentRecord, SqliteAgentRegistryRepository, Storage, Swept

from .stopwatch import INTERVAL, Stopwatch


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
