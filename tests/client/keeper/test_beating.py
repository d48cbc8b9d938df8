"""When agents beat, which of them together, and how long a call may take."""

import pytest
from agent_registry_client import Renewal, State

from .world import AWAY, EPOCH, World, target


def test_nobody_is_waited_for_when_nobody_is_kept(world: World) -> None:
    """There is no next step, at any time."""
    assert world.keeper.seconds_to_wait() is None
    assert world.keeper.step() is None


@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_the_first_beat_comes_anywhere_within_an_interval(
    world: World, part: float
) -> None:
    """Agents that start together do not beat together."""
    world.part = part
    world.register("a")

    assert world.keeper.seconds_to_wait() == pytest.approx(part * 20)
    assert target(world.next(part * 20)) == "/agents/a/heartbeat"


@pytest.mark.parametrize(("part", "wait"), [(0.0, 18), (1.0, 20)])
def test_later_beats_come_a_little_early_and_never_late(
    world: World, part: float, wait: float
) -> None:
    """The interval is the registry's; the jitter only shortens it."""
    world.register("a")
    beat = world.next(20)
    world.part = part

    world.answer(beat)

    assert world.keeper.seconds_to_wait() == pytest.approx(wait)


@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_the_first_beat_after_a_failure_comes_anywhere_within_an_interval(
    world: World, part: float
) -> None:
    """A registry that hung answers all who waited for it at one instant."""
    world.register("a")
    world.keeper.failed(world.next(20), AWAY)
    beat = world.next(1)
    world.part = part

    world.answer(beat)

    assert world.keeper.seconds_to_wait() == pytest.approx(part * 20)


def test_the_registry_sets_the_interval(world: World) -> None:
    """Whatever TTL was asked for, and whenever it changes."""
    (kept,) = world.register("a")
    beat = world.next(20)
    renewal = Renewal(
        agent_id="a", expires_at=EPOCH, ttl_seconds=6, heartbeat_interval_seconds=2
    )

    world.keeper.answered(beat, renewal)

    assert kept.interval_seconds == 2
    assert world.keeper.seconds_to_wait() == pytest.approx(2)


@pytest.mark.parametrize(("told", "bounded"), [(1e11, 86_400), (1e-9, 0.1)])
def test_an_interval_that_is_none_is_bounded(
    world: World, told: float, bounded: float
) -> None:
    """Whatever answers there, no beat is a storm, and none too far away to wait for."""
    world.register("a")
    renewal = Renewal(
        agent_id="a", expires_at=EPOCH, ttl_seconds=6, heartbeat_interval_seconds=told
    )

    world.keeper.answered(world.next(20), renewal)

    assert world.keeper.seconds_to_wait() == pytest.approx(bounded)


def test_many_agents_beat_in_one_call(world: World) -> None:
    """Those due within half an interval come along, and stay together."""
    world.register("a", "b")
    world.now += 9
    world.register("c")
    world.now += 2
    world.register("d")

    together = world.next(9)
    world.answer(together)

    assert target(together) == "/agents/heartbeats"
    assert [kept.agent_id for kept in together.kept] == ["a", "b", "c"]
    assert len(world.next(20).kept) == 4


def test_a_call_renews_ten_thousand_at_most(world: World) -> None:
    """As many as the registry takes; the others are next."""
    world.register(*map(str, range(10_001)))
    first = world.next(20)
    world.answer(first)

    assert len(first.kept) == 10_000
    assert len(world.next().kept) == 1


def test_an_attempt_takes_an_interval_at_most(world: World) -> None:
    """But for the shortest of TTLs."""
    world.keep("a", ttl_seconds=9)
    first = world.next()
    world.answer(first)
    world.keep("b", ttl_seconds=1)
    second = world.next()

    assert (first.timeout_seconds, second.timeout_seconds) == (3, 1)


def test_a_registration_ends_before_another_agent_has_missed_two_beats(
    world: World,
) -> None:
    """All agents of a client wait for its one call, whatever their own TTL is."""
    world.register("short", ttl_seconds=3)
    world.keep("long", ttl_seconds=60)

    assert world.next(0.25).timeout_seconds == pytest.approx(0.75 + 1)


def test_a_beat_ends_before_another_agent_has_missed_two(world: World) -> None:
    """A beat of a long TTL too."""
    world.register("long", ttl_seconds=60)
    world.now += 19.75
    world.register("short", ttl_seconds=3)

    beat = world.next(0.25)

    assert target(beat) == "/agents/long/heartbeat"
    assert beat.timeout_seconds == pytest.approx(0.75 + 1)


def test_one_that_left_is_forgotten(world: World) -> None:
    """No step is made for it, whatever was planned."""
    (kept,) = world.register("a")

    world.keeper.remove([kept])

    assert kept.state is State.LEFT
    assert world.keeper.seconds_to_wait() is None
