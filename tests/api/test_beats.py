"""How heartbeats are gathered into batches, and each is answered."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from api.beats import HeartbeatGatherer
from store import (
    AgentNotFound,
    AgentRecord,
    AgentRegistryRepository,
    Lease,
    Storage,
    StoreUnavailable,
)
from store.sqlite import SqliteAgentRegistryRepository


class HeldRepository(SqliteAgentRegistryRepository):
    """A repository whose batches wait until the test lets them go."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.database)  # type: ignore[arg-type] # SQLite's own
        self.batches: list[tuple[list[str], Future[Any]]] = []

    def submit(self, method: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        """Keep the batch; `let_go` runs it."""
        (agent_ids,) = args
        held: Future[Any] = Future()
        self.batches.append((list(agent_ids), held))
        return held

    def let_go(self) -> None:
        """Write the oldest batch that is held."""
        agent_ids, held = self.batches.pop(0)
        held.set_result(self.update_heartbeats(agent_ids))

    def fail(self) -> None:
        """Let the oldest batch that is held fail."""
        self.batches.pop(0)[1].set_exception(StoreUnavailable("the disk is full"))


@pytest.fixture
def held(storage: Storage, make_record: Callable[..., AgentRecord]) -> HeldRepository:
    """Return a repository of two agents, whose batches are held."""
    repository = HeldRepository(storage)
    for agent_id, ttl_seconds in (("a", 60), ("b", 61)):
        repository.add(make_record(agent_id, ttl_seconds=ttl_seconds))
    return repository


async def turns(count: int = 12) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_beats_of_one_turn_are_one_batch(held: HeldRepository) -> None:
    """Whatever was read from the sockets together is written together."""

    async def beat() -> None:
        beats = HeartbeatGatherer(held)
        both = [beats.renew("a"), beats.renew("b")]
        await turns()

        assert [agent_ids for agent_ids, _ in held.batches] == [["a", "b"]]
        held.let_go()
        assert all(isinstance(lease, Lease) for lease in await asyncio.gather(*both))

    asyncio.run(beat())


def test_beats_that_arrive_during_a_batch_form_the_next(held: HeldRepository) -> None:
    """There is one batch under way at a time, and nobody is forgotten."""

    async def beat() -> None:
        beats = HeartbeatGatherer(held)
        first = beats.renew("a")
        await turns()
        second, third = beats.renew("b"), beats.renew("a")
        await turns()
        assert [agent_ids for agent_ids, _ in held.batches] == [["a"]]

        held.let_go()
        await first
        await turns()
        assert [agent_ids for agent_ids, _ in held.batches] == [["b", "a"]]
        assert not second.done()

        held.let_go()
        await asyncio.gather(second, third)

    asyncio.run(beat())


def test_each_beat_of_a_batch_gets_its_own_answer(held: HeldRepository) -> None:
    """Known, unknown and repeated ids do not mix."""

    async def beat() -> list[Lease | BaseException]:
        beats = HeartbeatGatherer(held)
        waiting = [beats.renew(agent_id) for agent_id in ("a", "gone", "a", "b")]
        await turns()
        held.let_go()
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, gone, again, other = asyncio.run(beat())

    assert isinstance(gone, AgentNotFound)
    assert isinstance(first, Lease)
    assert isinstance(other, Lease)
    assert first == again
    assert (first.ttl_seconds, other.ttl_seconds) == (60, 61)
    assert other.expires_at - first.expires_at == timedelta(seconds=1)


def test_a_batch_that_fails_fails_alone(held: HeldRepository) -> None:
    """The next one is written."""

    async def beat() -> None:
        beats = HeartbeatGatherer(held)
        first = beats.renew("a")
        await turns()
        second = beats.renew("b")
        held.fail()
        with pytest.raises(StoreUnavailable):
            await first
        await turns()
        held.let_go()

        assert isinstance(await second, Lease)

    asyncio.run(beat())


def test_a_client_that_goes_away_loses_nobody_elses_answer(
    held: HeldRepository,
) -> None:
    """Its future is cancelled while the batch is under way."""

    async def beat() -> None:
        beats = HeartbeatGatherer(held)
        gone, stays = beats.renew("a"), beats.renew("b")
        await turns()
        gone.cancel()
        held.let_go()

        assert isinstance(await stays, Lease)

    asyncio.run(beat())


def test_a_store_that_is_closed_is_told_to_each(storage: Storage) -> None:
    """And the gatherer is not stuck."""
    storage.database.open()
    storage.database.close()

    async def beat() -> None:
        beats = HeartbeatGatherer(storage.agents)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await beats.renew("a")

    asyncio.run(beat())


def test_every_event_loop_has_batches_of_its_own(
    repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
) -> None:
    """A test client brings a loop for every request."""
    repo.add(make_record("a"))
    beats = HeartbeatGatherer(repo)

    async def beat() -> Lease:
        return await beats.renew("a")

    leases: Sequence[Lease] = [asyncio.run(beat()) for _ in range(2)]

    assert leases[0].expires_at < leases[1].expires_at
