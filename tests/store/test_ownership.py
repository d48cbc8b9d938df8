"""Whose an agent is: the rule, and that every change keeps it."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from freezegun.api import FrozenDateTimeFactory
from peewee import SqliteDatabase

from store import (
    AgentRecord,
    AgentRegistryRepository,
    NotOwner,
    OwnedBeat,
    Registration,
    Renewal,
    Storage,
)
from store.ownership import TOUCHES, may_touch

MakeRecord = Callable[..., AgentRecord]


def test_the_rule_and_its_sql_say_the_same() -> None:
    """Nobody's agent is everybody's, and an empty owner may touch all."""
    database = SqliteDatabase(":memory:")

    for agents_owner, owner in itertools.product(["", "a", "b"], repeat=2):
        (touches,) = database.execute_sql(
            f"SELECT {TOUCHES} FROM (SELECT :agents AS owner)",  # noqa: S608
            {"owner": owner, "agents": agents_owner},
        ).fetchone()
        assert bool(touches) == may_touch(agents_owner, owner)
        assert may_touch(agents_owner, owner) == (
            owner == "" or agents_owner in ("", owner)
        )
    database.close()


def test_an_agent_keeps_its_owner(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """Through updates by its owner, and by somebody who may change every agent."""
    repo.register(make_record("a", owner="billing"))
    repo.register(make_record("a", owner="billing", port=1))
    repo.register(make_record("a", port=2))

    kept = repo.get("a")
    assert kept is not None
    assert (kept.owner, kept.port) == ("billing", 2)


def test_an_agent_of_nobody_is_taken_by_the_first_who_may(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """And by nobody after that."""
    repo.register(make_record("a"))
    repo.register(make_record("a", owner="billing"))

    with pytest.raises(NotOwner):
        repo.register(make_record("a", owner="search"))


def test_a_foreign_registration_is_refused_alone(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """The others of its batch are stored; the agent stays as it was."""
    repo.register(make_record("a", owner="billing"))

    refused, done = repo.register_all(
        [make_record("a", owner="search", port=1), make_record("b", owner="search")]
    )

    assert isinstance(refused, NotOwner)
    assert isinstance(done, Registration)
    assert [(one.agent_id, one.owner, one.port) for one in repo.list_all()] == [
        ("a", "billing", 8001),
        ("b", "search", 8001),
    ]


def test_a_dead_agent_is_its_owners_until_it_is_removed(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Nobody takes a name in the minute between the deadline and the sweep."""
    repo.register(make_record("a", owner="billing"))
    frozen.tick(61)

    with pytest.raises(NotOwner):
        repo.register(make_record("a", owner="search"))
    repo.delete_expired()

    assert repo.register(make_record("a", owner="search")).record.owner == "search"


def test_beats_renew_what_their_owner_may_touch(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """By owner: who was renewed, and who is somebody else's; the rest is unknown."""
    for agent_id, owner in (("a", "billing"), ("b", "search"), ("c", "")):
        repo.register(make_record(agent_id, owner=owner))
    frozen.tick(10)

    answers = repo.update_heartbeats_of(
        [
            *(OwnedBeat(agent_id, "billing") for agent_id in ("a", "b", "c", "gone")),
            OwnedBeat("a", "search"),
        ]
    )

    beaten = {one.agent_id: one.last_heartbeat for one in repo.list_all()}
    assert set(answers["billing"].leases) == {"a", "c"}
    assert answers["billing"].foreign == {"b"}
    assert answers["search"] == Renewal({}, frozenset({"a"}))
    assert beaten["a"] == beaten["c"] > beaten["b"]


def test_a_bulk_beat_with_a_foreign_agent_renews_nobody(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Unknown ones are told, foreign ones are an error."""
    for agent_id, owner in (("a", "billing"), ("b", "search")):
        repo.register(make_record(agent_id, owner=owner))
    frozen.tick(10)

    with pytest.raises(NotOwner) as refused:
        repo.renew_all(["a", "b"], "billing")

    assert refused.value.agent_ids == {"b"}
    assert {one.last_heartbeat for one in repo.list_all()} == {
        one.registered_at for one in repo.list_all()
    }
    assert repo.renew_all(["a", "gone"], "billing") == ["gone"]
    assert repo.renew_all(["a", "b"]) == []


def test_only_an_owner_removes(
    repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """Or somebody who may change every agent."""
    for agent_id in "ab":
        repo.register(make_record(agent_id, owner="billing"))

    with pytest.raises(NotOwner):
        repo.delete("a", "search")

    assert not repo.delete("gone", "search")
    assert repo.delete("a", "billing")
    assert repo.delete("b")


def test_an_owner_survives_a_restart_and_a_restored_backup(
    make_storage: Callable[..., Storage], make_record: MakeRecord, tmp_path: Path
) -> None:
    """Whoever could not touch the agent before cannot after."""
    storage = make_storage()
    storage.agents.register(make_record("a", owner="billing"))
    storage.database.close()
    restarted = make_storage()
    with pytest.raises(NotOwner):
        restarted.agents.delete("a", "search")
    restarted.database.backup(tmp_path / "backup.db")
    restarted.agents.delete("a")
    restarted.database.close()

    restarted.database.restore(tmp_path / "backup.db")

    with pytest.raises(NotOwner):
        make_storage().agents.delete("a", "search")
