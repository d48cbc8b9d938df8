"""Register, heartbeat, deregister."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.models import TtlLimits
from store import AgentRegistryRepository

Register = Callable[..., Response]
VERBS = ["register", "health", "events", "heartbeats", "watch", "metrics", "docs"]
AGENT_INFO = {
    "agent_id",
    "agent_name",
    "host",
    "port",
    "ttl_seconds",
    "metadata",
    "is_alive",
    "status",
    "last_heartbeat",
    "expires_at",
    "registered_at",
    "age_seconds",
}


@pytest.mark.usefixtures("frozen")
def test_new_agent_is_answered_with_201_and_its_location(register: Register) -> None:
    """A first registration tells the whole agent, where it is, and how to beat."""
    response = register("a~1", ttl_seconds=90, metadata={"gpu": [1, 2.5, None]})

    assert response.status_code == 201
    assert response.headers["location"] == "/agents/a~1"
    assert response.json() == {
        "agent_id": "a~1",
        "agent_name": "Summariser",
        "host": "10.0.0.7",
        "port": 8001,
        "ttl_seconds": 90,
        "metadata": {"gpu": [1, 2.5, None]},
        "is_alive": True,
        "status": "alive",
        "last_heartbeat": "2026-11-22T15:45:00.000000Z",
        "expires_at": "2026-11-22T15:46:30.000000Z",
        "registered_at": "2026-11-22T15:45:00.000000Z",
        "age_seconds": 0.0,
        "outcome": "created",
        "heartbeat_interval_seconds": 30.0,
    }


def test_registering_again_is_answered_with_200(register: Register) -> None:
    """What existed is renewed: unchanged when the same, updated when not."""
    register()

    same, other = register(), register(port=9000)

    assert (same.status_code, same.json()["outcome"]) == (200, "unchanged")
    assert (other.status_code, other.json()["outcome"]) == (200, "updated")
    assert other.json()["port"] == 9000
    assert "location" not in other.headers


def test_registration_is_complete(register: Register) -> None:
    """What a registration leaves out goes back to its default."""
    register(ttl_seconds=5, metadata={"gpu": True})

    again = register().json()

    assert (again["ttl_seconds"], again["metadata"]) == (60, {})


def test_ttl_follows_the_limits_of_the_registry(
    store_url: str,
    repo: AgentRegistryRepository,
    make_client: Callable[..., TestClient],
    make_body: Callable[..., dict[str, Any]],
) -> None:
    """The registry's own default is granted; its own bounds rule, and are told."""
    server = AgentRegistryServer(store_url, repo, ttl=TtlLimits(30, 10, 40))
    client = make_client(server.create_app())

    def register(**over: int) -> Response:
        return client.post("/agents/register", json=make_body(**over))

    assert register().json()["ttl_seconds"] == 30
    assert [register(ttl_seconds=n).status_code for n in (9, 10, 40, 41)] == [
        422,
        200,
        200,
        422,
    ]
    assert register(ttl_seconds=0).json()["errors"] == [
        {"field": "ttl_seconds", "reason": "must be from 10 to 40"}
    ]


@pytest.mark.usefixtures("frozen")
def test_heartbeat_tells_the_new_deadline(
    client: TestClient, register: Register
) -> None:
    """A beat answers with the lease as it renewed it, and when to beat next."""
    register(ttl_seconds=90)

    response = client.post("/agents/summariser-1/heartbeat")

    assert response.status_code == 200
    assert response.json() == {
        "agent_id": "summariser-1",
        "expires_at": "2026-11-22T15:46:30.000000Z",
        "ttl_seconds": 90,
        "heartbeat_interval_seconds": 30.0,
    }


@pytest.mark.parametrize("agent_id", ["nobody", "-no-id", "%00", "a" * 256])
def test_heartbeat_never_creates(client: TestClient, agent_id: str) -> None:
    """An unknown agent is told to register again, and stays unknown."""
    response = client.post(f"/agents/{agent_id}/heartbeat")

    assert response.status_code == 404
    assert response.json()["code"] == "agent_not_found"
    assert client.get("/agents", params={"include_dead": True}).json() == []


