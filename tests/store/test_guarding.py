"""The guard and the database: what a sweep takes, and when."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

import pytest
from freezegun.api import FrozenDateTimeFactory

from store import AgentRecord, AgentRegistryRepository, GuardRules, Storage
from store.clock import utcnow

MakeRecord = Callable[..., AgentRecord]

FLEET, CAP = 2_000, 300
TTL = 60
HOUR = timedelta(hours=1)


class Standing:
    """Lease time that stands where it is put."""

    generation = 0

    def __init__(self) -> None:
        self.at: datetime | None = None

    def now(self) -> datetime:
        """Return the instant."""
        return self.at or utcnow()


@pytest.fixture
def lease_time() -> Standing:
    """Return lease time, which runs until it is stood somewhere."""
    return Standing()


@pytest.fixture
def storage(make_storage: Callable[..., Storage], lease_time: Standing) -> Storage:
    """Open a store whose guard holds for five minutes."""
    rules = GuardRules(hold_most_seconds=300)
    return make_storage(guard=rules, lease_time=lease_time)


@pytest.fixture
def repo(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> AgentRegistryRepository:
    """Return a repository in which a fleet expired at once, and is held."""
    repo = storage.agents
    ids = [f"agent-{number:04}" for number in range(FLEET)]
    repo.register_all([make_record(agent_id, ttl_seconds=TTL) for agent_id in ids])
    frozen.tick(1)
    repo.renew_all(ids)
    frozen.tick(TTL)
    assert repo.sweep().held == FLEET
    return repo


def test_a_sweep_that_is_ended_stops_between_two_chunks(
    repo: AgentRegistryRepository, frozen: FrozenDateTimeFactory
) -> None:
    """The hold stays, and the next one takes no more than it may."""
    frozen.tick(300)
    chunks = count()

    ended = repo.sweep(keep_on=lambda: next(chunks) < 1)

    assert 0 < ended.removed < CAP
    assert not ended.whole
    assert repo.hold() is not None
    assert repo.sweep().removed == CAP


def test_no_sweep_sees_a_hold_on_its_way_through_time(
    repo: AgentRegistryRepository,
    frozen: FrozenDateTimeFactory,
    lease_time: Standing,
) -> None:
    """A clock set back takes the hold with it; lease time must follow first."""
    stood_at = lease_time.at = utcnow()
    frozen.tick(-HOUR)
    removed: list[int] = []
    sweeping = threading.Thread(target=lambda: removed.append(repo.sweep().removed))

    def moved() -> None:
        sweeping.start()
        sweeping.join(0.2)
        lease_time.at = stood_at - HOUR

    repo.move_lease_time(stood_at, stood_at - HOUR, moved)
    sweeping.join()

    assert removed == [0]
