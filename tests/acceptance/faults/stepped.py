"""The daemon on a machine whose wall clock steps: `stepped.py FILE`.

FILE holds the seconds by which the wall clock is wrong, read at each look at it.
"""

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import apscheduler.schedulers.base
import apscheduler.triggers.interval

import daemon.cli
from daemon.app import RegistryDaemon
from daemon.config import Config
from daemon.lease_clock import LeaseClock
from store.clock import utcnow

OFFSET = Path(sys.argv.pop())


def wrong(instant: datetime) -> datetime:
    """Return what the wall clock says at an instant."""
    return instant + timedelta(seconds=float(OFFSET.read_text()))


class SteppedDatetime(datetime):
    """The date as the scheduler reads it, which takes no clock."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the wrong date."""
        return wrong(super().now(tz))  # type: ignore[return-value]


def stepped_daemon(config: Config) -> RegistryDaemon:
    """Return a daemon whose every part believes the wall clock."""
    return RegistryDaemon(config, lease_clock=LeaseClock(wall=lambda: wrong(utcnow())))


apscheduler.schedulers.base.datetime = SteppedDatetime
apscheduler.triggers.interval.datetime = SteppedDatetime
daemon.cli.RegistryDaemon = stepped_daemon
daemon.cli.main()
