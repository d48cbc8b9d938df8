"""The guard among fleets that die, and fleets that are only cut off."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from store import AgentRecord, GuardRules

TTL, BEAT, SWEEP = 60, 20, 60
#: How long is watched: from before it happens until long after it.
BEFORE, AFTER, WATCHED = -60, 300, 105 * 60
NO_GUARD, FEW, RULES = None, GuardRules(min_agents=3), GuardRules()


class Silence(NamedTuple):
    """What befalls a fleet: how many fall silent, and for how long."""

    fleet: int
    silent: int
    seconds: float = math.inf
    a_minute: int = 100

    def covers(self, agent: int, at: int) -> bool:
        """Tell whether an agent is silent, so many seconds after the first."""
        begins = agent // self.a_minute * 60
        return agent < self.silent and begins <= at < begins + self.seconds


class Removed(NamedTuple):
    """How many agents were removed, and when the last of them."""

    agents: int
    at: int | None


@pytest.fixture
def removed(
    make_registry: Callable[..., Any], make_record: Callable[..., AgentRecord]
) -> Callable[[Silence, GuardRules | None], Removed]:
    """Return a function that lets a fleet live through a silence."""

    def live_through(
        silence: Silence, rules: GuardRules | None, *, crashing: bool = False
    ) -> Removed:
        registry = make_registry(rules)
        repo = registry.repo
        fleet = [f"agent-{number:02}" for number in range(silence.fleet)]
        repo.register_all([make_record(name, ttl_seconds=TTL) for name in fleet])
        until = min(WATCHED, silence.seconds + AFTER)
        gone, last = 0, None
        for at in range(BEFORE, WATCHED, BEAT):
            if at > until or gone == silence.silent:
                break
            registry.run(BEAT)
            repo.renew_all(
                [one for n, one in enumerate(fleet) if not silence.covers(n, at)]
            )
            if at % SWEEP == 0 and (removed := repo.sweep().removed):
                gone, last = gone + removed, at
            if crashing and repo.hold():
                registry.kill()
                registry.start()
                repo = registry.repo
        assert {one.agent_id for one in repo.list_all()} >= set(fleet[silence.silent :])
        return Removed(gone, last)

    return live_through


@pytest.mark.parametrize(
    ("silence", "unguarded"),
    [
        (Silence(100, 60, seconds=240), 60),
        (Silence(100, 100, seconds=240), 100),
        (Silence(100, 100, seconds=600), 100),
        (Silence(100, 20, seconds=240), 20),
    ],
    ids=["60 for 4 min", "all for 4 min", "all for 10 min", "20 for 4 min"],
)
def test_agents_that_were_cut_off_stay(
    removed: Callable[..., Removed], silence: Silence, unguarded: int
) -> None:
    """None of 100 is removed while they cannot be heard; all of them, unguarded."""
    assert removed(silence, NO_GUARD) == Removed(unguarded, 60)
    assert removed(silence, RULES) == Removed(0, None)
    assert removed(silence, FEW) == Removed(0, None)


@pytest.mark.parametrize(
    ("silence", "unguarded", "guarded"),
    [
        (Silence(100, 30), 60, 420),
        (Silence(100, 60), 60, 3840),
        (Silence(5, 1), 60, 60),
        (Silence(3, 3), 60, 60),
        (Silence(100, 40, a_minute=10), 240, 240),
    ],
    ids=["30 of 100", "60 of 100", "1 of 5", "3 of 3", "10 a minute for 4 min"],
)
def test_the_dead_are_removed(
    removed: Callable[..., Removed], silence: Silence, unguarded: int, guarded: int
) -> None:
    """Few of them at once, and many after a hold: never is it without end.

    Of 100 agents 15 go in a sweep: 30 are gone 420 s after they died (60 s until the
    hold begins, 300 s of it, two sweeps), 60 after 3,840 s. Were the cap computed
    anew on the fleet that is left, it would be 480 s and 3,960 s.
    """
    assert removed(silence, NO_GUARD) == Removed(silence.silent, unguarded)
    assert removed(silence, RULES) == Removed(silence.silent, guarded)
    assert removed(silence, FEW) == Removed(silence.silent, guarded)


def test_a_crash_does_not_renew_a_hold(removed: Callable[..., Removed]) -> None:
    """Nor does one each 20 s; but the half second that each takes is no part of it.

    So the hold ends just behind the sweep at 360 s, and all is over one sweep later.
    """
    assert removed(Silence(100, 30), RULES, crashing=True) == Removed(30, 480)


def test_the_oldest_of_the_held_go_first(
    make_registry: Callable[..., Any], make_record: Callable[..., AgentRecord]
) -> None:
    """By their deadlines, in whatever order they registered."""
    registry = make_registry(GuardRules(hold_seconds=0, hold_most_seconds=0))
    names = [f"agent-{number:02}" for number in range(16)]
    registry.repo.register_all([make_record(name, ttl_seconds=TTL) for name in names])
    for name in reversed(names):
        registry.run(1)
        registry.repo.renew_all([name])
    registry.run(TTL)

    assert registry.repo.sweep().held == 16
    assert registry.repo.sweep().removed == 10

    left = {one.agent_id for one in registry.repo.list_all(include_dead=True)}
    assert left == set(names[:6])
