"""A machine whose time a test moves, and what judges leases in a daemon, on it."""

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.intake import Intake
from daemon.lease_clock import LeaseClock
from daemon.lease_keeper import TURN_SECONDS, LeaseKeeper
from store import GuardRules, SqliteAgentRegistryRepository, SqliteRegistryDatabase

_START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Machine:
    """A wall clock, a running time, and an event loop."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        #: What the wall clock has been stepped by, in all.
        self.stepped = 0.0
        self.loop_turns = True
        #: Called each time a clock is read: time may pass between any two lines.
        self.on_read: Callable[[], None] = lambda: None
        self._waiting: list[Callable[[], None]] = []

    def wall(self) -> datetime:
        """Read the wall clock."""
        self.on_read()
        return _START + timedelta(seconds=self.seconds + self.stepped)

    def running(self) -> float:
        """Read the running time."""
        self.on_read()
        return self.seconds

    def call_on_loop(self, call: Callable[[], None]) -> None:
        """Call from the event loop: at once, or when it turns again."""
        self._waiting.append(call)
        if self.loop_turns:
            self.turn_loop()

    def turn_loop(self) -> None:
        """Let the event loop turn."""
        self.loop_turns = True
        while self._waiting:
            self._waiting.pop()()


class Registry:
    """The parts of a daemon that judge leases, all real, on a machine."""

    def __init__(
        self, machine: Machine, path: Path, guard: GuardRules | None = None
    ) -> None:
        self.machine = machine
        self.path = path
        self._guard = guard
        self.start()

    def start(self) -> None:
        """Begin as a process does, on the file that the one before it left."""
        machine = self.machine
        self.clock = LeaseClock(wall=machine.wall, running=machine.running)
        # A power cut is not simulated; and a lock is not waited for in real time.
        self._database = SqliteRegistryDatabase(
            self.path, synchronous="off", reader_threads=1
        )
        self._database.writing.timeout = 0
        self.repo = SqliteAgentRegistryRepository(
            self._database,
            clock=machine.wall,
            lease_time=self.clock,
            guard=self._guard,
        )
        self._database.open()
        self.clock.begin(self.repo.listening())
        self.keeper = LeaseKeeper(
            self.repo, self.clock, Intake(machine.call_on_loop, self.repo)
        )

    def kill(self) -> None:
        """End without a word."""
        self._database.close()
        self.machine.turn_loop()

    def stop(self) -> None:
        """End as asked to."""
        self.keeper._over.set()  # its own thread ends before its first turn
        self.keeper.start()
        self.keeper.stop()
        self._database.checkpoint()
        self.kill()

    def run(self, seconds: float) -> None:
        """Let time pass, with a turn every half second."""
        for _ in range(round(seconds / TURN_SECONDS)):
            self.machine.seconds += TURN_SECONDS
            self.keeper.turn()


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
        #: Since when it is due for certain, and sweeps that could have taken it.
        self.due_since: float | None = None
        self.sweeps = 0


class Model:
    """What is true of agents, whatever keeps them.

    It knows how long the registry could be heard, twice: at most, so that whoever
    was silent for less than a TTL of it must live; and at least, so that whoever
    used up every re-arm must be dead, and gone after a hold and a few sweeps.
    """

    #: What a stop costs at most: the last instant of listening may be stored ten
    #: seconds late, and lease time runs again a turn or two after it could.
    SLACK = 13.0
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

    def disturbed(self) -> None:
        """Let something happen after which leases are re-armed, once at least."""
        for row in self.rows.values():
            row.spent = self._spent(row)
            if self._stretch < self.REARM:
                row.spent = min(row.spent, (self.LEASES - 1) * row.ttl)
            row.perhaps = self._of_stretch(row)
            row.begun = 0
        self.certain += max(0, self._stretch - self.SLACK)
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
            if row.due_since is None:
                row.due_since = self.certain
            row.sweeps += self.certain - row.due_since > self.longest_hold
            assert row.sweeps <= self.SWEEPS

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

    def _of_stretch(self, row: Row) -> float:
        if self._stretch < row.ttl / 3 + self.SLACK:
            return 0
        return max(0, self._stretch - row.begun - self.SLACK)


@pytest.fixture
def model() -> Model:
    """Return a model that knows nobody."""
    return Model()


@pytest.fixture
def machine() -> Machine:
    """Return a machine."""
    return Machine()


@pytest.fixture
def make_registry(
    machine: Machine, tmp_path: Path
) -> Iterator[Callable[..., Registry]]:
    """Return a function that starts a registry on `machine`, on a file of its own."""
    made: list[Registry] = []

    def make(guard: GuardRules | None = None) -> Registry:
        made.append(Registry(machine, tmp_path / f"{len(made)}.db", guard))
        return made[-1]

    yield make
    for registry in made:
        registry.kill()


@pytest.fixture
def _on_one_processor() -> Iterator[None]:
    """Keep to one processor, where threads hand work to each other twice as fast."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})
    yield
    os.sched_setaffinity(0, allowed)
