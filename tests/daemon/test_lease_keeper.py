"""Keeping leases: a real store, and clocks that the test steps."""

import logging
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.lease_clock import Cause, LeaseClock
from daemon.lease_keeper import LeaseKeeper
from store import AgentRecord, StoreUnavailable, create_storage_backend
from store.leases import MAX_REARMS, Status

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TTL = 60

MakeRecord = Callable[..., AgentRecord]


class Registry:
    """A store, its lease clock and its keeper, on a machine whose time a test moves."""

    def __init__(self, folder: Path) -> None:
        self.wall = NOON
        self.running = 1000.0
        self.turns = self.writes = True
        #: The wall clock when the scheduler last had a chance to plan anew.
        self.replanned_at = NOON
        self._path = folder / "registry.db"
        self.start()

    def start(self) -> None:
        """Begin as a process does, with what the one before it left."""
        self.clock = LeaseClock(wall=lambda: self.wall, running=lambda: self.running)
        self.storage = create_storage_backend(
            f"sqlite:///{self._path}",
            synchronous="normal",  # no power is cut here, and turns are many
            clock=lambda: self.wall,
            lease_time=self.clock,
        )
        self.repo = self.storage.agents
        self.storage.database.open()
        self.clock.begin(self.repo.listening())
        self.keeper = LeaseKeeper(
            self.repo, self.clock, self, self._replan, lambda: self.running
        )

    def kill(self) -> None:
        """End without a word."""
        self.storage.database.close()

    def cut_short(self, *, chunks: int) -> None:
        """Turn once, and end in the midst of a re-arm, behind so many chunks."""
        left = 1 + chunks

        def crash() -> bool:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return True

        self.loop_turns = crash  # type: ignore[method-assign]
        with suppress(KeyboardInterrupt):
            self.keeper.turn()
        del self.loop_turns

    def loop_turns(self) -> bool:
        """Answer as an intake does."""
        return self.turns

    def store_writes(self) -> bool:
        """Answer as an intake does."""
        return self.writes

    def store_fails(self) -> bool:
        """Answer as an intake does."""
        return math.isinf(self.repo.write_lag_seconds())

    def run(self, seconds: float) -> None:
        """Let time pass, with a turn every half second."""
        for _ in range(round(seconds * 2)):
            self.pass_by(0.5)
            self.keeper.turn()

    def pass_by(self, seconds: float, *, step: float = 0) -> None:
        """Let time pass without a turn, and step the wall clock besides."""
        self.wall += timedelta(seconds=seconds + step)
        self.running += seconds

    def status(self, agent_id: str = "summariser-1") -> Status | None:
        """Return what a reader is told."""
        view = self.repo.view(agent_id)
        return view and view.status

    def left(self, agent_id: str = "summariser-1") -> float:
        """Return the seconds until the deadline, by the wall clock."""
        record = self.repo.get(agent_id)
        assert record is not None
        return (record.expires_at - self.wall).total_seconds()

    def _replan(self) -> None:
        self.replanned_at = self.wall


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Return a registry that has listened for a minute."""
    registry = Registry(tmp_path)
    registry.run(60)
    yield registry
    registry.kill()


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
