"""The rules of keeping, with a clock and a random number of our own."""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from agent_registry_client import (
    AgentNotFound,
    BulkRenewal,
    Change,
    InvalidRequest,
    LimitReached,
    NotAllowed,
    RegisteredAgent,
    RegistryError,
    RegistryProblem,
    Renewal,
    State,
    Unavailable,
    Unreachable,
)
from agent_registry_client.keeper import Keeper, Step
from agent_registry_client.kept import Kept, kept_agent

NOT_FOUND = AgentNotFound(404, "agent_not_found", "Register again.")
REFUSED = InvalidRequest(422, "invalid_request", "No.")
FORBIDDEN = NotAllowed(403, "forbidden", "Not yours.")
BUSY = Unavailable(503, "store_unavailable", "Later.", retry_after_seconds=3)
BROKEN = RegistryProblem(500, "internal_error", "A mistake.")
UNAVAILABLE = Unavailable(503, "store_unavailable", "Later.")
WHO = NotAllowed(401, "unauthenticated", "Who?")
TOO_MANY = LimitReached(429, "too_many_registrations", "", retry_after_seconds=7)
AWAY = Unreachable("connection refused")
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


class World:
    """A keeper, its clock, its dice, and a registry that it talks to."""

    def __init__(self, seed: int | None = None) -> None:
        self.now = 1000.0
        self.part = 1.0
        self.changes: list[Change] = []
        self.keeper = Keeper(
            lambda told: self.changes.extend(change for _, change in told),
            clock=lambda: self.now,
            draw=(lambda: self.part) if seed is None else random.Random(seed).random,  # noqa: S311 - dice
        )

    def keep(self, *agent_ids: str, ttl_seconds: int = 60) -> list[Kept]:
        """Keep these agents."""
        kept = [
            kept_agent(one, DESCRIBED | {"ttl_seconds": ttl_seconds})
            for one in agent_ids
        ]
        for one in kept:
            self.keeper.add(one)
        return kept

    def next(self, seconds: float = 0.0) -> Step:
        """Let time pass, and return the step that is due by then."""
        self.now += seconds
        step = self.keeper.step()
        assert step is not None
        return step

    def answer(self, step: Step, unknown: Sequence[str] = ()) -> None:
        """Answer as a registry that is well."""
        self.keeper.answered(step, answer_to(step, unknown))

    def live(
        self, seconds: float, refused: Collection[str], takes: float
    ) -> list[Step]:
        """Let time pass, each call taking so long; return the steps of it.

        A call that names one of the refused is refused.
        """
        steps = []
        until = self.now + seconds
        while self.now + (wait := self.keeper.seconds_to_wait() or 0) < until:
            steps.append(self.next(wait))
            self.now += takes
            if any(kept.agent_id in refused for kept in steps[-1].kept):
                self.keeper.failed(steps[-1], FORBIDDEN)
            else:
                self.answer(steps[-1])
        self.now = until
        return steps

    def register(self, *agent_ids: str, ttl_seconds: int = 60) -> list[Kept]:
        """Keep agents that the registry knows."""
        kept = self.keep(*agent_ids, ttl_seconds=ttl_seconds)
        for _ in kept:
            self.answer(self.next())
        self.changes.clear()
        return kept


DESCRIBED: dict[str, Any] = {"agent_name": "A", "host": "10.0.0.7", "port": 80}


def answer_to(
    step: Step, unknown: Sequence[str] = ()
) -> RegisteredAgent | Renewal | BulkRenewal:
    """Say yes, but for those who are unknown."""
    if step.call.target == "/agents/heartbeats":
        return BulkRenewal(renewed=0, unknown=tuple(unknown))
    kept = step.kept[0]
    lease: dict[str, Any] = {
        "agent_id": kept.agent_id,
        "expires_at": EPOCH,
        "ttl_seconds": round(kept.interval_seconds * 3),
        "heartbeat_interval_seconds": kept.interval_seconds,
    }
    if step.call.target == "/agents/register":
        return RegisteredAgent(
            **lease,
            agent_name="A",
            host="10.0.0.7",
            port=80,
            metadata={},
            is_alive=True,
            status="alive",
            last_heartbeat=EPOCH,
            registered_at=EPOCH,
            age_seconds=0.0,
            outcome="created",
        )
    return Renewal(**lease)


@pytest.fixture
def world() -> World:
    """Return a world whose dice always show the most."""
    return World()


def target(step: Step) -> str:
    """Return what is called."""
    return str(step.call.target)


def test_a_new_agent_is_registered_at_once(world: World) -> None:
    """Before anything else."""
    (kept,) = world.keep("a")

    assert world.keeper.seconds_to_wait() == 0
    assert target(world.next()) == "/agents/register"
    assert kept.state is State.JOINING


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


def test_a_refused_agent_is_tried_again_every_interval(world: World) -> None:
    """Somebody has to mend it, and may; it is never given up."""
    (kept,) = world.keep("a")

    world.keeper.failed(world.next(), REFUSED)

    assert (kept.state, kept.last_error) == (State.REFUSED, REFUSED)
    assert kept.perhaps_listed is False
    assert world.keeper.seconds_to_wait() == pytest.approx(20)
    world.answer(world.next(20))
    assert kept.state is State.REGISTERED


def longest_silence(steps: Sequence[Step], kept: Kept, since: float) -> float:
    """Return the longest time between two steps for it."""
    begun = [since, *(step.began_at for step in steps if kept in step.kept)]
    return max(after - before for before, after in pairwise(begun))


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


def test_newcomers_hold_up_no_beat(world: World) -> None:
    """Whoever has no lease yet can lose none."""
    (well,) = world.register("well")
    world.keep(*map(str, range(1000)))
    since = world.now

    steps = world.live(200, [], takes=0.1)

    assert longest_silence(steps, well, since) <= 20.2


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


@pytest.mark.parametrize("ttl_seconds", [60 * 10**9, 10**400, -5, 0])
def test_a_ttl_that_is_none_is_refused_and_tried_again(
    world: World, ttl_seconds: int
) -> None:
    """Neither beyond what a thread can wait for, nor without a pause."""
    world.keep("a", ttl_seconds=ttl_seconds)

    world.keeper.failed(world.next(), REFUSED)

    assert 1 <= (world.keeper.seconds_to_wait() or 0) <= 86_400


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


def test_what_becomes_of_the_metadata_is_no_matter(world: World) -> None:
    """It was written as JSON when the agent was described."""
    metadata: dict[str, Any] = {"zone": "eu"}
    kept = kept_agent("a", DESCRIBED | {"metadata": metadata})
    world.keeper.add(kept)
    metadata["broken"] = object()

    assert b'"metadata":{"zone":"eu"}' in (world.next().call.body or b"")


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


def test_one_that_left_is_forgotten(world: World) -> None:
    """No step is made for it, whatever was planned."""
    (kept,) = world.register("a")

    world.keeper.remove([kept])

    assert kept.state is State.LEFT
    assert world.keeper.seconds_to_wait() is None


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
