"""The scheduler: what it promises of every job, seen on the expiry job."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta

import pytest
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
)
from apscheduler.schedulers.background import BackgroundScheduler
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from daemon.expiry import ExpirySweep
from daemon.scheduler import EXPIRY_JOB, create_scheduler, every, replan
from store import (
    AgentRecord,
    AgentRegistryRepository,
    SqliteAgentRegistryRepository,
    Storage,
    Swept,
)
from store.clock import utcnow

Ran = Callable[[], bool]


def comes(awaited: threading.Semaphore) -> bool:
    """Wait until the semaphore is released; its own timeout would stand still too."""
    return any(
        awaited.acquire(blocking=False) or threading.Event().wait(0.01)
        for _ in range(500)
    )


class SlowRepository(SqliteAgentRegistryRepository):
    """A repository whose sweeps last until the test lets them end."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.database)  # type: ignore[arg-type] # SQLite's own
        self.began, self.may_end = threading.Semaphore(0), threading.Event()
        self.sweeps = 0

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Begin, and wait."""
        self.sweeps += 1
        self.began.release()
        self.may_end.wait()
        return super().sweep(keep_on)


@pytest.fixture(autouse=True)
def frozen() -> Iterator[FrozenDateTimeFactory]:
    """Stop the time; whatever is declared is declared then."""
    # Pytest goes on measuring how long tests take.
    with freeze_time("2026-01-01", ignore=["_pytest.timing"]) as frozen:
        yield frozen


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    """Return a scheduler, and shut it down if it was started."""
    scheduler = create_scheduler()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


@pytest.fixture
def ran(scheduler: BackgroundScheduler) -> Ran:
    """Return a function that waits until a job has run once more."""
    finished = threading.Semaphore(0)
    scheduler.add_listener(
        lambda _: finished.release(), EVENT_JOB_EXECUTED | EVENT_JOB_ERROR
    )

    return lambda: comes(finished)


@pytest.fixture
def sweep(scheduler: BackgroundScheduler, repo: AgentRegistryRepository) -> ExpirySweep:
    """Return a sweep of a plain store, scheduled as the daemon does."""
    sweep = ExpirySweep(repo, interval_seconds=60)
    every(scheduler, sweep.interval_seconds, EXPIRY_JOB, sweep.run)
    return sweep


@pytest.mark.usefixtures("sweep")
def test_the_expiry_job_is_declared_for_every_minute(
    scheduler: BackgroundScheduler,
) -> None:
    """One instance, coalesced, never misfired away, in UTC."""
    scheduler.start(paused=True)

    (job,) = scheduler.get_jobs()

    assert job.id == "expire-agents"
    assert job.trigger.interval == timedelta(seconds=60)
    assert job.coalesce is True
    assert job.max_instances == 1
    assert job.misfire_grace_time is None
    assert scheduler.timezone is UTC


@pytest.mark.parametrize("seconds", [60, 3_630], ids=["on time", "an hour late"])
def test_a_running_scheduler_sweeps_once(  # noqa: PLR0913, PLR0917 - fixtures
    frozen: FrozenDateTimeFactory,
    scheduler: BackgroundScheduler,
    sweep: ExpirySweep,
    ran: Ran,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    seconds: int,
) -> None:
    """When its minute has come; late, it catches up in one run and skips none."""
    repo.add(make_record("dead", ttl_seconds=60))
    repo.add(make_record("living", ttl_seconds=3_631))
    scheduler.start()

    frozen.tick(seconds)
    scheduler.wakeup()
    swept = ran()
    scheduler.shutdown()

    assert swept
    assert (sweep.health().runs, sweep.health().removed) == (1, 1)
    kept = repo.list_all(include_dead=True)
    assert [record.agent_id for record in kept] == ["living"]


def test_nothing_is_swept_before_the_interval_is_over(
    frozen: FrozenDateTimeFactory,
    scheduler: BackgroundScheduler,
    sweep: ExpirySweep,
    ran: Ran,
) -> None:
    """The first run comes one interval after the start, not at it."""
    scheduler.start()

    frozen.tick(59)
    scheduler.add_job(int)
    other_ran = ran()
    scheduler.shutdown()

    assert other_ran
    assert sweep.health().runs == 0


def test_a_job_that_raises_runs_again(
    frozen: FrozenDateTimeFactory, scheduler: BackgroundScheduler, ran: Ran
) -> None:
    """A failure ends one run, neither the job nor the scheduler."""
    runs = []

    def fail() -> None:
        runs.append("run")
        raise OSError("disk full")

    every(scheduler, 60, "failing", fail)
    scheduler.start()
    for _ in range(3):
        frozen.tick(60)
        scheduler.wakeup()
        assert ran()
    scheduler.shutdown()

    assert len(runs) == 3


@pytest.fixture
def slow(scheduler: BackgroundScheduler, storage: Storage) -> Iterator[SlowRepository]:
    """Return a slow repository that is swept each minute, and let it end at last."""
    slow = SlowRepository(storage)
    sweep = ExpirySweep(slow, interval_seconds=60)
    every(scheduler, sweep.interval_seconds, EXPIRY_JOB, sweep.run)
    yield slow
    slow.may_end.set()


def test_a_sweep_that_outlasts_its_interval_never_runs_twice_at_once(
    frozen: FrozenDateTimeFactory,
    scheduler: BackgroundScheduler,
    ran: Ran,
    slow: SlowRepository,
) -> None:
    """The minutes that pass meanwhile are left out; the one after has its run."""
    left_out = threading.Semaphore(0)
    scheduler.add_listener(lambda _: left_out.release(), EVENT_JOB_MAX_INSTANCES)
    scheduler.start()

    sweeps = []
    for awaited in (slow.began, left_out, left_out):
        frozen.tick(60)
        scheduler.wakeup()
        assert comes(awaited)
        sweeps.append(slow.sweeps)
    slow.may_end.set()
    assert ran()
    frozen.tick(60)
    scheduler.wakeup()
    assert ran()
    sweeps.append(slow.sweeps)

    assert sweeps == [1, 1, 1, 2]


def test_a_job_is_brought_forward_after_a_step_back(
    frozen: FrozenDateTimeFactory,
) -> None:
    """Planned on wall time it would sleep through the hour that comes again."""
    scheduler = create_scheduler()
    ran = threading.Semaphore(0)
    every(scheduler, 60, EXPIRY_JOB, lambda: ran.release())  # noqa: PLW0108 - returns None
    scheduler.start()
    frozen.tick(timedelta(hours=-1))
    now = utcnow()

    replan(scheduler, now)

    assert scheduler.get_job(EXPIRY_JOB).next_run_time == now + timedelta(seconds=60)
    frozen.tick(60)
    scheduler.wakeup()
    assert comes(ran)
    scheduler.shutdown()


def test_a_job_in_time_is_left_where_it_is(frozen: FrozenDateTimeFactory) -> None:
    """Re-arms after a pause do not put off the sweep."""
    scheduler = create_scheduler()
    every(scheduler, 60, EXPIRY_JOB, lambda: None)
    scheduler.start(paused=True)
    planned = scheduler.get_job(EXPIRY_JOB).next_run_time
    frozen.tick(30)

    replan(scheduler, utcnow())

    assert scheduler.get_job(EXPIRY_JOB).next_run_time == planned
    scheduler.shutdown()


def test_a_job_that_fails_is_told(
    frozen: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """APScheduler goes on; the log says which job it was."""
    scheduler = create_scheduler()
    ran = threading.Semaphore(0)

    def fail() -> None:
        ran.release()
        raise MemoryError

    every(scheduler, 60, "some-job", fail)
    scheduler.start()
    frozen.tick(60)
    scheduler.wakeup()
    assert comes(ran)
    scheduler.shutdown()

    assert "The job some-job did not run as planned" in caplog.messages
