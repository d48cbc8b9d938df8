"""Who did what, and who was refused, in the log."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import Authority
from api.server import Security
from store import AgentRecord, AgentRegistryRepository, GuardRules
from store.clock import utcnow

Bearer = Callable[[str], dict[str, str]]


@pytest.fixture
def client(
    store_url: str,
    repo: AgentRegistryRepository,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> TestClient:
    """Return a client of a registry that lets in only who is known."""
    caplog.set_level(logging.DEBUG)
    server = AgentRegistryServer(store_url, repo, security=Security(authority))
    return TestClient(server.create_app(), client=("10.0.0.9", 5))


def _told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    return [
        (record.getMessage(), vars(record))
        for record in caplog.records
        if record.name == "api.audit"
    ]


def test_changes_are_told_with_who_made_them_and_from_where(
    client: TestClient,
    make_body: Callable[..., dict[str, Any]],
    make_record: Callable[..., AgentRecord],
    repo: AgentRegistryRepository,
    bearer: Bearer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Registering, removing and ending a hold; not beating."""
    repo.guard = GuardRules()
    beat_at = utcnow() - timedelta(seconds=61)
    silent = {
        "last_heartbeat": beat_at,
        "registered_at": beat_at - timedelta(seconds=1),
    }
    for number in range(20):
        repo.add(make_record(f"old-{number}", **silent))
    headers = bearer("billing")
    client.post("/agents/register", json=make_body("billing-1"), headers=headers)
    client.post("/agents/billing-1/heartbeat", headers=headers)
    client.delete("/agents/billing-1", headers=headers)
    client.post("/guard/release", headers=bearer("ops"))

    told = _told(caplog)

    assert [sentence for sentence, _ in told] == [
        "Agent billing-1 registered: created, by billing at 10.0.0.9",
        "Agent billing-1 deregistered by billing at 10.0.0.9",
        "The hold of 20 agents was ended by ops at 10.0.0.9",
    ]
    assert [fields.get("owner") for _, fields in told] == ["billing", "billing", None]
    assert [
        (fields["action"], fields["principal"], fields["address"]) for _, fields in told
    ] == [
        ("agent_registered", "billing", "10.0.0.9"),
        ("agent_deregistered", "billing", "10.0.0.9"),
        ("hold_released", "ops", "10.0.0.9"),
    ]


def test_a_release_of_nobody_is_not_told(
    client: TestClient, bearer: Bearer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was changed."""
    client.post("/guard/release", headers=bearer("ops"))

    assert _told(caplog) == []


def test_refusals_are_told(
    client: TestClient,
    make_body: Callable[..., dict[str, Any]],
    bearer: Bearer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through a lane and through a route, for an id and for an owner."""
    body = make_body("search-1")
    client.post("/agents/register", json=body, headers=bearer("billing"))
    client.post("/agents/search-1/heartbeat")
    client.delete("/agents/search-1", headers=bearer("portal"))
    ids = {"agent_ids": ["search-1", "search-2", "x"]}
    client.post("/agents/heartbeats", json=ids, headers=bearer("search"))

    told = _told(caplog)

    assert [sentence.removeprefix("Refused to ") for sentence, _ in told] == [
        "billing at 10.0.0.9: register of search-1, forbidden",
        "10.0.0.9: heartbeat, unauthenticated",
        "portal at 10.0.0.9: deregister, forbidden",
        "search at 10.0.0.9: bulk_heartbeat of search-1 and 2 more, forbidden",
    ]
    assert {fields["action"] for _, fields in told} == {"refused"}
    assert [fields["refused"] for _, fields in told].count("forbidden") == 3


def test_nothing_that_a_caller_wrote_reaches_a_line(
    client: TestClient,
    make_body: Callable[..., dict[str, Any]],
    bearer: Bearer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a token nor a body; a name that breaks lines breaks none."""
    canary = "CANARY"
    body = make_body("billing-1", agent_name=canary, metadata={"a": canary})
    client.post("/agents/register", json=body, headers=bearer("billing"))
    client.post("/agents/register", json=body, headers=bearer(canary))
    client.post(f"/agents/{canary}%0a{canary}/heartbeat", headers=bearer(canary))
    client.get(f"/agents?name={canary}&{canary}=1", headers=bearer("portal"))

    ours = [record for record in caplog.records if record.name.startswith("api.")]
    assert ours
    assert canary not in "".join(str(vars(record)) for record in ours)
    assert all("\n" not in sentence for sentence, _ in _told(caplog))
