"""The rules of a lease, as pure functions of instants and durations.

A lease is the promise "this agent is alive until `expires_at`". A registration
or a heartbeat renews it for the agent's TTL; nothing else lengthens it. Every
function here takes the instants it needs and reads no clock.
"""

from datetime import datetime, timedelta
from enum import StrEnum

#: Beats that fit into one TTL: two may be lost before the lease runs out.
BEATS_PER_TTL = 3


class Status(StrEnum):
    """What a reader is told of an agent."""

    #: The lease is valid and beats arrive.
    ALIVE = "alive"
    #: The lease is valid, but two beat intervals passed without a beat.
    LATE = "late"
    #: The lease has run out.
    DEAD = "dead"


def deadline(last_heartbeat: datetime, ttl_seconds: int) -> datetime:
    """Return the instant at which a lease renewed at `last_heartbeat` runs out."""
    return last_heartbeat + timedelta(seconds=ttl_seconds)


def is_expired(expires_at: datetime, now: datetime) -> bool:
    """Tell whether the lease has run out: at its deadline it has."""
    return now >= expires_at


def renewed(last_heartbeat: datetime, now: datetime) -> datetime:
    """Return the new `last_heartbeat` of an agent heard at `now`.

    It never moves backwards: a wall clock stepped back must not shorten a lease.
    """
    return max(last_heartbeat, now)


def heartbeat_interval_seconds(ttl_seconds: int) -> float:
    """Return the seconds an agent should wait between two beats."""
    return ttl_seconds / BEATS_PER_TTL


def late_at(last_heartbeat: datetime, ttl_seconds: int) -> datetime:
    """Return the instant from which a silent agent is late: two beats missed."""
    return last_heartbeat + timedelta(seconds=2 * ttl_seconds) // BEATS_PER_TTL


def status(
    *,
    last_heartbeat: datetime,
    ttl_seconds: int,
    expires_at: datetime,
    now: datetime,
) -> Status:
    """Judge one agent at `now`."""
    if is_expired(expires_at, now):
        return Status.DEAD
    if now >= late_at(last_heartbeat, ttl_seconds):
        return Status.LATE
    return Status.ALIVE