@pytest.mark.parametrize("body", [b"{}", b" ", iter([b"{}"]), iter([b"", b"x"])])
def test_heartbeat_with_a_body_is_refused(
    client: TestClient, register: Register, body: bytes | Iterator[bytes]
) -> None:
    """A beat carries nothing, whether its length is declared or chunked."""
    before = register().json()["last_heartbeat"]

    response = client.post("/agents/summariser-1/heartbeat", content=body)

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"field": "", "reason": "a heartbeat has no body"}
    ]
    assert client.get("/agents/summariser-1").json()["last_heartbeat"] == before


@pytest.mark.parametrize("body", [b"{}", b"agent_id=a", iter([b"x"])])
def test_removal_with_a_body_is_refused(
    client: TestClient, register: Register, body: bytes | Iterator[bytes]
) -> None:
    """As a form has one, which any web page may send."""
    register()

    response = client.request("DELETE", "/agents/summariser-1", content=body)

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"field": "", "reason": "a removal has no body"}
    ]
    assert client.get("/agents/summariser-1").status_code == 200


def test_a_length_of_many_zeros_is_none(client: TestClient, register: Register) -> None:
    """However it is written."""
    register()
    zeros = {"Content-Length": "00"}

    response = client.post("/agents/summariser-1/heartbeat", headers=zeros)

    assert response.status_code == 200


@pytest.mark.parametrize("empty", [b"", iter([]), iter([b"", b""])])
def test_heartbeat_with_an_empty_body_is_taken(
    client: TestClient, register: Register, empty: bytes | Iterator[bytes]
) -> None:
    """A body of no bytes is no body, also when it is chunked."""
    register()

    response = client.post("/agents/summariser-1/heartbeat", content=empty)

    assert response.status_code == 200


def test_heartbeat_needs_no_content_length(
    client: TestClient, register: Register
) -> None:
    """A beat that says nothing of a body has none."""
    register()
    beat = client.build_request("POST", "/agents/summariser-1/heartbeat")
    del beat.headers["content-length"]

    assert client.send(beat).status_code == 200


def test_deregistered_agent_is_gone(client: TestClient, register: Register) -> None:
    """Removing answers 204 without a body; a second time there is nothing."""
    register()

    removed = client.delete("/agents/summariser-1")

    assert (removed.status_code, removed.content) == (204, b"")
    assert client.get("/agents").json() == []
    for again in (
        client.delete("/agents/summariser-1"),
        client.get("/agents/summariser-1"),
        client.post("/agents/summariser-1/heartbeat"),
    ):
        assert (again.status_code, again.json()["code"]) == (404, "agent_not_found")


@pytest.mark.parametrize("verb", VERBS)
def test_verb_is_a_legal_id(client: TestClient, register: Register, verb: str) -> None:
    """No path of the API shadows an agent that bears its name."""
    assert register(verb).status_code == 201

    assert client.get(f"/agents/{verb}").json()["agent_id"] == verb
    assert client.post(f"/agents/{verb}/heartbeat").status_code == 200
    assert client.delete(f"/agents/{verb}").status_code == 204
    assert client.get(f"/agents/{verb}").status_code == 404


@pytest.mark.parametrize("agent_id", ["a", "A" * 255, "0..", "a.b_c:d~e-f", "a..~"])
def test_every_id_that_registers_is_reachable(
    client: TestClient, register: Register, agent_id: str
) -> None:
    """Its Location answers with exactly the fields of AgentInfo."""
    location = register(agent_id).headers["location"]

    found = client.get(location)

    assert found.json()["agent_id"] == agent_id
    assert set(found.json()) == AGENT_INFO
    assert client.post(f"{location}/heartbeat").status_code == 200
