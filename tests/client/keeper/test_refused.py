"""Agents that are refused: tried again for ever, at nobody's cost."""

import pytest
from agent_registry_client import State

from .world import BROKEN, REFUSED, WHO, World, longest_silence


def test_a_refused_agent_is_tried_again_every_interval(world: World) -> None:
    """Somebody has to mend it, and may; it is never given up."""
    (kept,) = world.keep("a")

    world.keeper.failed(world.next(), REFUSED)

    assert (kept.state, kept.last_error) == (State.REFUSED, REFUSED)
    assert kept.perhaps_listed is False
    assert world.keeper.seconds_to_wait() == pytest.approx(20)
    world.answer(world.next(20))
    assert kept.state is State.REGISTERED


def test_the_refused_starve_nobody(world: World) -> None:
    """A call for each of them would take 100 s, and a lease is 60."""
    refused = [str(number) for number in range(1000)]
    world.register(*refused)
    world.live(60, refused, takes=0.001)
    (well,) = world.register("well")
    since = world.now

    steps = world.live(600, refused, takes=0.1)

    assert longest_silence(steps, well, since) <= 20.2


def test_the_refused_hold_up_none_that_may_be_well(world: World) -> None:
    """One more that is refused does not make the others wait behind a thousand."""
    refused = [str(number) for number in range(1000)]
    world.register(*refused)
    world.live(60, refused, takes=0.001)
    (well, _) = world.register("well", "refused-soon")
    since = world.now

    steps = world.live(600, [*refused, "refused-soon"], takes=0.1)

    assert longest_silence(steps, well, since) < 21


def test_the_refused_are_asked_for_together_first(world: World) -> None:
    """When the refusal of all has ended, one call clears them, and they stay so."""
    refused = ["a", "b", "c"]
    kept = world.register(*refused)
    world.live(25, refused, takes=0.001)
    told = [change.after for change in world.changes]

    steps = world.live(40, [], takes=0.001)

    assert told == [State.REFUSED] * 3
    assert [len(step.kept) for step in steps] == [3, 3]
    assert {one.state for one in kept} == {State.REGISTERED}


def test_many_that_were_refused_beat_in_one_call_again(world: World) -> None:
    """Growing together from one on, they would cost a thousand calls once more."""
    refused = [str(number) for number in range(1000)]
    world.register(*refused)
    world.live(60, refused, takes=0.001)

    steps = world.live(60, [], takes=0.001)

    assert len(steps) < 50


def test_one_that_is_refused_no_more_need_not_wait_for_the_others(
    world: World,
) -> None:
    """Each is tried alone within its interval; what has not changed is not told."""
    refused = ["a", "b", "c"]
    kept = world.register(*refused)
    world.live(100, refused, takes=0.001)
    world.changes.clear()

    world.live(20.1, ["a", "c"], takes=0.001)

    assert [(change.agent_id, change.after) for change in world.changes] == [
        ("b", State.REGISTERED)
    ]
    assert [one.state is State.REFUSED for one in kept] == [True, False, True]


def test_the_refused_are_no_storm(world: World) -> None:
    """Fifty a second at most, however many they are and however fast the registry."""
    refused = [str(number) for number in range(5000)]
    world.keep(*refused)
    world.live(20, refused, takes=0.0001)

    steps = world.live(100, refused, takes=0.0001)

    assert 4900 < len(steps) <= 5001
    assert len({step.kept[0].agent_id for step in steps}) > 4900


def test_one_that_fails_for_ever_does_not_starve_the_refused(world: World) -> None:
    """Nobody is given up."""
    _, kept = world.keep("poison", "a")
    world.keeper.failed(world.next(), BROKEN)
    world.keeper.failed(world.next(1), REFUSED)
    asked = []
    for _ in range(20):
        step = world.next(world.keeper.seconds_to_wait() or 0)
        asked.append(step.kept[0].agent_id)
        world.keeper.failed(step, BROKEN if asked[-1] == "poison" else REFUSED)

    assert kept.state is State.REFUSED
    assert asked.count("a") > 5


def test_a_client_that_is_turned_away_is_refused_as_a_whole(world: World) -> None:
    """One attempt an interval speaks for all of its agents, and is told once."""
    kept = world.register(*map(str, range(1000)))

    world.keeper.failed(world.next(20), WHO)
    first = len(world.changes)
    world.keeper.failed(world.next(world.keeper.seconds_to_wait() or 0), WHO)

    assert {(one.state, one.last_error) for one in kept} == {(State.REFUSED, WHO)}
    assert (first, len(world.changes)) == (1000, 1000)
    assert world.keeper.seconds_to_wait() == 20
    world.answer(world.next(20))
    assert {one.state for one in kept} == {State.REGISTERED}


@pytest.mark.parametrize("ttl_seconds", [60 * 10**9, 10**400, -5, 0])
def test_a_ttl_that_is_none_is_refused_and_tried_again(
    world: World, ttl_seconds: int
) -> None:
    """Neither beyond what a thread can wait for, nor without a pause."""
    world.keep("a", ttl_seconds=ttl_seconds)

    world.keeper.failed(world.next(), REFUSED)

    assert 1 <= (world.keeper.seconds_to_wait() or 0) <= 86_400
