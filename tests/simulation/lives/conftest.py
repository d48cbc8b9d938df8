"""What lives of a registry are compared with, and what befalls it in them."""

import math
import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from daemon.lease_clock import GAP_SECONDS
from daemon.lease_keeper import TURN_SECONDS

#: Shorter silences count as listening; and of a longer one, this much of its
#: beginning, in which nobody can know yet how long it will be.
SHORT_SECONDS = GAP_SECONDS + 1.2 * TURN_SECONDS


class Row:
    """What the model knows of an agent."""

    def __init__(self, ttl: int, heard: float, begun: float) -> None:
        self.ttl = ttl
        #: When it was last heard, in listening time.
        self.heard = heard
        #: What its lease has used up in long stretches, and of the last one perhaps.
        self.spent = self.perhaps = 0.0
        #: Where in this stretch it was heard.
        self.begun = begun
        #: Sweeps since it is due for certain, but for those amid its own hold; and
        #: since when that one is on, at the latest.
        self.sweeps = 0
        self.held_since = 0.0


class Model:
    """What is true of agents, whatever keeps them.

    It knows how long the registry could be heard, twice: at most, so that whoever
    was silent for less than a TTL of it must live; and at least, so that whoever
    used up every re-arm must be dead, and gone after a hold and a few sweeps before
    and behind it.
    """

    #: What a stop costs at most: lease time runs again a turn or two after it could.
    SLACK = 2.5
    #: In a stretch that was shorter, the re-arm before it may have been cut short;
    #: it counts against nobody, and may have given one more.
    REARM = 3.0
    #: A lease, and three re-arms of it.
    LEASES = 4
    #: Sweeps that remove a whole fleet, three agents at a time, and one to spare.
    SWEEPS = 8

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.listening = 0.0
        self.certain = 0.0
        self.longest_hold = 0.0
        self._stretch = 0.0

    def listened(self, seconds: float, *, sure: bool) -> None:
        """Let the registry listen; not `sure`: for so long at most."""
        self.listening += seconds
        if sure:
            self._stretch += seconds
        elif self._stretch:
            self.disturbed()

    def disturbed(self, forgets: float = 0) -> None:
        """Let something happen after which leases are re-armed, once at least.

        A process that crashes may forget some seconds in which it listened.
        """
        for row in self.rows.values():
            row.spent = max(0, self._spent(row) - forgets)
            row.perhaps = self._of_stretch(row, forgets)
            row.begun = 0
        self.certain += max(0, self._stretch - self.SLACK - forgets)
        self._stretch = 0

    def register(self, agent_id: str, ttl: int, at: float) -> None:
        """Let an agent register."""
        self.rows[agent_id] = Row(ttl, at, self._stretch)

    def heard(self, agent_id: str, at: float) -> None:
        """Let an agent beat, at an instant of listening time."""
        self.register(agent_id, self.rows[agent_id].ttl, at)

    def removed(self, agent_ids: Iterable[str]) -> None:
        """Let a sweep remove agents."""
        for agent_id in agent_ids:
            self.shown(agent_id, "dead")
            del self.rows[agent_id]

    def swept(self) -> None:
        """Let a sweep be over that nothing disturbed."""
        for row in self.rows.values():
            if not self._is_due(row):
                continue
            if row.sweeps < self.SWEEPS:  # in them, those of a hold before it went
                row.held_since = self.certain
                row.sweeps += 1
            row.sweeps += self.certain - row.held_since > self.longest_hold
            assert row.sweeps <= 2 * self.SWEEPS

    def shown(self, agent_id: str, status: str) -> None:
        """Judge what a reader is told."""
        row = self.rows[agent_id]
        if status in {"dead", "held"}:
            assert self.listening - row.heard > row.ttl - 0.001, f"{agent_id} early"
        else:
            assert not self._is_due(row), f"{agent_id} still alive"

    def _is_due(self, row: Row) -> bool:
        return self._spent(row) + self._of_stretch(row) > self.LEASES * row.ttl

    def _spent(self, row: Row) -> float:
        return row.spent + (row.perhaps if self._stretch >= self.REARM else 0)

    def _of_stretch(self, row: Row, forgets: float = 0) -> float:
        known = self._stretch - self.SLACK - forgets
        return max(0, known - row.begun)


