"""Leases that are re-armed: the rule, and the SQL that does as it says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from freezegun.api import FrozenDateTimeFactory

from store import (
    AgentRecord,
    AgentRegistryRepository,
    SqliteAgentRegistryRepository,
    Storage,
    create_storage_backend,
)
from store.leases import MAX_REARMS, Rearmed, Status, rearmed

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

TTL = 60


@pytest.fixture
def repo(storage: Storage) -> AgentRegistryRepository:
    """Return the repository of `storage`."""
    return storage.agents


class Standing:
    """Lease time that stands still at noon."""

    generation = 0

    def now(self) -> datetime:
        """Return noon."""
        return NOON


def always() -> bool:
    """Keep on re-arming."""
    return True


@pytest.mark.parametrize("stood", [-HOUR, timedelta(0), 10 * SECOND, HOUR])
def test_the_database_rearms_by_the_rule(
    storage: Storage,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
    stood: timedelta,
) -> None:
    """Whatever is left of a lease, however often, either way."""
    repo = storage.agents
    lefts = [NOON + left * SECOND for left in (1, 39.999999, 40, 40.000001, 59, 600)]
    before = {
        f"agent-{number}": Rearmed(*lease)
        for number, lease in enumerate(product(lefts, (0, 0.7, 1, 1.95, 3, 3.3, 4)))
    }
    for agent_id, lease in before.items():
        repo.add(make_record(agent_id, ttl_seconds=TTL, **lease._asdict()))
    frozen.move_to(NOON + stood)

    assert repo.rearm(NOON, always) == len(before)

    found = {
        agent.agent_id: Rearmed(agent.expires_at, agent.rearms)
        for agent in repo.list_all(include_dead=True)
    }
    assert found == {
        agent_id: rearmed(
            lease.expires_at, TTL, lease.rearms, stopped_at=NOON, now=NOON + stood
        )
        for agent_id, lease in before.items()
    }


@pytest.mark.parametrize("left", [1, 45, 60])
@pytest.mark.parametrize("rearms", [0, 1, 3.3])
def test_behind_a_step_back_it_counts_by_the_clock_before(
    storage: Storage,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
    left: float,
    rearms: float,
) -> None:
    """Lease time was moved back already; the deadlines of the living were not."""
    repo = storage.agents
    expires_at = NOON + left * SECOND
    repo.add(make_record(ttl_seconds=TTL, expires_at=expires_at, rearms=rearms))
    frozen.move_to(NOON - HOUR)

    repo.rearm(NOON - HOUR, always, NOON)

    found = repo.get("summariser-1")
    rule = rearmed(
        expires_at, TTL, rearms, stopped_at=NOON - HOUR, now=NOON - HOUR, heard_at=NOON
    )
    assert found is not None
    assert Rearmed(found.expires_at, found.rearms) == rule
    assert (rule.rearms > rearms) == (left < TTL or rearms == 0)


AGAIN = NOON + HOUR + TTL * SECOND


@pytest.mark.parametrize(
    ("rearms", "ran_seconds", "expected"),
    [
        (0, 0, Rearmed(AGAIN, 1)),
        (0, 50, Rearmed(AGAIN, 1)),
        (1, 20, Rearmed(AGAIN, 2)),
        (2, 59, Rearmed(AGAIN, 3)),
        (3, 20, Rearmed(NOON, 4)),
        (1, 5, Rearmed(AGAIN, 1.25)),
        (3, 15, Rearmed(AGAIN, 3.75)),
        (3.75, 5, Rearmed(NOON, 4)),
        (3, -100, Rearmed(AGAIN, 3)),  # re-armed already: this one is done anew
    ],
)
def test_a_full_ttl_is_given_three_times(
    rearms: float, ran_seconds: float, expected: Rearmed
) -> None:
    """Then the lease ends; what was a part of a chance counts in part."""
    found = rearmed(
        NOON + (TTL - ran_seconds) * SECOND,
        TTL,
        rearms,
        stopped_at=NOON,
        now=NOON + HOUR,
    )

    assert found == expected


def test_a_step_back_during_a_rearm_ends_no_lease(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Lease time still stands where it stood; there the lease is valid."""
    repo.add(make_record(last_heartbeat=NOON))
    frozen.move_to(NOON - HOUR)

    repo.rearm(NOON, always)

    found = repo.get("summariser-1")
    assert found is not None
    assert found.is_alive(NOON)


