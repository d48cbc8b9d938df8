"""A machine whose time a test moves, and what judges leases in a daemon, on it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

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
        #: With which of SQLite's result codes commits fail now; 0: they do not.
        self.disk_fails = 0
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


def _on_the_disk_of(machine: Machine) -> type[sqlite3.Connection]:
    """Return a connection whose commits fail as the machine's disk does."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, values: Any = ()) -> Self:
            if sql == "COMMIT" and machine.disk_fails:
                error = sqlite3.OperationalError("the disk of the machine fails")
                error.sqlite_errorcode = machine.disk_fails
                raise error
            return super().execute(sql, values)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    return Connection


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
        self._database.writing.connect_params["factory"] = _on_the_disk_of(machine)
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
