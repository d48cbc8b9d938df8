"""A heartbeat and a sweep that meet at the deadline: one of them wins, for both."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store import AgentRecord, Storage, create_storage_backend

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TTL = timedelta(seconds=60)
DEADLINE = NOON + TTL


@pytest.fixture
def at_the_deadline(store_url: str) -> Iterator[Storage]:
    """Return a store where it is one TTL after noon."""
    storage = create_storage_backend(
        store_url, clock=lambda: DEADLINE, synchronous="normal"
    )
    yield storage
    storage.database.close()


@pytest.mark.parametrize(
    "rounds", [1_000, pytest.param(10_000, marks=pytest.mark.torture)]
)
def test_a_beat_at_the_deadline_is_answered_by_a_whole_ttl_or_refused(
    at_the_deadline: Storage,
    make_record: Callable[..., AgentRecord],
    rounds: int,
) -> None:
    """Let go at the same moment, in either order: who is renewed stays, others go."""
    repo = at_the_deadline.agents
    barrier = threading.Barrier(2)

    def meet(call: Callable[..., Any], *args: Any) -> Any:
        barrier.wait()
        return call(*args)

    seen = set()
    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds):
            agent_id = f"agent-{number}"
            repo.add(
                make_record(agent_id, last_heartbeat=NOON, ttl_seconds=TTL.seconds)
            )
            race = [
                (repo.update_heartbeats, [agent_id]),
                (repo.delete_expired,),
            ]
            racing = [
                pool.submit(meet, *one) for one in race[:: 1 if number % 2 else -1]
            ]
            beat, swept = (one.result() for one in racing[:: 1 if number % 2 else -1])
            kept = repo.get(agent_id)
            seen.add((bool(beat), swept, kept and kept.expires_at))
            repo.delete(agent_id)

    assert seen == {(True, 0, DEADLINE + TTL), (False, 1, None)}
