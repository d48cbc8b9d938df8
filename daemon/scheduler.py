"""The one scheduler, which owns every periodic job."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)

EXPIRY_JOB = "expire-agents"
BACKUP_JOB = "back-up"
CREDENTIALS_JOB = "reload-credentials"
WATCHDOG_JOB = "feed-watchdog"


def create_scheduler() -> BackgroundScheduler:
    """Return a scheduler, not started, whose late jobs run, and never pile up.

    APScheduler's own default drops a run that starts more than a second late.
    """
    scheduler = BackgroundScheduler(
        timezone=UTC,
        job_defaults={
            "misfire_grace_time": None,
            "coalesce": True,
            "max_instances": 1,
        },
    )
    scheduler.add_listener(
        _tell, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
    )
    return scheduler


def _tell(event: JobEvent) -> None:
    log.error(
        "The job %s did not run as planned",
        event.job_id,
        extra={"action": "job_not_run", "job": event.job_id},
    )


def every(
    scheduler: BackgroundScheduler,
    seconds: float,
    job_id: str,
    run: Callable[[], None],
    first_at: datetime | None = None,
) -> None:
    """Add a periodic job: `run` every `seconds`, from `first_at` or that long from now.

    A first run that is due already is done at once.
    """
    at = {} if first_at is None else {"next_run_time": first_at}
    scheduler.add_job(run, "interval", seconds=seconds, id=job_id, name=job_id, **at)


def replan(scheduler: BackgroundScheduler, now: datetime) -> None:
    """Bring forward every job that is due later than its interval allows.

    APScheduler plans on wall time: set back by an hour, it would run nothing for
    an hour.
    """
    for job in scheduler.get_jobs():
        latest = now + job.trigger.interval
        if job.next_run_time > latest:
            job.modify(next_run_time=latest)  # wakes the scheduler