class Weather:
    """Faults of a machine: some kinds at a time, more or less often."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.random = world.random
        self.machine, self.model = world.machine, world.model
        self.file = sqlite3.connect(world.registry.path, isolation_level=None)
        #: Why nobody is heard for longer than the registry needs to notice.
        self.unheard: list[Callable[[], bool]] = []
        self.locked: object | None = None
        self.failing: object | None = None
        self.stalled: object | None = None
        own = (self.pause, self.step, self.lock, self.fail, self.stall, self.lurk)
        self.faults = [*own, *world.faults]
        world.after(0, self.change)
        world.after(1, self.strike)

    def listens(self) -> tuple[bool, bool]:
        """Tell whether the registry can be heard, as far as it knows; and for sure."""
        self.unheard = [lasts for lasts in self.unheard if lasts()]
        faults = {self.stalled, self.locked, self.failing}
        return not self.unheard, faults == {None}

    def clear(self) -> None:
        """Let be over what ends with the process."""
        self.unlock(self.locked)
        self.mend(self.failing)
        self.wake(self.stalled)

    def somehow(self, least: float, most: float) -> float:
        """Draw a duration, each order of size as likely as the others."""
        return math.exp(self.random.uniform(math.log(least), math.log(most)))

    def change(self) -> None:
        """Let other faults come, more or less often, by chance or regularly."""
        self.present = self.random.sample(self.faults, self.random.randint(1, 4))
        calm = self.somehow(1, 300)
        regular = self.random.random() < 0.5
        self.calm_seconds = lambda: (
            calm
            * (self.random.uniform(0.8, 1) if regular else self.random.expovariate(1))
        )
        self.world.after(self.random.uniform(60, 3000), self.change)

    def strike(self) -> None:
        """Let one fault come, or several upon each other, and perhaps a sweep."""
        self.world.after(self.calm_seconds(), self.strike)
        while True:
            fault = self.random.choice(self.present)
            self.world.story.append(f"  {fault.__name__}")
            fault()
            if self.random.random() < 0.7:
                break
        if self.random.random() < 0.3:
            self.world.sweep()

    def jump(self, seconds: float) -> None:
        """Let time pass in which the process does not run."""
        self.machine.seconds += seconds
        self.model.disturbed()
        if seconds <= GAP_SECONDS:
            self.model.listened(seconds, sure=False)

    def pause(self) -> None:
        """Stop the process and let it go on, as SIGSTOP does, or a suspended VM."""
        seconds = self.somehow(0.1, self.random.choice([5, 100, 10_000]))
        self.jump(seconds)
        if self.random.random() < 0.2:
            self.step(-seconds)  # the wall clock stood still as well

    def step(self, seconds: float | None = None) -> None:
        """Step the wall clock, within a day of the true time."""
        if seconds is None:
            size = self.somehow(0.6, 86_400)
            seconds = -math.copysign(size, self.machine.stepped + 1)
            if self.random.random() < 0.5 and abs(self.machine.stepped) < size:
                seconds = -seconds
        self.machine.stepped += seconds
        self.model.disturbed()

    def lurk(self) -> None:
        """Let a fault strike in the midst of what reads the clocks: often, a re-arm."""
        if self.random.random() < 0.7:
            self.pause()
        reads = self.random.randint(1, 60)

        def crash() -> None:
            # The store's threads read too; they end where they wait for work.
            if threading.current_thread() is threading.main_thread():
                raise SystemExit

        strike = self.random.choice([self.pause, self.step, crash])

        def on_read() -> None:
            nonlocal reads
            reads -= 1
            if reads == 0:
                self.machine.on_read = lambda: None
                strike()

        self.machine.on_read = on_read

    def lock(self) -> None:
        """Let another process hold the file for a while: nothing is written."""
        if self.locked is not None:
            return
        self.locked = locked = object()
        self.file.execute("BEGIN IMMEDIATE")
        self.model.disturbed()
        self.world.after(self.somehow(0.5, 60), lambda: self.unlock(locked))

    def unlock(self, locked: object) -> None:
        """Let go of the file, unless that was done and it was locked again."""
        if locked is self.locked is not None:
            self.file.execute("ROLLBACK")
            self.locked = None
            self.model.disturbed()

    def fail(self) -> None:
        """Let the disk fail, or be full, for a while: no commit succeeds."""
        if self.failing is not None:
            return
        self.failing = failing = object()
        self.machine.disk_fails = self.random.choice(
            [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE]
        )
        self.model.disturbed()
        self.world.after(self.somehow(0.5, 60), lambda: self.mend(failing))

    def mend(self, failing: object) -> None:
        """Let the disk do as it should, unless that was done and it failed again."""
        if failing is self.failing is not None:
            self.machine.disk_fails = 0
            self.failing = None
            self.model.disturbed()

    def refused(self) -> None:
        """Note that a write failed: from now on the registry knows."""
        known = {self.locked, self.failing} - {None}
        assert known
        self.deafen(lambda: bool(known & {self.locked, self.failing}))

    def stall(self) -> None:
        """Let the event loop do nothing for a while."""
        if self.stalled is not None:
            return
        self.stalled = stalled = object()
        self.machine.loop_turns = False
        self.model.disturbed()
        self.deafen(lambda: stalled is self.stalled)
        self.world.after(self.somehow(0.5, 100), lambda: self.wake(stalled))

    def wake(self, stalled: object) -> None:
        """Let the event loop turn, unless that was done and it stalled again."""
        if stalled is self.stalled is not None:
            self.machine.turn_loop()
            self.stalled = None
            self.model.disturbed()

    def deafen(self, lasts: Callable[[], bool]) -> None:
        """Let nobody be heard from soon on, while the fault lasts."""
        self.world.after(SHORT_SECONDS, lambda: self.unheard.append(lasts))


@pytest.fixture
def model() -> Model:
    """Return a model that knows nobody."""
    return Model()


@pytest.fixture
def weather() -> type[Weather]:
    """Return what makes a world's weather."""
    return Weather
