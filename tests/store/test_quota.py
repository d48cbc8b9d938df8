"""How many agents there may be."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from store import AgentRecord, Quota, QuotaExceeded, Registration, Storage
from store.quota import Admissions

MakeStorage = Callable[..., Storage]
MakeRecord = Callable[..., AgentRecord]


def test_an_owner_has_so_many_agents_and_no_more(
    make_storage: MakeStorage, make_record: MakeRecord
) -> None:
    """Others and nobody's are not counted; who is there may go on registering."""
    repo = make_storage(quota=Quota(per_owner=2)).agents
    for agent_id, owner in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "")):
        repo.register(make_record(agent_id, owner=owner))

    with pytest.raises(QuotaExceeded, match="this principal has 2 agents already"):
        repo.register(make_record("e", owner="x"))

    assert repo.register(make_record("a", owner="x", port=1)).outcome == "updated"
    assert repo.update_heartbeats(["a", "b"]).keys() == {"a", "b"}
    assert repo.register(make_record("e", owner="y")).outcome == "created"


def test_a_batch_is_admitted_as_far_as_there_is_room(
    make_storage: MakeStorage, make_record: MakeRecord
) -> None:
    """In its order; one that comes twice counts once."""
    repo = make_storage(quota=Quota(per_owner=2)).agents

    done = repo.register_all([make_record(one, owner="x") for one in "aabc"])

    assert [type(one) for one in done] == [*[Registration] * 3, QuotaExceeded]
    assert [one.agent_id for one in repo.list_all()] == ["a", "b"]


def test_taking_over_what_is_nobodys_counts_too(
    make_storage: MakeStorage, make_record: MakeRecord
) -> None:
    """Once for each agent; the whole does not grow by it, so it may be full."""
    repo = make_storage(quota=Quota(in_all=3, per_owner=2)).agents
    repo.register_all([make_record(one) for one in "abc"])

    done = repo.register_all([make_record(one, owner="x") for one in "aabc"])

    assert [type(one) for one in done] == [*[Registration] * 3, QuotaExceeded]
    assert [one.owner for one in repo.list_all()] == ["x", "x", ""]
    assert repo.register(make_record("c", port=1)).outcome == "updated"


def test_who_goes_makes_room(
    make_storage: MakeStorage, make_record: MakeRecord
) -> None:
    """For its owner at once."""
    repo = make_storage(quota=Quota(per_owner=1)).agents
    repo.register(make_record("a", owner="x"))
    repo.delete("a")

    assert repo.register(make_record("b", owner="x")).outcome == "created"


def test_there_are_so_many_agents_in_all(
    make_storage: MakeStorage, make_record: MakeRecord
) -> None:
    """Whoever's they are; also of those that were there when the store opened."""
    storage = make_storage(quota=Quota(in_all=2))
    storage.agents.register(make_record("a"))
    storage.database.close()
    repo = make_storage(quota=Quota(in_all=2)).agents
    repo.register(make_record("b", owner="x"))

    with pytest.raises(QuotaExceeded, match="there are 2 agents already"):
        repo.register(make_record("c"))

    assert repo.register(make_record("b", owner="x")).outcome == "unchanged"


@pytest.fixture
def make_admissions(
    storage: Storage, make_record: MakeRecord
) -> Iterator[Callable[..., Admissions]]:
    """Return what admits to a store of one agent."""
    storage.agents.add(make_record("a"))
    database = storage.database.writing  # type: ignore[attr-defined] # SQLite's own
    yield partial(Admissions, database)
    database.close()  # this thread's connection


def test_a_full_registry_is_counted_anew_once_a_second(
    make_admissions: Callable[..., Admissions],
) -> None:
    """Who went is noticed within that, at the cost of one count."""
    now = 0.0
    admissions = make_admissions(Quota(in_all=2), lambda: now)

    admissions.begin()
    admissions.admit("")  # counts one, and admits a second
    admissions.begin()
    for _ in range(2):
        with pytest.raises(QuotaExceeded):
            admissions.admit("")
    now = 1.0
    admissions.admit("")  # the second was never stored


def test_a_count_amid_a_batch_knows_whom_the_batch_admitted(
    make_admissions: Callable[..., Admissions],
) -> None:
    """They are stored at its end only."""
    now = 0.0
    admissions = make_admissions(Quota(in_all=3), lambda: now)
    admissions.begin()
    for _ in range(2):
        admissions.admit("")
    now = 1.0

    with pytest.raises(QuotaExceeded):
        admissions.admit("")


def test_counting_an_owners_agents_reads_an_index(storage: Storage) -> None:
    """Of all agents, it reads those of the owner."""
    storage.database.open()
    database = storage.database.reading  # type: ignore[attr-defined] # SQLite's own
    plan = database.execute_sql(
        "EXPLAIN QUERY PLAN"
        " SELECT count(*) FROM agents WHERE owner = 'x' AND owner != ''"
    ).fetchall()
    database.close()  # this thread's connection

    assert "USING COVERING INDEX" in plan[0][3]
