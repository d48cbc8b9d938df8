"""Registries that are killed and started again: no down-time is silence."""

import pytest

from store.leases import MAX_REARMS, Status

from .registry import SECOND, TTL, MakeRecord, Registry


def test_down_time_is_no_silence(registry: Registry, make_record: MakeRecord) -> None:
    """An agent has a full TTL from the start on, however long nobody listened."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.run(50)
    registry.kill()
    registry.pass_by(3 * TTL)

    registry.start()

    assert registry.status() is not Status.DEAD
    registry.run(0.5)
    assert registry.left() == TTL


@pytest.mark.parametrize("up_seconds", [TTL / 2, TTL / 3 + 1])
def test_a_crash_loop_does_not_keep_the_dead(
    registry: Registry, make_record: MakeRecord, up_seconds: float
) -> None:
    """Killed again and again, the registry loses no living agent, and no time."""
    for name in ("dead", "alive"):
        registry.repo.register(make_record(name, ttl_seconds=TTL))

    for _ in range(MAX_REARMS + 2):
        registry.run(up_seconds)
        registry.repo.update_heartbeats(["alive"])
        registry.kill()
        registry.pass_by(5)
        registry.start()
    registry.run(up_seconds)

    assert registry.status("dead") is Status.DEAD
    assert registry.status("alive") is Status.ALIVE


def test_short_lives_between_long_ones_do_not_keep_the_dead(
    registry: Registry, make_record: MakeRecord
) -> None:
    """What is no chance to beat gives none back: chances that were used up are."""
    registry.repo.register(make_record(ttl_seconds=TTL))

    for up_seconds in (0.9 * TTL, 0.05 * TTL) * (MAX_REARMS + 2):
        registry.run(up_seconds)
        registry.kill()
        registry.pass_by(5)
        registry.start()
    registry.run(1)

    assert registry.status() is Status.DEAD


def test_who_had_no_chance_to_beat_is_kept(
    registry: Registry, make_record: MakeRecord
) -> None:
    """Up for less than a beat interval each time, the registry blames nobody soon."""
    registry.repo.register(make_record(ttl_seconds=TTL))

    for _ in range(10):
        registry.kill()
        registry.pass_by(5)
        registry.start()
        registry.run(TTL / 15)

    assert registry.left() > TTL / 2


@pytest.mark.parametrize("reached", [0, 1])
def test_a_rearm_that_is_cut_short_costs_what_it_should(
    registry: Registry, make_record: MakeRecord, reached: int
) -> None:
    """Killed amid the re-arm after each life, a registry keeps no dead agent."""
    registry.repo.register(make_record(ttl_seconds=TTL))

    for _ in range(MAX_REARMS + 2):
        registry.run(0.9 * TTL)
        registry.kill()
        registry.pass_by(2 * TTL)
        registry.start()
        registry.cut_short(chunks=reached)
        registry.kill()
        registry.pass_by(2 * TTL)
        registry.start()

    assert registry.status() is Status.DEAD


def test_a_rearm_done_anew_costs_one_chance(
    registry: Registry, make_record: MakeRecord
) -> None:
    """Whom it had reached was not given a chance to beat meanwhile."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.run(TTL / 2)

    for _ in range(MAX_REARMS + 2):
        registry.kill()
        registry.pass_by(2 * TTL)
        registry.start()
        registry.cut_short(chunks=1)
    registry.run(1)

    assert registry.left() >= TTL - 1


@pytest.mark.parametrize("step", [0, 3600, -3600])
def test_a_crash_during_a_rearm_loses_nobody(
    registry: Registry, make_record: MakeRecord, step: float
) -> None:
    """The next process finds where lease time stood, and begins anew."""
    for number in range(400):
        registry.repo.add(
            make_record(
                f"agent-{number}", ttl_seconds=TTL, last_heartbeat=registry.wall
            )
        )
    registry.pass_by(10, step=step)
    asked = 0

    def crash() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise KeyboardInterrupt
        return True

    registry.loop_turns = crash  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        registry.keeper.turn()
    registry.kill()
    registry.pass_by(2 * TTL)
    registry.loop_turns = lambda: True  # type: ignore[method-assign]

    registry.start()
    registry.run(1)

    assert len(registry.repo.list_all()) == 400


def test_the_time_of_listening_is_stored_each_turn_at_first(
    registry: Registry,
) -> None:
    """Then every ten seconds; at a stop, exactly."""
    for since_start, within in ((30, 0.5), (200, 10)):
        registry.kill()
        registry.start()
        registry.run(since_start)
        known = registry.repo.listening()

        assert known is not None
        assert registry.wall - known.listened_at < within * SECOND
