"""One node beats for all of its agents."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import Authority
from api.server import Security
from store import AgentRecord, AgentRegistryRepository, Storage
from store.writer import Priority

JSON = {"content-type": "application/json"}


@pytest.fixture
def bulk(client: TestClient) -> Callable[[Any], Any]:
    """Return a function that sends one bulk heartbeat."""
    return lambda agent_ids: client.post(
        "/agents/heartbeats", json={"agent_ids": agent_ids}
    )


def test_bulk_renews_the_known_and_names_the_unknown(
    bulk: Callable[[Any], Any],
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
) -> None:
    """Exactly two members; an id given twice counts once."""
    before = {agent_id: repo.add(make_record(agent_id)) for agent_id in ("a", "b", "c")}

    answer = bulk(["b", "gone", "a", "b", "lost", "gone"])

    assert answer.status_code == 200
    assert answer.json() == {"renewed": 2, "unknown": ["gone", "lost"]}
    renewed = {record.agent_id: record for record in repo.list_all()}
    assert renewed["a"].expires_at == renewed["b"].expires_at > before["b"].expires_at
    assert renewed["c"].expires_at == before["c"].expires_at


@pytest.fixture
def bulk_of_billing(
    store_url: str,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    authority: Authority,
    bearer: Callable[[str], dict[str, str]],
) -> Callable[[list[str]], Any]:
    """Return a function that sends one of `billing`, which `both-1` is foreign to."""
    for agent_id in ("billing-1", "both-1", "search-1"):
        owner = "billing" if agent_id == "billing-1" else "search"
        repo.add(make_record(agent_id, owner=owner))
    server = AgentRegistryServer(store_url, repo, security=Security(authority))
    client = TestClient(server.create_app(), headers=bearer("billing"))
    return lambda agent_ids: client.post(
        "/agents/heartbeats", json={"agent_ids": agent_ids}
    )


@pytest.mark.parametrize(
    ("agent_ids", "refused"),
    [
        (["billing-1", "search-1", "billing-1", "search-1"], [1, 3]),
        (["both-1", "billing-1", "billing-new", "both-1"], [0, 3]),
        (["billing-1", *["search-1"] * 9_999], list(range(1, 10_000))),
    ],
)
def test_bulk_tells_the_places_of_those_who_are_refused(
    bulk_of_billing: Callable[[list[str]], Any],
    agent_ids: list[str],
    refused: list[int],
) -> None:
    """By a pattern or by the owner; so that a node can beat for the others at once."""
    answer = bulk_of_billing(agent_ids)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["refused"] == refused
    assert not any(agent_id in answer.text for agent_id in agent_ids)


def test_bulk_does_not_tell_who_is_there_beyond_the_patterns(
    bulk_of_billing: Callable[[list[str]], Any],
) -> None:
    """Where they refuse an agent, nobody asks the store, of the others neither."""
    there = bulk_of_billing(["search-1", "both-1", "billing-1"])
    not_there = bulk_of_billing(["search-9", "both-9", "billing-9"])

    assert there.json()["refused"] == [0]
    assert (there.status_code, there.json()) == (403, not_there.json())


def test_bulk_of_nobody_renews_nobody(bulk: Callable[[Any], Any]) -> None:
    """A node whose last agent left may still call."""
    assert bulk([]).json() == {"renewed": 0, "unknown": []}


def test_bulks_that_wait_are_bounded(
    store_url: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it one is refused, and taken when it comes again."""
    monkeypatch.setattr("api.heartbeats._MAX_WAITING_BYTES", 200)
    app = AgentRegistryServer(store_url, storage.agents).create_app()
    busy, free = threading.Event(), threading.Event()
    writer = storage.database.writer  # type: ignore[attr-defined] # SQLite's own
    writer.submit(Priority.MAINTENANCE, lambda: busy.set() or free.wait())
    busy.wait()
    call = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://a")

    async def crowd() -> list[httpx2.Response]:
        def send() -> Coroutine[Any, Any, httpx2.Response]:
            return call.post("/agents/heartbeats", json={"agent_ids": ["a", "b"]})

        waiting = asyncio.create_task(send())
        while not writer.lag_seconds():  # noqa: ASYNC110 - it tells no event
            await asyncio.sleep(0)
        refused = await send()
        free.set()
        return [refused, await waiting, await send()]

    refused, *taken = asyncio.run(crowd())

    assert refused.status_code == 503
    assert refused.json()["code"] == "overloaded"
    assert refused.headers["retry-after"] == "1"
    assert [answer.status_code for answer in taken] == [200] * 2


def test_bulk_takes_ten_thousand_of_the_longest_ids(bulk: Callable[[Any], Any]) -> None:
    """Its body may be larger than that of any other call."""
    longest = [f"{n:05d}".ljust(255, "x") for n in range(10_000)]

    answer = bulk(longest)

    assert answer.status_code == 200
    assert answer.json() == {"renewed": 0, "unknown": longest}


@pytest.mark.parametrize(
    "agent_ids",
    [
        ["a"] * 10_001,
        ["a", ""],
        ["a", "a b"],
        ["a", 1],
        ["a", None],
        ["a", ["b"]],
        "a",
        None,
        {"a": "b"},
    ],
)
def test_bulk_that_is_wrong_in_part_renews_nobody(
    bulk: Callable[[Any], Any],
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    agent_ids: Any,
) -> None:
    """All or none."""
    before = repo.add(make_record("a")).expires_at

    answer = bulk(agent_ids)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert repo.list_all()[0].expires_at == before


@pytest.mark.parametrize("body", [b'{"agent_ids": ["a"], "x": 1}', b"{}"])
def test_bulk_takes_agent_ids_and_nothing_else(client: TestClient, body: bytes) -> None:
    """Unknown and missing members are refused."""
    answer = client.post("/agents/heartbeats", content=body, headers=JSON)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "items",
    [
        b",".join([b"0"] * 10_001),
        b",".join([b"[]"] * 101),
        b",".join([b"{}"] * 101),
        b"0," * 10_000,
    ],
)
def test_bulk_that_can_be_no_call_is_not_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, items: bytes
) -> None:
    """4 MiB of zeros took 3 s, in which nobody else was answered."""
    read: list[bytes] = []
    monkeypatch.setattr("api.body.parse_json", read.append)
    body = b'{"agent_ids":[%b]}' % items

    answer = client.post("/agents/heartbeats", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == ["agent_ids"]
    assert read == []


def test_bulk_tells_of_the_first_wrong_id(bulk: Callable[[Any], Any]) -> None:
    """Not of 10,000."""
    errors = bulk(["a", *[0] * 9_000])

    assert [error["field"] for error in errors.json()["errors"]] == ["agent_ids.1"]


def test_bulk_body_is_bounded(client: TestClient) -> None:
    """413 before it is read."""
    answer = client.post(
        "/agents/heartbeats", content=b" " * (4 * 1024 * 1024 + 1), headers=JSON
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
