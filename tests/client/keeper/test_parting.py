"""Who is at fault in a common beat is parted from the others."""

import pytest
from agent_registry_client import NotAllowed, State

from .world import BROKEN, REFUSED, UNAVAILABLE, World


def test_a_common_beat_that_is_refused_is_halved(world: World) -> None:
    """The one at fault does not take the others along."""
    kept = world.register("a", "b")

    world.keeper.failed(world.next(20), REFUSED)
    world.answer(world.next())
    world.keeper.failed(world.next(), REFUSED)

    assert {one.agent_id: one.state for one in kept} == {
        "a": State.REGISTERED,
        "b": State.REFUSED,
    }


def forbidden(refused: object) -> NotAllowed:
    """Return the refusal of a common beat, which says for whom it is."""
    return NotAllowed(403, "forbidden", "No.", document={"refused": refused})


def test_those_whom_a_refusal_names_are_parted_from_the_others_at_once(
    world: World,
) -> None:
    """By halves, 500 of 2,000 cost as many calls, and the others their leases."""
    kept = world.register("a", "b", "c", "d")

    world.keeper.failed(world.next(20), forbidden([1, 3]))
    told = list(world.changes)
    others = world.next()
    world.answer(others)

    assert [change.agent_id for change in told] == ["b", "d"]
    assert [one.agent_id for one in others.kept] == ["a", "c"]
    assert [one.state is State.REFUSED for one in kept] == [False, True, False, True]
    assert world.keeper.step() is None


def test_one_of_the_refused_who_is_not_named_any_more_comes_back_at_once(
    world: World,
) -> None:
    """They are asked for together once an interval, and the answer is for each."""
    kept = world.register("a", "b", "c")
    world.keeper.failed(world.next(20), forbidden([0, 1, 2]))

    together = world.next(20)
    names = [one.agent_id for one in together.kept]
    world.keeper.failed(together, forbidden([names.index("b")]))
    world.answer(world.next())

    assert [one.state is State.REFUSED for one in kept] == [False, True, False]


@pytest.mark.parametrize("refused", [[], ["0"], [True], [-1, 4], {"0": 1}, None, 0])
def test_a_refusal_that_names_nobody_halves_the_common_beat(
    world: World, refused: object
) -> None:
    """As an older registry does; whatever is told, nobody is asked for ever."""
    world.register("a", "b", "c", "d")

    world.keeper.failed(world.next(20), forbidden(refused))

    assert len(world.next().kept) == 2
    assert world.changes == []


def test_one_that_breaks_the_common_beat_takes_nobody_along(world: World) -> None:
    """It is alone soon, and the lease of no other runs out meanwhile."""
    world.part = 0.5
    kept = world.register(*map(str, range(1000)))
    renewed_at = dict.fromkeys(kept, world.now)

    longest = 0.0
    while world.now < 1000 + 600:
        step = world.next(world.keeper.seconds_to_wait() or 0)
        if any(one.agent_id == "777" for one in step.kept):
            world.keeper.failed(step, BROKEN)
        else:
            world.answer(step)
            longest = max(longest, *(world.now - renewed_at[one] for one in step.kept))
            renewed_at.update(dict.fromkeys(step.kept, world.now))

    assert longest < 60
    assert len([one for one in kept if one.state is State.RETRYING]) == 1


def test_an_outage_does_not_part_who_beats_together(world: World) -> None:
    """A thousand single beats would meet the registry's return."""
    world.register(*map(str, range(1000)))
    world.now += 20
    for _ in range(20):
        world.keeper.failed(
            world.next(world.keeper.seconds_to_wait() or 0), UNAVAILABLE
        )

    steps = []
    for _ in range(2):
        steps.append(world.next(world.keeper.seconds_to_wait() or 0))
        world.answer(steps[-1])

    assert [len(step.kept) for step in steps] == [500, 500]
    assert len(world.next(20).kept) == 1000


def test_one_that_was_at_fault_and_mended_beats_with_the_others_again(
    world: World,
) -> None:
    """Who succeeds grows together, twice as many at each beat."""
    world.register("a", "b", "c", "d")
    for kept in world.keeper._kept.values():
        kept.company = 1
    sizes = []
    for _ in range(3):
        world.now += 20
        while (step := world.keeper.step()) is not None:
            world.answer(step)
            sizes.append(len(step.kept))

    assert sizes == [1, 1, 1, 1, 2, 2, 4]
