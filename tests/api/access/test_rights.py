"""Who may make which call, to whose agents: every role, route and owner."""

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from httpx2 import Response
from starlette.testclient import TestClient

from api.access import ACCESS, Principal, Role
from api.body import StrictRoute
from store import AgentRecord, AgentRegistryRepository, NotOwner, Storage

Bearer = Callable[[str], dict[str, str]]

#: Who may make a call at all, and who only to agents of their own.
EVERYBODY = {None, "wrong", "root", "ops", "billing", "search", "portal", "prometheus"}
MAY = {
    "register": {"root", "billing", "search"},
    "heartbeat": {"root", "billing", "search"},
    "bulk_heartbeat": {"root", "billing", "search"},
    "deregister": {"root", "ops", "billing", "search"},
    "list_agents": {"root", "ops", "portal"},
    "get_agent": {"root", "ops", "portal"},
    "metrics": {"root", "ops", "prometheus"},
    "release_guard": {"root", "ops"},
    "health": EVERYBODY,
    "openapi": EVERYBODY,
    "docs": EVERYBODY,
    "docs_file": EVERYBODY,
}
#: An agent's id, and whose it is; `both-*` is in the patterns of two principals.
OWNERS = {
    "billing-1": "billing",
    "search-1": "search",
    "both-1": "search",
    "billing-free": "",
    "other-1": "root's friend",
}
#: Whom each principal with the role agent may touch.
TOUCHES = {
    "billing": {"billing-1", "billing-free", "billing-new", "both-new"},
    "search": {"search-1", "both-1", "both-new"},
}
OF_AGENTS = {"register", "heartbeat", "bulk_heartbeat", "deregister"}


class Row(NamedTuple):
    """One line of the matrix."""

    operation: str
    method: str
    path: str
    caller: str | None
    agent_id: str


@pytest.fixture
def fill(
    storage: Storage, make_record: Callable[..., AgentRecord]
) -> Callable[[], dict[str, AgentRecord]]:
    """Return a function that stores every owner's agents as they should be."""

    def fill() -> dict[str, AgentRecord]:
        for known in storage.agents.list_all(include_dead=True):
            storage.agents.delete(known.agent_id)
        return {
            agent_id: storage.agents.add(make_record(agent_id, owner=owner))
            for agent_id, owner in OWNERS.items()
        }

    return fill