@pytest.mark.parametrize("renew", ["register", "update_heartbeats", "renew_all"])
@pytest.mark.parametrize("known", [True, False])
def test_who_is_heard_behind_a_step_back_lives(
    store_url: str,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
    renew: str,
    known: bool,  # noqa: FBT001 - a parameter
) -> None:
    """While lease time stands at the hour that comes again, and after its re-arm."""
    storage = create_storage_backend(store_url, lease_time=Standing())
    repo = storage.agents
    if known or renew != "register":  # dead, and not swept yet
        repo.add(make_record(last_heartbeat=NOON - 2 * TTL * SECOND, ttl_seconds=TTL))
    frozen.move_to(NOON - HOUR)

    record = make_record(ttl_seconds=TTL)
    getattr(repo, renew)(record if renew == "register" else [record.agent_id])

    (heard,) = repo.list_all()
    repo.move_lease_time(NOON, NOON - HOUR)
    repo.rearm(NOON - HOUR, always)
    rearmed = repo.get(record.agent_id)
    storage.database.close()
    assert heard.is_alive(NOON)
    assert rearmed is not None
    assert rearmed.expires_at == NOON - HOUR + TTL * SECOND


def test_who_was_dead_is_not_rearmed(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Dead at the last instant of listening: at the deadline itself it is."""
    repo.add(make_record(last_heartbeat=NOON - 60 * SECOND))
    frozen.tick(30)

    assert repo.rearm(NOON, always) == 0


def test_a_beat_gives_new_chances(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """So does registering."""
    for renew in (
        lambda: repo.update_heartbeat("summariser-1"),
        lambda: repo.register(make_record()),
    ):
        repo.delete("summariser-1")
        repo.add(make_record(rearms=MAX_REARMS))
        frozen.tick(1)

        renew()

        found = repo.get("summariser-1")
        assert found is not None
        assert found.rearms == 0


def test_a_rearm_reaches_all_in_chunks_and_can_be_cut(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Cut short it says so; begun anew it reaches all, also whom it had reached."""
    for number in range(500):
        repo.add(make_record(f"agent-{number:03d}"))
    frozen.tick(10)
    go_on = iter([True, False])

    assert repo.rearm(NOON, lambda: next(go_on)) is None
    reached = sum(one.rearms for one in repo.list_all())
    frozen.tick(10)
    assert repo.rearm(NOON, always) == 500

    assert 0 < reached < 500
    assert {one.rearms for one in repo.list_all()} == {1}
    assert {one.expires_at for one in repo.list_all()} == {NOON + 80 * SECOND}


def test_a_step_back_leaves_the_dead_dead(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """Who ran out in the hour that comes again has run out."""
    for minutes in (1, 59, 61):
        beat = NOON - minutes * 60 * SECOND
        repo.add(make_record(f"dead-{minutes}", last_heartbeat=beat - 60 * SECOND))
    repo.add(make_record("alive", last_heartbeat=NOON))

    repo.move_lease_time(NOON, NOON - HOUR)

    deadlines = {one.agent_id: one.expires_at for one in repo.list_all(True)}  # noqa: FBT003
    assert deadlines == {
        "alive": NOON + 60 * SECOND,
        "dead-1": NOON - HOUR,
        "dead-59": NOON - HOUR,
        "dead-61": NOON - HOUR - 60 * SECOND,
    }


def test_instants_to_come_become_past_ones(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """After a step back no beat was heard in the future, and beats count on."""
    beaten = {"registered_at": NOON - SECOND, "last_heartbeat": NOON}
    repo.add(make_record("beaten", **beaten))
    repo.add(make_record("silent", last_heartbeat=NOON))
    frozen.move_to(NOON - HOUR)

    repo.rearm(NOON - HOUR, always)

    for found in repo.list_all():
        assert found.last_heartbeat == NOON - HOUR
        assert found.has_beaten == (found.agent_id == "beaten")


class JumpingTime:
    """Lease time that jumps back by an hour while it is asked for the first time."""

    generation = 0

    def __init__(self, jump: Callable[[], object]) -> None:
        self._jump = jump

    def now(self) -> datetime:
        """Return the instant before the jump once, and then the one behind it."""
        if self.generation:
            return NOON - HOUR
        self.generation = 1
        self._jump()
        return NOON


def test_a_reader_is_not_caught_by_a_jump_of_lease_time(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> None:
    """Rows re-armed behind a step back are not judged by the time before it."""
    repo, database = storage
    repo.add(make_record(last_heartbeat=NOON))

    def step_back() -> None:
        frozen.move_to(NOON - HOUR)
        repo.rearm(NOON - HOUR, always)

    reading = SqliteAgentRegistryRepository(
        database,  # type: ignore[arg-type] # SQLite's own
        lease_time=JumpingTime(step_back),
    )

    view = reading.view("summariser-1")

    assert view is not None
    assert view.status is Status.ALIVE
