"""Lease time that stands still: whoever cannot be heard lives, and it is told."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store import StoreUnavailable
from store.leases import Status

from .registry import TTL, MakeRecord, Registry


@pytest.mark.parametrize("deaf", ["turns", "writes"])
def test_while_nobody_can_be_heard_nobody_dies(
    registry: Registry, make_record: MakeRecord, deaf: str
) -> None:
    """An event loop that stands, or a store that does not write: beats are lost."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    setattr(registry, deaf, False)

    for _ in range(10 * TTL * 2):
        registry.pass_by(0.5)
        registry.keeper.turn()
        assert registry.status() is not Status.DEAD
        registry.repo.delete_expired()

    setattr(registry, deaf, True)
    registry.run(0.5)
    assert registry.left() == TTL


def test_a_store_that_is_away_is_asked_until_it_is_back(
    registry: Registry, make_record: MakeRecord, tmp_path: Path
) -> None:
    """Lease time stands still until the re-arm was committed."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    registry.pass_by(100)
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        registry.run(1)
        assert registry.status() is not Status.DEAD

    registry.run(1)

    assert registry.left() > TTL - 1
    assert registry.status() is Status.LATE


def test_a_store_that_fails_stops_lease_time_at_once(
    registry: Registry, make_record: MakeRecord, tmp_path: Path
) -> None:
    """A gap is two seconds; whoever beats every second would be dead by then."""
    registry.repo.register(make_record(ttl_seconds=2))
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            registry.repo.update_heartbeat("summariser-1")
        for _ in range(20):
            registry.run(0.5)
            assert registry.status() is not Status.DEAD


@pytest.mark.parametrize("away", ["turns", "writes", "lock"])
def test_the_scheduler_is_woken_behind_a_step_whatever_fails(
    registry: Registry, make_record: MakeRecord, tmp_path: Path, away: str
) -> None:
    """It would sleep for the hour, and with it what feeds systemd's watchdog."""
    registry.repo.register(make_record(ttl_seconds=TTL))
    setattr(registry, away, False)
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        if away == "lock":
            other.execute("BEGIN IMMEDIATE")

        registry.pass_by(0.5, step=-3600)
        registry.keeper.turn()

        assert registry.clock.standstill is not None
        assert registry.replanned_at == registry.wall


def test_a_standstill_is_told_once(
    registry: Registry, make_record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """Since when, why, and how many leases were re-armed at its end."""
    caplog.set_level(logging.INFO, "daemon.lease_keeper")
    registry.repo.register(make_record())
    registry.turns = False
    registry.run(10)
    registry.turns = True
    registry.run(10)

    told = [(one.action, one.cause) for one in caplog.records]  # type: ignore[attr-defined] # our own fields
    assert told == [("lease_time_stands", "stall"), ("rearmed", "stall")]


@pytest.mark.parametrize("fault", ["turns", "writes"])
def test_a_standstill_without_end_is_told(registry: Registry, fault: str) -> None:
    """Half a minute may pass, as at a start; then it needs somebody."""
    setattr(registry, fault, False)
    seen = []

    for _ in range(3):
        registry.run(17)
        seen.append(registry.keeper.overdue)
    setattr(registry, fault, True)
    registry.run(1)

    assert seen == [False, True, True]
    assert not registry.keeper.overdue


def test_a_dead_keeper_is_noticed(registry: Registry) -> None:
    """By who asks: lease time stands still, and the watchdog is to act."""
    assert not registry.keeper.stuck

    registry.pass_by(31)

    assert registry.keeper.stuck
    assert registry.keeper.overdue


def test_a_rearm_that_gets_on_is_not_ill_and_one_that_does_not_is(
    registry: Registry, make_record: MakeRecord
) -> None:
    """That of many leases may take long; a gap in each attempt makes it endless."""
    for number in range(400):
        registry.repo.register(make_record(f"agent-{number}", ttl_seconds=TTL))
    gaps = False
    seen = []

    def loop_turns() -> bool:
        seen.append(registry.keeper.overdue)
        for _ in range(10):
            registry.pass_by(1.5)
            registry.clock.turn(hears=True)
        registry.pass_by(3 if gaps else 0)
        return True

    registry.loop_turns = loop_turns  # type: ignore[method-assign]
    registry.pass_by(10)
    registry.keeper.turn()
    assert registry.clock.standstill is None
    assert not any(seen)
    gaps = True
    for _ in range(4):
        registry.keeper.turn()

    assert seen[-1]
