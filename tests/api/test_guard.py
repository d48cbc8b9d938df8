"""A hold, as an operator sees it, and how one ends it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from starlette.testclient import TestClient

from api import AgentRegistryServer
from store import (
    AgentRegistryRepository,
    GuardRules,
    SqliteAgentRegistryRepository,
    Storage,
)

DEAD = 20


@pytest.fixture
def guarded(storage: Storage) -> AgentRegistryRepository:
    """Return a repository on the file of `storage` that holds who expires together."""
    return SqliteAgentRegistryRepository(storage.database, guard=GuardRules())  # type: ignore[arg-type] # SQLite's own


@pytest.fixture
def holding(
    guarded: AgentRegistryRepository,
    make_client: Callable[..., TestClient],
    register: Callable[..., object],
    frozen: FrozenDateTimeFactory,
) -> TestClient:
    """Return a client of a registry that has held 20 of its 40 agents for a second."""
    client = make_client(AgentRegistryServer("unused:", guarded).create_app())
    ids = [f"agent-{number:02}" for number in range(2 * DEAD)]
    for number, agent_id in enumerate(ids):
        register(agent_id, ttl_seconds=60 if number < DEAD else 600)
    frozen.tick(1)
    guarded.renew_all(ids)
    frozen.tick(60)
    guarded.sweep()
    frozen.tick(1)
    return client


def guard(client: TestClient) -> Any:
    """Return what health tells of the guard; the registry itself is well."""
    answer = client.get("/health")
    assert answer.status_code == 200
    return answer.json()["guard"]


def test_health_tells_of_a_hold_and_why(holding: TestClient) -> None:
    """How many, since when, until when, and how many may go at once."""
    assert guard(holding) == {
        "held": DEAD,
        "since": "2026-11-22T15:46:01.000000Z",
        "until": "2026-11-22T15:51:01.000000Z",
        "level": "part",
        "cap": 10,
    }
    agents = holding.get("/health").json()["agents"]
    assert agents == {"alive": DEAD, "late": 0, "held": DEAD, "dead": 0}


def test_each_of_the_held_is_listed_as_such(holding: TestClient) -> None:
    """With the living, and not alive."""
    listed = {one["agent_id"]: one for one in holding.get("/agents").json()}
    alone = holding.get("/agents/agent-00").json()

    assert len(listed) == 2 * DEAD
    assert listed["agent-00"] == alone
    assert (alone["status"], alone["is_alive"]) == ("held", False)


def test_a_beat_clears_its_agent(holding: TestClient) -> None:
    """The others are held on."""
    holding.post("/agents/agent-00/heartbeat")

    assert holding.get("/agents/agent-00").json()["status"] == "alive"
    assert guard(holding)["held"] == DEAD - 1


def test_who_was_released_goes_with_the_next_sweep(
    holding: TestClient,
    guarded: AgentRegistryRepository,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All of them at once; until then they are dead. The log says who it was."""
    caplog.set_level(logging.WARNING, "api.guard")

    released = holding.post("/guard/release")

    assert released.status_code == 204
    assert guard(holding)["held"] == 0
    assert holding.get("/agents/agent-00").json()["status"] == "dead"
    (told,) = caplog.records
    assert (told.action, told.released) == ("hold_released", DEAD)  # type: ignore[attr-defined] # our own fields
    assert guarded.sweep().removed == DEAD
    assert guard(holding)["level"] is None


@pytest.mark.parametrize("media_type", ["application/json", "text/plain"])
def test_a_release_has_no_body(holding: TestClient, media_type: str) -> None:
    """Whatever it says: some of those who are held, maybe, and all would go."""
    headers = {"Content-Type": media_type}

    answer = holding.post("/guard/release", content=b"{}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert guard(holding)["held"] == DEAD


def test_a_release_without_a_hold_is_good(client: TestClient) -> None:
    """An operator who comes too late has what was wanted."""
    assert client.post("/guard/release").status_code == 204
