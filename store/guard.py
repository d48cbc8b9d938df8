"""The guard against mass expiry, as pure functions.

When far more leases run out at once than agents die, the fault is rather in what
connects them to the registry. So the expired are held: still listed, not removed,
for five minutes, or for an hour when most of the fleet is among them. Then they go
at a bounded rate. (Eureka's self-preservation has the idea and no end; the node
lifecycle controller of Kubernetes has the two levels.)
"""

import math
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How much of the fleet expired at once, or that an operator ended the hold."""

    PART = "part"
    MOST = "most"
    RELEASED = "released"


class GuardRules(NamedTuple):
    """When to hold, and for how long."""

    #: So many may always go at once.
    min_agents: int = 10
    #: This part of the fleet may go at once.
    fraction: float = 0.15
    #: From this part of the fleet on, the hold is the long one.
    most_fraction: float = 0.55
    hold_seconds: float = 300
    hold_most_seconds: float = 3600

    def cap(self, total: int) -> int:
        """Return how many of a fleet of `total` may go in one sweep."""
        # 0.15 is no binary fraction: 140 agents would make 21.000000000000004.
        return max(self.min_agents, math.ceil(round(self.fraction * total, 6)))


class Hold(NamedTuple):
    """A hold that has begun: what is kept of it, through restarts."""

    since: datetime
    until: datetime
    level: Level
    #: How many a sweep may remove once it is over, at least: of the fleet as it began.
    cap: int

    def moved(self, by: timedelta) -> "Hold":
        """Return the hold as it is when lease time stood still for `by`."""
        return self._replace(since=self.since + by, until=self.until + by)


class Verdict(NamedTuple):
    """What happens to the agents that are due."""

    #: How many of them a sweep may remove now, oldest deadline first.
    take: int
    #: The hold that goes on after such a sweep; None: nobody is held.
    hold: Hold | None

    @property
    def holds(self) -> bool:
        """Whether who is due is held, for those who read now."""
        return self.hold is not None


def verdict(
    due: int, total: int, now: datetime, *, hold: Hold | None, rules: GuardRules
) -> Verdict:
    """Judge agents that are due; readers and the sweep both act on it.

    Args:
        due: the agents whose lease has run out, of those that ever beat.
        total: all agents, the due among them.
        now: lease time.
        hold: the one that has begun, if any.
        rules: when to hold.
    """
    if hold is None:
        return _first(due, total, now, rules)
    if hold.level is Level.RELEASED:
        return Verdict(min(due, hold.cap), None)
    hold = _worsened(hold, due, total, rules)
    if due == 0:
        return Verdict(0, None)
    if now < hold.until:
        return Verdict(0, hold)
    # Of a fleet that has grown more may go; or a hold that began at night would go
    # on by day, when more than its cap die between two sweeps.
    cap = max(hold.cap, rules.cap(total))
    return Verdict(min(due, cap), hold if due > cap else None)


def released(due: int, now: datetime) -> Hold:
    """Return what a hold becomes when an operator ends it: all who are due go."""
    return Hold(now, now, Level.RELEASED, due)


def _first(due: int, total: int, now: datetime, rules: GuardRules) -> Verdict:
    cap = rules.cap(total)
    if due <= cap:
        return Verdict(due, None)
    most = _is_most(due, total, rules)
    seconds = rules.hold_most_seconds if most else rules.hold_seconds
    until = now + timedelta(seconds=seconds)
    return Verdict(0, Hold(now, until, Level.MOST if most else Level.PART, cap))


def _worsened(hold: Hold, due: int, total: int, rules: GuardRules) -> Hold:
    """Lengthen a hold, once, when most of the fleet turns out to be concerned."""
    if hold.level is Level.MOST or not _is_most(due, total, rules):
        return hold
    until = hold.since + timedelta(seconds=rules.hold_most_seconds)
    return hold._replace(until=until, level=Level.MOST)


def _is_most(due: int, total: int, rules: GuardRules) -> bool:
    return due >= round(rules.most_fraction * total, 6)
