"""Agents that the registry does not know: they register, and hold up nobody."""

from typing import Any

import pytest
from agent_registry_client import RegistryError, State
from agent_registry_client.kept import kept_agent

from .world import (
    AWAY,
    DESCRIBED,
    NOT_FOUND,
    TOO_MANY,
    WHO,
    World,
    longest_silence,
    target,
)


def test_a_new_agent_is_registered_at_once(world: World) -> None:
    """Before anything else."""
    (kept,) = world.keep("a")

    assert world.keeper.seconds_to_wait() == 0
    assert target(world.next()) == "/agents/register"
    assert kept.state is State.JOINING


def test_what_becomes_of_the_metadata_is_no_matter(world: World) -> None:
    """It was written as JSON when the agent was described."""
    metadata: dict[str, Any] = {"zone": "eu"}
    kept = kept_agent("a", DESCRIBED | {"metadata": metadata})
    world.keeper.add(kept)
    metadata["broken"] = object()

    assert b'"metadata":{"zone":"eu"}' in (world.next().call.body or b"")


def test_an_unknown_agent_is_registered_again_at_once(world: World) -> None:
    """A 404 is no failure to sit out, nor one to beat into for ever."""
    (kept,) = world.register("a")

    world.keeper.failed(world.next(20), NOT_FOUND)

    assert kept.state is State.JOINING
    assert target(world.next()) == "/agents/register"


def test_the_unknown_among_many_are_registered_again(world: World) -> None:
    """The others only beat."""
    world.register("a", "b", "c")

    world.answer(world.next(20), unknown=["b"])

    step = world.next()
    assert (target(step), step.kept[0].agent_id) == ("/agents/register", "b")
    assert [change.agent_id for change in world.changes] == ["b"]


def test_newcomers_hold_up_no_beat(world: World) -> None:
    """Whoever has no lease yet can lose none."""
    (well,) = world.register("well")
    world.keep(*map(str, range(1000)))
    since = world.now

    steps = world.live(200, [], takes=0.1)

    assert longest_silence(steps, well, since) <= 20.2


@pytest.mark.parametrize(
    ("error", "state"), [(WHO, State.REFUSED), (AWAY, State.RETRYING)]
)
def test_a_newcomer_hears_at_once_what_keeps_all_away(
    world: World, error: RegistryError, state: State
) -> None:
    """Nobody waits for an attempt that is not made."""
    world.keep("a")
    world.keeper.failed(world.next(), error)

    (late,) = world.keep("late")

    assert (late.state, late.last_error) == (state, error)
    assert world.changes[-1].agent_id == "late"


def test_too_many_registrations_hold_up_no_beat(world: World) -> None:
    """Newcomers wait as long as they are asked to, all of them together."""
    world.register("a")
    newcomers = world.keep("b", "c")

    world.keeper.failed(world.next(), TOO_MANY)
    told = {one.state for one in newcomers}
    waited = world.keeper.seconds_to_wait()
    world.now += 8
    for _ in newcomers:
        world.answer(world.next())

    assert (told, waited) == ({State.RETRYING}, 8)
    assert {one.state for one in newcomers} == {State.REGISTERED}


def test_beats_go_on_while_registrations_wait(world: World) -> None:
    """The registry has nothing against those that it knows."""
    world.register("a", ttl_seconds=3)
    world.keep("b", ttl_seconds=60)

    world.keeper.failed(world.next(0.5), TOO_MANY)
    beat = world.next(0.5)

    assert target(beat) == "/agents/a/heartbeat"
