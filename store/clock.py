"""The one reader of time, and the times that are made of it.

Everything that needs the present instant takes a `Clock`; only `utcnow` asks
the machine. A test that freezes or replaces it therefore rules all of time.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

#: An instant in UTC as a part of a file's name: sorts as text.
FILE_STAMP = "%Y%m%dT%H%M%S.%fZ"

#: Returns the present instant, aware and in UTC.
Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """Return the present instant, aware and in UTC."""
    # Called in the body, never captured: an alias taken at import stays real
    # under freezegun.
    return datetime.now(UTC)  # noqa: TID251 - this is the door


def to_the_second(instant: datetime) -> str:
    """Return an instant in UTC for people to read, as RFC 3339."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


class LeaseTime(Protocol):
    """The time by which leases run; it stands still while nobody can be heard."""

    @property
    def generation(self) -> int:
        """Changes with each jump of lease time.

        What was read from the store while it changed may have been judged by
        the wrong side of the jump, and is to be read again.
        """

    def now(self) -> datetime:
        """Return the instant at which leases are judged."""


class Heard(NamedTuple):
    """When an agent is heard."""

    at: datetime
    #: Lease time at that moment.
    lease_now: datetime


class Times:
    """The two times of a repository: one stamps what happens, one judges leases.

    Args:
        clock: stamps.
        lease_time: judges; `clock` does where there is none.
    """

    def __init__(
        self, clock: Clock = utcnow, lease_time: LeaseTime | None = None
    ) -> None:
        self.now = clock
        self.lease_now = lease_time.now if lease_time else clock
        self._lease_time = lease_time

    @property
    def generation(self) -> int:
        """See `LeaseTime`."""
        return self._lease_time.generation if self._lease_time else 0

    def hear(self) -> Heard:
        """Return when an agent is heard that calls now.

        By the clock, but not before lease time: where that stands still and the clock
        was stepped back, a lease begun by the clock would end before it began. The
        re-arm states it anew.
        """
        now = self.now()
        lease_now = self.lease_now() if self._lease_time else now  # one reading
        return Heard(max(now, lease_now), lease_now)
