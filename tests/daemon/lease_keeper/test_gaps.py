"""Gaps and steps of the clock: who gets a TTL by them, and who is dead."""

from typing import Any

import pytest

from daemon.lease_clock import Cause
from store.leases import Status

from .registry import SECOND, TTL, MakeRecord, Registry


@pytest.mark.parametrize(
    ("seconds", "step", "cause"),
    [
        (600, 0, Cause.GAP),
        (0.5, 3600, Cause.STEP_FORWARD),
        (0.5, -3600, Cause.STEP_BACK),
    ],
)
def test_the_living_get_a_full_ttl_after_a_gap(
    registry: Registry,
    make_record: MakeRecord,
    seconds: float,
    step: float,
    cause: Cause,
) -> None:
    """Nobody sees them dead in between, and no sweep takes them."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.run(50)

    registry.pass_by(seconds, step=step)

    assert registry.status() is Status.LATE
    assert registry.repo.delete_expired() == 0
    registry.keeper.turn()
    assert registry.left() == TTL
    assert registry.keeper.rearms == {cause: 1}


@pytest.mark.parametrize("step", [0, 3600, -3600])
def test_the_dead_stay_dead_and_go(
    registry: Registry, make_record: MakeRecord, step: float
) -> None:
    """Neither a pause nor a clock set back calls anyone back to life."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.run(70)

    registry.pass_by(30, step=step)
    seen = [registry.status()]
    registry.run(5)
    seen.append(registry.status())

    assert seen == [Status.DEAD] * 2
    assert registry.repo.delete_expired() == 1


@pytest.mark.parametrize("step", [0, 3600, -3600])
def test_the_dead_go_although_gap_follows_gap(
    registry: Registry, make_record: MakeRecord, step: float
) -> None:
    """Three full TTLs are given, whichever way the clock is stepped with each gap."""
    registry.repo.register(make_record(ttl_seconds=TTL))

    for _ in range(4):
        registry.run(TTL / 2)
        registry.pass_by(30, step=step)

    registry.run(1)
    assert registry.status() is Status.DEAD
    assert registry.repo.delete_expired() == 1


@pytest.mark.parametrize("step", [0, 3600, -3600])
def test_who_dies_in_a_gap_goes_one_ttl_after_it(
    registry: Registry, make_record: MakeRecord, step: float
) -> None:
    """Soon after, also when the clock was set back by an hour."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.pass_by(30, step=step)

    registry.run(TTL - 1)
    assert registry.repo.delete_expired() == 0
    registry.run(2)

    assert registry.repo.delete_expired() == 1


@pytest.mark.parametrize("apart", [TTL / 3 - 2, TTL / 4, TTL / 20])
def test_chances_add_up(
    registry: Registry, make_record: MakeRecord, apart: float
) -> None:
    """Gaps that follow each other closely do not keep the dead either."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.run(TTL / 3)

    listened = 0.0
    while registry.status() is not Status.DEAD:
        assert listened <= 2 * TTL
        registry.run(apart)
        listened += apart
        registry.pass_by(3)
        registry.keeper.turn()

    assert listened >= TTL


def test_a_gap_during_a_rearm_begins_it_anew(
    registry: Registry, make_record: MakeRecord
) -> None:
    """Who was re-armed before the second gap would have run out in it."""
    for number in range(400):
        registry.repo.add(make_record(f"agent-{number}", ttl_seconds=TTL))
    registry.pass_by(10)
    asked = 0

    def loop_turns() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:  # the second chunk
            registry.pass_by(300)
        return True

    registry.loop_turns = loop_turns  # type: ignore[method-assign]

    registry.keeper.turn()
    registry.keeper.turn()

    assert {one.expires_at for one in registry.repo.list_all()} == {
        registry.wall + TTL * SECOND
    }
    assert registry.clock.standstill is None


@pytest.mark.parametrize(("seconds", "step"), [(2 * TTL, 0), (0, 3600), (0, -3600)])
def test_what_happens_behind_the_last_chunk_ends_no_lease(
    registry: Registry, make_record: MakeRecord, seconds: float, step: float
) -> None:
    """Before lease time is let go on, it is looked whether the re-arm still holds."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.pass_by(10)
    rearm = registry.repo.rearm

    def rearm_and_stop(*args: Any) -> int | None:
        registry.repo.rearm = rearm  # type: ignore[method-assign]
        rearmed = rearm(*args)
        registry.pass_by(seconds, step=step)
        return rearmed

    registry.repo.rearm = rearm_and_stop  # type: ignore[method-assign]

    registry.keeper.turn()
    seen = registry.status()
    registry.keeper.turn()

    assert seen is Status.ALIVE
    assert registry.left() == TTL
