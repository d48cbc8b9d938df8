"""Whether beats can be received, on a slow event loop whose turns a test takes."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.beats import HeartbeatGatherer
from api.gathering import Backlog
from daemon.intake import Intake
from daemon.lease_clock import LeaseClock
from daemon.lease_keeper import TURN_SECONDS, LeaseKeeper
from store import AgentRecord, AgentRegistryRepository, create_storage_backend
from store.leases import Status

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class SlowRegistry:
    """A registry whose event loop takes `turn_seconds` for each of its turns."""

    def __init__(self, path: Path, turn_seconds: float) -> None:
        self.seconds = 0.0
        self.turn_seconds = turn_seconds
        self.loop = asyncio.new_event_loop()
        self.clock = LeaseClock(wall=self.wall, running=lambda: self.seconds)
        self.storage = create_storage_backend(
            f"sqlite:///{path}", clock=self.wall, lease_time=self.clock
        )
        self.repo = self.storage.agents
        backlog = Backlog(lambda: self.seconds)
        self.beats = HeartbeatGatherer(self.repo, backlog=backlog)
        intake = Intake(self.loop.call_soon_threadsafe, self.repo, backlog.wait_seconds)
        self.keeper = LeaseKeeper(self.repo, self.clock, intake)

    def wall(self) -> datetime:
        """Tell the time."""
        return NOON + timedelta(seconds=self.seconds)

    def turn_loop(self) -> None:
        """Take one turn of the loop; the keeper turns beside it as it should."""
        until = self.seconds + self.turn_seconds
        while (next_turn := self.seconds // TURN_SECONDS + 1) * TURN_SECONDS <= until:
            self.seconds = next_turn * TURN_SECONDS
            self.keeper.turn()
        self.seconds = until
        # What the store's threads hand over stands in the loop's queue by now.
        self.repo.count_by_status()
        self.repo.record_listening(self.clock.listening())
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def close(self) -> None:
        """End the beat that waits, if one does, and all the rest."""
        if waiting := asyncio.all_tasks(self.loop):
            for task in waiting:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(waiting))
        self.loop.close()
        self.storage.database.close()

    def status(self) -> Status:
        """Return what a reader is told of the agent."""
        view = self.repo.view("summariser-1")
        assert view is not None
        return view.status


@pytest.fixture
def slow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SlowRegistry]:
    """Return a registry as slow as the test's parameter says."""
    slow = SlowRegistry(tmp_path / "registry.db", request.param)
    yield slow
    slow.close()


@pytest.mark.parametrize("slow", [0.3, 0.7, 0.9, 1.5], indirect=True)
def test_who_beats_on_a_slow_loop_lives(slow: SlowRegistry) -> None:
    """Each turn of the loop is short, but a beat needs several of them."""
    slow.repo.register(
        AgentRecord(
            agent_id="summariser-1", agent_name="n", host="h", port=1, ttl_seconds=6
        )
    )

    async def beat() -> None:
        for _ in range(2):  # until it is accepted, and until it is read
            await asyncio.sleep(0)
        await slow.beats.renew("summariser-1")

    beating: asyncio.Task[None] | None = None
    beat_at = 2.0
    while slow.seconds < 60:
        if beating is None and slow.seconds >= beat_at:
            beating = slow.loop.create_task(beat())
        slow.turn_loop()
        if beating is not None and beating.done():
            beating.result()
            beating, beat_at = None, slow.seconds + 2

        assert slow.status() is not Status.DEAD


def test_a_loop_that_lets_a_beat_wait_serves_none(
    repo: AgentRegistryRepository,
) -> None:
    """However promptly it answers: the beat may stand behind many others."""
    waits = 0.9
    intake = Intake(lambda call: call(), repo, lambda: waits)

    assert intake.loop_turns()
    waits = 1.0
    assert not intake.loop_turns()
    waits = 0.0
    assert intake.loop_turns()
