"""The guard against mass expiry, as pure functions.

When far more leases run out at once than agents die, the fault is rather in what
connects them to the registry. So the expired are held: still listed, not removed,
for five minutes, or for an hour when most of the fleet is among them. Then they go
at a bounded rate, and who expired since is judged anew. (Eureka's self-preservation
has the idea and no end; the node lifecycle controller of Kubernetes has the two
levels.)
"""

import math
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

#: Before every instant there is.
EVER = datetime.min.replace(tzinfo=UTC)


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
    #: Its end. Whose lease ran out by then is its own; who falls due later is not.
    until: datetime
    level: Level
    #: How many a sweep may remove once it is over, at least: of the fleet as it began.
    cap: int

    def moved(self, stopped_at: datetime, to: datetime) -> "Hold":
        """Return the hold as it is when lease time stood still, and goes on as `to`.

        One that is over stays behind, as the deadlines of its own do.
        """
        if self.until <= stopped_at:
            return self._replace(since=min(self.since, to), until=min(self.until, to))
        by = to - stopped_at
        return self._replace(since=self.since + by, until=self.until + by)


class Verdict(NamedTuple):
    """What happens to the agents that are due."""

    #: How many of them a sweep may remove now, oldest deadline first.
    take: int
    #: The hold that goes on after such a sweep; None: nobody is held.
    hold: Hold | None
    #: When it follows upon a hold whose last go with such a sweep: the end of that one.
    follows: datetime | None = None

    def held_after(self, now: datetime) -> datetime:
        """Return after which instant a lease must have run out to be held now."""
        if self.hold is None:
            return now
        return self.follows or EVER


def verdict(
    due: int,
    total: int,
    now: datetime,
    *,
    hold: Hold | None,
    rules: GuardRules,
    fresh: int = 0,
) -> Verdict:
    """Judge agents that are due; readers and the sweep both act on it.

    Args:
        due: the agents whose lease has run out, of those that ever beat.
        total: all agents, the due among them.
        now: lease time.
        hold: the one that has begun, if any.
        rules: when to hold.
        fresh: those of the due whose lease ran out after the hold's end.
    """
    if hold is None:
        return _first(due, total, now, rules)
    if due == 0:
        return Verdict(0, None)
    own = due - fresh
    worsened = _worsened(hold, own, total, rules)
    if now < worsened.until:
        return Verdict(0, worsened)
    cap = due if hold.level is Level.RELEASED else over_cap(hold, total, rules)
    # Its own go before the next hold begins, however many fall due meanwhile. So nobody
    # is held by two, and who falls due now waits for no more than these and a hold.
    anew = _first(fresh, total - own, now, rules).hold
    if anew and own <= cap:
        return Verdict(own, anew, follows=hold.until)
    if due <= cap:
        return Verdict(due, None)
    return Verdict(min(own, cap), hold)


def over_cap(hold: Hold, total: int, rules: GuardRules) -> int:
    """Return how many may go in one sweep when a hold is over.

    Of a fleet that has grown more may go; or a hold that began at night would go on
    by day, when more than its cap die between two sweeps.
    """
    return max(hold.cap, rules.cap(total))


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
    if hold.level is not Level.PART or not _is_most(due, total, rules):
        return hold
    until = hold.since + timedelta(seconds=rules.hold_most_seconds)
    return hold._replace(until=until, level=Level.MOST)


def _is_most(due: int, total: int, rules: GuardRules) -> bool:
    return due >= round(rules.most_fraction * total, 6)
