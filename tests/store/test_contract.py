"""What every repository does, whatever database is behind it: the rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory

from store import (
    AgentAlreadyExists,
    AgentNotFound,
    AgentRecord,
    AgentRegistryRepository,
    Outcome,
    Storage,
)

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def fields(record: AgentRecord | None) -> dict[str, Any] | None:
    """Return every field of a record, to compare two of them whole."""
    return record and dict(record.__data__)


@pytest.mark.usefixtures("frozen")
class TestAdd:
    def test_an_added_record_is_read_back_as_given(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """`add` keeps every field, instants included."""
        record = make_record(
            ttl_seconds=7,
            metadata={"zone": {"name": "b"}, "gpus": [1, 2.5, None, True]},
            last_heartbeat=NOON - SECOND,
            registered_at=NOON - 9 * SECOND,
            expires_at=NOON + timedelta(microseconds=1),
        )

        assert repo.add(record) is record
        assert fields(repo.get("summariser-1")) == fields(record)

    def test_a_taken_id_is_refused_and_its_row_kept(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """`add` never replaces, not even a dead agent."""
        repo.add(make_record(last_heartbeat=NOON - 60 * SECOND))

        with pytest.raises(AgentAlreadyExists, match="'summariser-1'"):
            repo.add(make_record(host="10.0.0.8"))

        assert [agent.host for agent in repo.list_all(include_dead=True)] == [
            "10.0.0.7"
        ]


class TestGet:
    def test_an_unknown_id_has_no_record(self, repo: AgentRegistryRepository) -> None:
        """`get` answers None, and raises nothing."""
        assert repo.get("nobody") is None

    def test_ids_are_exact(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """Neither case nor a wildcard finds another agent."""
        repo.add(make_record("Agent_1"))

        assert [repo.get(other) for other in ("agent_1", "Agent%", "AgentX1")] == [
            None,
            None,
            None,
        ]


class TestRegister:
    def test_a_new_agent_starts_its_lease_now(
        self,
        repo: AgentRegistryRepository,
        make_record: MakeRecord,
        frozen: FrozenDateTimeFactory,
    ) -> None:
        """The record's own instants are ignored."""
        wanted = make_record(
            ttl_seconds=10, metadata={"zone": "b"}, last_heartbeat=NOON - SECOND
        )
        frozen.tick(5)

        outcome, record = repo.register(wanted)

        assert outcome is Outcome.CREATED
        assert fields(record) == fields(wanted) | {
            "last_heartbeat": NOON + 5 * SECOND,
            "registered_at": NOON + 5 * SECOND,
            "expires_at": NOON + 15 * SECOND,
        }
        assert fields(repo.get("summariser-1")) == fields(record)

    @pytest.mark.parametrize(
        ("wanted", "outcome"),
        [
            ({}, Outcome.UNCHANGED),
            ({"agent_name": "Translator"}, Outcome.UPDATED),
            ({"host": "10.0.0.8"}, Outcome.UPDATED),
            ({"port": 8002}, Outcome.UPDATED),
            ({"ttl_seconds": 30}, Outcome.UPDATED),
            ({"metadata": {}}, Outcome.UPDATED),
        ],
    )
    def test_registering_again_replaces_and_renews(
        self,
        repo: AgentRegistryRepository,
        make_record: MakeRecord,
        frozen: FrozenDateTimeFactory,
        wanted: dict[str, Any],
        outcome: Outcome,
    ) -> None:
        """What differs is told; `registered_at` is kept while the agent lives."""
        given = {"metadata": {"zone": "b"}, "ttl_seconds": 60} | wanted
        repo.register(make_record(metadata={"zone": "b"}))
        frozen.tick(59.999999)
        now = repo.now()

        answer = repo.register(make_record(**given))

        assert answer.outcome is outcome
        assert fields(repo.get("summariser-1")) == fields(answer.record)
        assert fields(answer.record) == fields(make_record(**given)) | {
            "last_heartbeat": now,
            "registered_at": NOON,
            "expires_at": now + given["ttl_seconds"] * SECOND,
        }

    @pytest.mark.parametrize("host", ["10.0.0.7", "10.0.0.8"])
    def test_a_dead_agent_is_revived_into_a_new_life(
        self,
        repo: AgentRegistryRepository,
        make_record: MakeRecord,
        frozen: FrozenDateTimeFactory,
        host: str,
    ) -> None:
        """At its deadline an agent is dead: it gets a new `registered_at`."""
        repo.register(make_record())
        frozen.tick(60)

        answer = repo.register(make_record(host=host))

        assert answer.outcome is Outcome.REVIVED
        assert answer.record.registered_at == NOON + 60 * SECOND
        assert fields(repo.get("summariser-1")) == fields(answer.record)

    def test_many_register_at_one_instant(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """As one after the other would; the answers are in the order asked."""
        kept = repo.register(make_record("a")).record
        repo.add(make_record("dead", last_heartbeat=NOON - 3600 * SECOND))
        wanted = [make_record(name) for name in ("new", "a", "dead", "new")]
        wanted.append(make_record("new", port=9000))

        answers = repo.register_all(wanted)

        assert [(done.record.agent_id, done.outcome) for done in answers] == [
            ("new", Outcome.CREATED),
            ("a", Outcome.UNCHANGED),
            ("dead", Outcome.REVIVED),
            ("new", Outcome.UNCHANGED),
            ("new", Outcome.UPDATED),
        ]
        assert len({done.record.last_heartbeat for done in answers}) == 1
        assert answers[1].record.registered_at == kept.registered_at
        for done in (answers[1], answers[2], answers[4]):
            assert fields(repo.get(done.record.agent_id)) == fields(done.record)

    def test_nobody_may_register(self, repo: AgentRegistryRepository) -> None:
        """An empty batch changes nothing."""
        assert repo.register_all([]) == []


class TestHeartbeat:
    def test_a_beat_changes_the_lease_and_nothing_else(
        self,
        repo: AgentRegistryRepository,
        make_record: MakeRecord,
        frozen: FrozenDateTimeFactory,
    ) -> None:
        """The row that is answered is the row that is stored."""
        repo.add(make_record(ttl_seconds=7, metadata={"zone": "b"}))
        repo.add(make_record("bystander"))
        before = [fields(repo.get(name)) for name in ("summariser-1", "bystander")]
        frozen.tick(3)

        beaten = repo.update_heartbeat("summariser-1")

        lease = {
            "last_heartbeat": NOON + 3 * SECOND,
            "expires_at": NOON + 10 * SECOND,
        }
        assert fields(beaten) == before[0] | lease
        assert fields(repo.get("summariser-1")) == fields(beaten)
        assert fields(repo.get("bystander")) == before[1]

    def test_a_beat_never_creates(self, repo: AgentRegistryRepository) -> None:
        """An unknown id raises, named, and stays unknown."""
        with pytest.raises(AgentNotFound, match="'nobody'"):
            repo.update_heartbeat("nobody")

        assert repo.list_all(include_dead=True) == []

    def test_a_clock_stepped_back_never_shortens_a_life(
        self, make_storage: Callable[..., Storage], make_record: MakeRecord
    ) -> None:
        """Neither a beat nor a registration moves `last_heartbeat` backwards."""
        now = NOON
        repo = make_storage(clock=lambda: now).agents
        repo.register(make_record(ttl_seconds=10))
        now -= 3600 * SECOND

        beaten = repo.update_heartbeat("summariser-1")
        registered = repo.register(make_record(ttl_seconds=10)).record

        assert [beaten.last_heartbeat, beaten.expires_at] == [NOON, NOON + 10 * SECOND]
        assert fields(registered) == fields(beaten)
        assert fields(repo.get("summariser-1")) == fields(beaten)


class TestDelete:
    def test_delete_tells_whether_the_agent_was_there(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """The second time it was not."""
        repo.add(make_record())
        repo.add(make_record("bystander"))

        assert repo.delete("summariser-1") is True
        assert repo.delete("summariser-1") is False
        assert [agent.agent_id for agent in repo.list_all()] == ["bystander"]

    def test_a_dead_agent_was_there_too(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """What no sweep has taken yet can be deleted."""
        repo.add(make_record(last_heartbeat=NOON - 3600 * SECOND))

        assert repo.delete("summariser-1") is True

    def test_a_deleted_agent_registers_as_new(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """Nothing of the old life is left."""
        repo.register(make_record())
        repo.delete("summariser-1")

        assert repo.register(make_record()).outcome is Outcome.CREATED


class TestSubmit:
    def test_a_future_carries_the_answer_or_the_error(
        self, repo: AgentRegistryRepository, make_record: MakeRecord
    ) -> None:
        """`submit` starts a reading or a writing method, and does not wait."""
        added = repo.submit(repo.add, make_record())
        refused = repo.submit(repo.update_heartbeat, agent_id="nobody")

        assert added.result().agent_id == "summariser-1"
        assert isinstance(refused.exception(), AgentNotFound)


class TestHeartbeats:
    def test_many_leases_are_renewed_at_one_instant(
        self, repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
    ) -> None:
        """Each for its own TTL; who is unknown is not in the answer."""
        repo.add(make_record("a", ttl_seconds=10))
        repo.add(make_record("b", ttl_seconds=20))
        before = repo.add(make_record("c"))

        renewed = repo.update_heartbeats(["b", "gone", "a", "b"])

        stored = {record.agent_id: record for record in repo.list_all()}
        assert stored["a"].last_heartbeat == stored["b"].last_heartbeat
        assert renewed == {
            agent_id: (stored[agent_id].expires_at, stored[agent_id].ttl_seconds)
            for agent_id in ("a", "b")
        }
        assert renewed["b"].expires_at - renewed["a"].expires_at == 10 * SECOND
        assert stored["c"].expires_at == before.expires_at

    def test_nobody_may_beat(self, repo: AgentRegistryRepository) -> None:
        """An empty batch renews nothing."""
        assert repo.update_heartbeats([]) == {}

    def test_renewing_all_tells_who_is_unknown(
        self, repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
    ) -> None:
        """In the order asked, each once."""
        before = {agent_id: repo.add(make_record(agent_id)) for agent_id in ("a", "b")}

        assert repo.renew_all(["b", "gone", "b", "lost", "gone"]) == ["gone", "lost"]
        assert repo.renew_all(["b"]) == []
        stored = {record.agent_id: record for record in repo.list_all()}
        assert stored["b"].expires_at > before["b"].expires_at
        assert stored["a"].expires_at == before["a"].expires_at
