"""The one scheduler, which owns every periodic job."""

from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

EXPIRY_JOB = "expire-agents"
WATCHDOG_JOB = "feed-watchdog"


def create_scheduler() -> BackgroundScheduler:
    """Return a scheduler, not started, whose jobs are never skipped and never pile up.

    APScheduler's own default drops a run that starts more than a second late.
    """
    return BackgroundScheduler(
        timezone=UTC,
        job_defaults={
            "misfire_grace_time": None,
            "coalesce": True,
            "max_instances": 1,
        },
    )


def every(
    scheduler: BackgroundScheduler,
    seconds: float,
    job_id: str,
    run: Callable[[], None],
) -> None:
    """Add a periodic job: `run` every `seconds`, the first time after that long."""
    scheduler.add_job(run, "interval", seconds=seconds, id=job_id, name=job_id)


def replan(scheduler: BackgroundScheduler, now: datetime) -> None:
    """Bring forward every job that is due later than its interval allows.

    APScheduler plans on wall time: set back by an hour, it would run nothing for
    an hour.
    """
    for job in scheduler.get_jobs():
        latest = now + job.trigger.interval
        if job.next_run_time > latest:
            job.modify(next_run_time=latest)
    scheduler.wakeup()
