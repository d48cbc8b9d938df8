"""The rules of a lease, as pure functions of instants and durations.

A lease is the promise "this agent is alive until `expires_at`". A registration
or a heartbeat renews it for the agent's TTL. Only the registry's own absence
lengthens it: a lease runs while beats can be received, and one that was valid
when they no longer could is re-armed when they can again. Every function here
takes the instants it needs and reads no clock.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

#: Beats that fit into one TTL: two may be lost before the lease runs out.
BEATS_PER_TTL = 3
#: Re-arms without a beat between them. An agent that let three chances pass is
#: dead, however often the registry restarts.
MAX_REARMS = 3


class Status(StrEnum):
    """What a reader is told of an agent."""

    #: The lease is valid and beats arrive.
    ALIVE = "alive"
    #: The lease is valid, but two beat intervals passed without a beat.
    LATE = "late"
    #: The lease has run out, with so many others at once that `guard` doubts it.
    HELD = "held"
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
    held: bool = False,
) -> Status:
    """Judge one agent at `now`; `held` says whether the guard holds it if expired."""
    if is_expired(expires_at, now):
        return Status.HELD if held else Status.DEAD
    if now >= late_at(last_heartbeat, ttl_seconds):
        return Status.LATE
    return Status.ALIVE


class Rearmed(NamedTuple):
    """A lease as a re-arm leaves it."""

    expires_at: datetime
    rearms: float


def rearmed(
    expires_at: datetime,
    ttl_seconds: int,
    rearms: float,
    *,
    stopped_at: datetime,
    now: datetime,
    heard_at: datetime | None = None,
) -> Rearmed:
    """Return a lease that was valid at `stopped_at` as it runs on from `now`.

    It gets one full TTL, unless its agent was given that `MAX_REARMS` times and used
    none: then it ends where lease time stands. Such an agent was silent for a full
    TTL in which it could be heard, so it is not early.

    A re-arm counts by the chance that was missed before it: a beat interval of
    listening is a whole one, less is a part, and parts add up. One that is done
    anew, because it was cut short, finds more than a TTL left, and counts nothing.

    Args:
        expires_at: later than `stopped_at`, when the registry could last listen.
        ttl_seconds: the agent's.
        rearms: how many were counted since the agent was last heard.
        stopped_at: where lease time stands still.
        now: when the registry can listen again. Where it is earlier, the wall clock
            was stepped back just now: then this re-arm is done anew, and until then
            no lease may look as if it had ended before.
        heard_at: until when agents could be heard, as `expires_at` was stated;
            `stopped_at`, unless that was moved back since, with the wall clock.
    """
    full = timedelta(seconds=ttl_seconds)
    ran_seconds = (full - (expires_at - (heard_at or stopped_at))).total_seconds()
    missed = min(max(ran_seconds / heartbeat_interval_seconds(ttl_seconds), 0), 1)
    counted = rearms + (missed if rearms else 1)
    if counted >= MAX_REARMS + 1:
        return Rearmed(stopped_at, counted)
    return Rearmed(max(now, stopped_at) + full, counted)
