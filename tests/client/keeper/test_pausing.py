"""How long is waited after a failure, and what it costs the others."""

from collections import Counter

import pytest
from agent_registry_client import RegistryError, State, Unavailable

from .world import AWAY, BUSY, World


def test_pauses_double_up_to_one_interval_and_never_pass_it(world: World) -> None:
    """At most 1, 2, 4, 8, 16 seconds, and then the interval of 20."""
    world.keep("a")
    pauses = []
    for _ in range(7):
        world.keeper.failed(world.next(), AWAY)
        pauses.append(world.keeper.seconds_to_wait())
        world.now += pauses[-1] or 0

    assert pauses == pytest.approx([1, 2, 4, 8, 16, 20, 20])


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_pauses_are_drawn_from_nothing_to_the_most(world: World, part: float) -> None:
    """Full jitter: who failed together does not come back together."""
    world.keep("a")
    world.part = part

    world.keeper.failed(world.next(), AWAY)

    assert world.keeper.seconds_to_wait() == part


def test_the_shortest_interval_bounds_the_pause(world: World) -> None:
    """An agent of a short TTL cannot wait for others."""
    world.keep("a", ttl_seconds=60)
    world.keep("b", ttl_seconds=1)

    world.keeper.failed(world.next(), AWAY)

    assert world.keeper.seconds_to_wait() == pytest.approx(1 / 3)


def test_what_the_registry_asks_for_is_waited(world: World) -> None:
    """`Retry-After` is the least, and the jitter comes on top."""
    world.keep("a")
    world.part = 0.0

    world.keeper.failed(world.next(), BUSY)
    least = world.keeper.seconds_to_wait()
    world.part = 1.0
    world.keeper.failed(world.next(3), BUSY)

    assert least == 3
    assert world.keeper.seconds_to_wait() == 5


@pytest.mark.parametrize(("part", "wait"), [(0.0, 18), (1.0, 20)])
def test_nobody_waits_for_longer_than_an_interval(
    world: World, part: float, wait: float
) -> None:
    """The lease would run out; and those told so at one instant are spread."""
    world.keep("a")
    world.part = part

    world.keeper.failed(
        world.next(), Unavailable(503, "store_full", "", retry_after_seconds=600)
    )

    assert world.keeper.seconds_to_wait() == pytest.approx(wait)


def test_a_pause_counts_from_the_beginning_of_the_attempt(world: World) -> None:
    """A registry that drops packets costs no timeout on top of it."""
    world.keep("a")
    attempt = world.next()
    world.now += 5

    world.keeper.failed(attempt, AWAY)

    assert world.keeper.seconds_to_wait() == 0
    for _ in range(5):
        attempt = world.next(world.keeper.seconds_to_wait() or 0)
        world.now += 5
        world.keeper.failed(attempt, AWAY)
    assert world.keeper.seconds_to_wait() == 15


def test_an_absent_registry_is_asked_once_a_pause_for_all(world: World) -> None:
    """A thousand agents in one process are no thousand retries."""
    kept = world.keep(*map(str, range(1000)))

    world.keeper.failed(world.next(), AWAY)

    assert {one.state for one in kept} == {State.RETRYING}
    assert world.keeper.step() is None
    assert [change.error for change in world.changes] == [AWAY] * 1000


def test_one_that_fails_for_ever_starves_nobody(world: World) -> None:
    """After a failure it is the next one's turn."""
    world.keep("poison", "b", "c")
    failing = world.next()

    world.keeper.failed(failing, BUSY)
    served = []
    for _ in range(2):
        step = world.next(world.keeper.seconds_to_wait() or 0)
        served.append(step.kept[0].agent_id)
        world.answer(step)

    assert failing.kept[0].agent_id == "poison"
    assert served == ["b", "c"]


def test_one_event_is_told_once(world: World) -> None:
    """A failure that lasts is one change, not one a try."""
    world.register("a")
    for seconds in (20, 1, 2):
        world.keeper.failed(world.next(seconds), AWAY)
    world.answer(world.next(4))

    assert [(change.before, change.after) for change in world.changes] == [
        (State.REGISTERED, State.RETRYING),
        (State.RETRYING, State.REGISTERED),
    ]


@pytest.mark.parametrize(
    ("size", "outage", "before"), [(10_000, 3, 0), (2_000, 60, 0), (10_000, 45, 180)]
)
def test_ten_thousand_clients_come_back_spread_over_an_interval(
    size: int, outage: float, before: int
) -> None:
    """No second sees three times its fair share of them, and none comes later.

    An hour is its last seconds, after as many failures as an hour brings.
    """
    interval = 20
    worlds = [World(seed) for seed in range(size)]
    returned_at = 1000.0 + interval + outage
    arrivals: Counter[int] = Counter()
    for world in worlds:
        world.register("a")
        while True:
            step = world.next(world.keeper.seconds_to_wait() or 0)
            if world.now >= returned_at:
                break
            if world.now >= returned_at - outage:
                world.keeper.failed(step, AWAY)
            else:
                world.answer(step)
                world.keeper._failures = before
        arrivals[int(world.now - returned_at)] += 1

    fair = size / interval
    assert max(arrivals) < interval
    assert max(arrivals.values()) < 3 * fair
    assert sum(arrivals.values()) == size


def test_errors_of_any_kind_are_sat_out(world: World) -> None:
    """Also one that nobody thought of."""
    (kept,) = world.keep("a")

    world.keeper.failed(world.next(), RegistryError("a mistake of ours"))

    assert kept.state is State.RETRYING
    assert world.keeper.seconds_to_wait() == 1
