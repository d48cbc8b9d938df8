"""How agents live and die under a frozen clock, on every repository."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from store import AgentRecord, AgentRegistryRepository, Outcome, Storage

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def living(repo: AgentRegistryRepository) -> list[str]:
    """Return the ids that a plain listing shows."""
    return [agent.agent_id for agent in repo.list_all()]


def known(repo: AgentRegistryRepository) -> list[str]:
    """Return the ids that are stored, dead or alive."""
    return [agent.agent_id for agent in repo.list_all(include_dead=True)]


def test_an_agent_is_alive_until_one_microsecond_before_its_deadline(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """The last instant of a lease is still life, for readers and for the sweep."""
    with freeze_time(NOON):
        record = repo.register(make_record()).record

    with freeze_time(NOON + 60 * SECOND - MICROSECOND):
        assert record.is_alive()
        assert living(repo) == ["summariser-1"]
        assert repo.delete_expired() == 0


def test_an_agent_is_dead_at_its_deadline(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """Dead when now is the deadline, for readers and for the sweep."""
    with freeze_time(NOON):
        record = repo.register(make_record()).record

    with freeze_time(NOON + 60 * SECOND):
        assert not record.is_alive()
        assert living(repo) == []
        assert repo.delete_expired() == 1


def test_each_agent_lives_by_its_own_ttl(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Agents registered together die apart."""
    for ttl_seconds in (5, 50, 500):
        repo.register(make_record(f"ttl-{ttl_seconds}", ttl_seconds=ttl_seconds))

    frozen.tick(5)
    after_5 = living(repo)
    frozen.tick(45)

    assert after_5 == ["ttl-50", "ttl-500"]
    assert living(repo) == ["ttl-500"]


def test_a_beat_moves_the_deadline(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """A full TTL is granted from the beat on."""
    repo.register(make_record())
    frozen.tick(59)
    repo.update_heartbeat("summariser-1")
    frozen.tick(60 * SECOND - MICROSECOND)
    before = living(repo)
    frozen.tick(MICROSECOND)

    assert before == ["summariser-1"]
    assert living(repo) == []


def test_registering_again_renews_and_keeps_registered_at(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """The lease starts anew; the life goes on."""
    repo.register(make_record())
    frozen.tick(59)

    record = repo.register(make_record()).record

    assert record.registered_at == NOON
    assert record.expires_at == NOON + 119 * SECOND


def test_a_shorter_ttl_holds_from_the_registration_on(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """The last registration is the complete wish of the agent."""
    repo.register(make_record(ttl_seconds=600))
    repo.register(make_record(ttl_seconds=5))
    frozen.tick(5)

    assert living(repo) == []


def test_reads_show_an_agent_dead_before_any_sweep(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """A late sweep never makes a dead agent look alive."""
    repo.register(make_record())
    frozen.tick(60)

    record = repo.get("summariser-1")

    assert record is not None
    assert not record.is_alive()
    assert living(repo) == []


def test_include_dead_shows_what_is_not_swept(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Dead agents stay listed on request, until the sweep takes them."""
    repo.register(make_record("dead"))
    frozen.tick(60)
    repo.register(make_record("living"))

    before = known(repo)
    repo.delete_expired()

    assert before == ["dead", "living"]
    assert known(repo) == ["living"]


def test_a_beat_revives_a_dead_agent_that_was_not_swept(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """It is shown again, and the sweep leaves it."""
    repo.register(make_record())
    frozen.tick(3600)

    record = repo.update_heartbeat("summariser-1")

    assert record.expires_at == NOON + 3660 * SECOND
    assert living(repo) == ["summariser-1"]
    assert repo.delete_expired() == 0


def test_the_sweep_removes_the_dead_and_nothing_else(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """It returns how many they were; swept twice is swept once."""
    for ttl_seconds in (1, 30, 59, 60, 61, 90):
        repo.register(make_record(f"ttl-{ttl_seconds}", ttl_seconds=ttl_seconds))
    repo.register(make_record("beating", ttl_seconds=30))
    frozen.tick(29)
    repo.update_heartbeat("beating")
    frozen.tick(30)
    repo.update_heartbeat("ttl-1")
    frozen.move_to(NOON + 60 * SECOND - MICROSECOND)
    repo.update_heartbeat("ttl-1")
    frozen.tick(MICROSECOND)

    removed = [repo.delete_expired(), repo.delete_expired()]

    assert removed == [4, 0]
    assert known(repo) == ["ttl-1", "ttl-61", "ttl-90"]


def test_a_swept_agent_registers_as_new(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Nothing is remembered of it."""
    repo.register(make_record())
    frozen.tick(60)
    repo.delete_expired()

    assert repo.register(make_record()).outcome is Outcome.CREATED


def test_two_sweeps_share_the_dead_between_them(
    make_storage: Callable[..., Storage], make_record: MakeRecord
) -> None:
    """Two repositories that sweep at once remove every row exactly once."""
    first, second = make_storage().agents, make_storage().agents
    adding = [
        first.submit(first.add, make_record(f"agent-{n}", last_heartbeat=NOON))
        for n in range(1200)
    ]
    for added in adding:
        added.result()

    with freeze_time(NOON + 60 * SECOND):
        removed: list[int] = []
        threads = [
            threading.Thread(
                target=lambda repo=repo: removed.append(repo.delete_expired())
            )
            for repo in (first, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sum(removed) == 1200
    assert known(first) == []


@pytest.mark.parametrize("later", [0, 1, 3600])
def test_life_depends_on_no_clock_but_the_one_given(
    make_storage: Callable[..., Storage], make_record: MakeRecord, later: int
) -> None:
    """A repository with a clock of its own ignores the machine's."""
    repo = make_storage(clock=lambda: NOON).agents
    repo.register(make_record(ttl_seconds=1))

    with freeze_time(NOON + later * SECOND):
        assert repo.delete_expired() == 0
        assert living(repo) == ["summariser-1"]
