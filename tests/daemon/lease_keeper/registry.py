"""A registry with a real store, on a machine whose clocks a test steps."""

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon.lease_clock import LeaseClock
from daemon.lease_keeper import LeaseKeeper
from store import AgentRecord, create_storage_backend
from store.leases import Status

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
