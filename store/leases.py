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
    rearms: int


def rearmed(
    expires_at: datetime,
    ttl_seconds: int,
    rearms: int,
    *,
    stopped_at: datetime,
    listened_seconds: float,
    now: datetime,
) -> Rearmed:
    """Return a lease that was valid at `stopped_at` as it runs on from `now`.

    It gets one full TTL, unless its agent was given that `MAX_REARMS` times and
    used none; then it gets what was left of it, from then on each time. Either way
    it is stated anew on the wall clock of `now`.

    Args:
        expires_at: later than `stopped_at`, when the registry could last listen.
        ttl_seconds: the agent's.
        rearms: how often the lease was re-armed since its agent was last heard.
        stopped_at: where lease time stands still.
        listened_seconds: how long the registry listened after the re-arm before
            this one. Less than a beat interval was no chance to be heard, so that
            re-arm does not count.
        now: when the registry can listen again. Where it is earlier, the wall clock
            was stepped back just now: then this re-arm is done anew, and until then
            no lease may look as if it had ended before.
    """
    now = max(now, stopped_at)
    missed_chance = listened_seconds >= heartbeat_interval_seconds(ttl_seconds)
    full = timedelta(seconds=ttl_seconds)
    if rearms == 0:
        return Rearmed(now + full, 1)
    if rearms <= MAX_REARMS and not missed_chance:
        return Rearmed(now + full, rearms)
    if rearms < MAX_REARMS:
        return Rearmed(now + full, rearms + 1)
    # One more than there are: all of them are used up, also after a short listening.
    return Rearmed(now + min(expires_at - stopped_at, full), MAX_REARMS + 1)