def _operations(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    for route in app.routes:
        assert isinstance(route, APIRoute)
        for method in route.methods:
            yield route.operation_id or route.name, method, route.path


def _rows(app: FastAPI) -> Iterator[Row]:
    for (operation, method, path), caller in itertools.product(
        _operations(app), EVERYBODY
    ):
        ids = [*OWNERS, "billing-new", "both-new", "other-new"]
        for agent_id in ids if operation in OF_AGENTS else ids[:1]:
            yield Row(operation, method, path, caller, agent_id)


def _allowed(row: Row) -> bool:
    if row.caller not in MAY[row.operation]:
        return False
    bounded = row.operation in OF_AGENTS and row.caller in TOUCHES
    return not bounded or row.agent_id in TOUCHES[str(row.caller)]


def _make(row: Row, client: TestClient, bearer: Bearer, body: dict[str, Any]) -> int:
    headers = bearer(row.caller) if row.caller else {}
    path = row.path.replace("{agent_id}", row.agent_id)
    path = re.sub(r"\{name:path\}", "swagger-ui.css", path)
    content = {
        "register": body,
        "bulk_heartbeat": {"agent_ids": ["both-new", row.agent_id]},
    }.get(row.operation)
    response: Response = client.request(row.method, path, headers=headers, json=content)
    return response.status_code


def test_every_route_says_who_may_make_its_call(app: FastAPI) -> None:
    """What is not declared is for admins; no route is left to that by oversight."""
    operations = {operation for operation, _, _ in _operations(app)}

    assert operations == set(ACCESS) == set(MAY)
    assert all(isinstance(route, StrictRoute) for route in app.routes)


def test_every_role_route_and_owner(
    app: FastAPI,
    client: TestClient,
    repo: AgentRegistryRepository,
    fill: Callable[[], dict[str, AgentRecord]],
    make_body: Callable[..., dict[str, Any]],
    bearer: Bearer,
) -> None:
    """Refused with 401 where nobody is known, else with 403, and nothing changes."""
    wrong = []
    for row in _rows(app):
        before = fill()
        body = make_body(row.agent_id, agent_name="Taken over")
        status = _make(row, client, bearer, body)

        refusal = 403 if row.caller not in {None, "wrong"} else 401
        refused = status in {401, 403}
        if refused == _allowed(row) or (refused and status != refusal):
            wrong.append((row, status))
        if refused:
            after = {one.agent_id: one for one in repo.list_all(include_dead=True)}
            assert {k: v.__data__ for k, v in after.items()} == {
                k: v.__data__ for k, v in before.items()
            }, row

    assert not wrong


def test_a_route_that_is_not_declared_is_for_admins(
    app: FastAPI, client: TestClient, bearer: Bearer
) -> None:
    """Deny by default: forgetting a line opens nothing."""

    @app.get("/secret")
    def secret() -> None: ...

    def status(name: str) -> int:
        return client.get("/secret", headers=bearer(name)).status_code

    assert client.get("/secret").status_code == 401
    assert [status(name) for name in ("ops", "portal", "root")] == [403, 403, 200]


def test_one_foreign_agent_spoils_a_bulk_call(
    client: TestClient,
    repo: AgentRegistryRepository,
    fill: Callable[[], dict[str, AgentRecord]],
    bearer: Bearer,
) -> None:
    """By its id or by its owner: 403, and none of the others is renewed."""
    before = fill()

    for foreign in ("search-1", "both-1"):
        ids = {"agent_ids": ["billing-1", foreign]}
        response = client.post(
            "/agents/heartbeats", json=ids, headers=bearer("billing")
        )
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")

    renewed = repo.get("billing-1")
    assert renewed is not None
    assert renewed.last_heartbeat == before["billing-1"].last_heartbeat


def test_a_call_about_one_agent_tells_no_places(
    client: TestClient,
    fill: Callable[[], dict[str, AgentRecord]],
    make_body: Callable[..., dict[str, Any]],
    bearer: Bearer,
) -> None:
    """There is only one that could be meant."""
    fill()

    for agent_id in ("search-1", "both-1"):
        for method, path, body in (
            ("POST", "/agents/register", make_body(agent_id)),
            ("POST", f"/agents/{agent_id}/heartbeat", None),
            ("DELETE", f"/agents/{agent_id}", None),
        ):
            answer = client.request(
                method, path, json=body, headers=bearer("billing")
            ).json()
            assert (answer["status"], answer.keys() & {"refused"}) == (403, set())


def test_beats_of_several_owners_in_one_batch_do_not_mix(
    app: FastAPI, fill: Callable[[], dict[str, AgentRecord]]
) -> None:
    """Of two beats for one agent in one batch, the owner's is answered 200."""
    fill()
    beats = app.lanes._beats  # type: ignore[attr-defined] # our own FastAPI

    async def beat() -> list[object]:
        asked = [("both-1", "billing"), ("both-1", "search"), ("gone", "search")]
        return await asyncio.gather(
            *(beats.renew(*one) for one in asked), return_exceptions=True
        )

    foreign, own, gone = asyncio.run(beat())

    assert isinstance(foreign, NotOwner)
    assert type(own).__name__ == "Lease"
    assert type(gone).__name__ == "AgentNotFound"


def test_an_owner_is_known_until_its_agent_is_removed(
    client: TestClient,
    repo: AgentRegistryRepository,
    make_body: Callable[..., dict[str, Any]],
    bearer: Bearer,
) -> None:
    """Then the patterns decide, and the name is free within them."""

    def register(name: str) -> int:
        body = make_body("both-9")
        headers = bearer(name)
        return client.post("/agents/register", json=body, headers=headers).status_code

    first = [register("search"), register("billing"), register("search")]
    repo.delete("both-9")
    then = [register("billing"), register("search")]

    assert first == [201, 403, 200]
    assert then == [201, 403]


def test_an_admin_takes_no_agent_away(
    client: TestClient,
    repo: AgentRegistryRepository,
    make_body: Callable[..., dict[str, Any]],
    bearer: Bearer,
) -> None:
    """What an admin registers keeps its owner; a new one is nobody's."""
    for name, agent_id in (("billing", "billing-1"), ("root", "billing-1")):
        body = make_body(agent_id, agent_name=name)
        client.post("/agents/register", json=body, headers=bearer(name))
    client.post("/agents/register", json=make_body("new-1"), headers=bearer("root"))

    owners = {
        agent.agent_id: (agent.owner, agent.agent_name) for agent in repo.list_all()
    }
    assert owners == {"billing-1": ("billing", "root"), "new-1": ("", "Summariser")}


def test_health_tells_a_stranger_nothing_but_its_status(
    client: TestClient, bearer: Bearer
) -> None:
    """The version, the fleet and the rest are for those who may read."""
    stranger = client.get("/health")
    agent = client.get("/health", headers=bearer("billing"))
    reader = client.get("/health", headers=bearer("portal"))

    assert stranger.json() == agent.json() == {"status": "ok"}
    assert {"version", "agents", "guard", "sweep"} <= set(reader.json())


def test_patterns_cover_whole_ids() -> None:
    """`*` stands for any characters; without one, a pattern is one id."""
    principal = Principal("p", frozenset({Role.AGENT}), ("billing-*", "search"))

    covered = ["billing-", "billing-1", "billing-a.b", "search"]
    others = ["billing", "xbilling-1", "search-1", "Billing-1", ""]

    assert all(principal.covers([agent_id]) for agent_id in covered)
    assert [one for one in others if principal.covers([one])] == []
    assert not Principal("p", frozenset({Role.AGENT})).covers(["any"])
