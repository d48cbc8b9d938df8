"""Both clients against a running registry."""

import asyncio
import contextlib
import inspect
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import (
    AgentNotFound,
    AgentRegistryClient,
    AsyncAgentRegistryClient,
    AsyncRegistration,
    InvalidRequest,
    Registration,
    RegistryProblem,
)
from agent_registry_client.testing import RegistryProcess


def test_an_agent_lives_its_life(
    client: AgentRegistryClient, described: dict[str, Any]
) -> None:
    """Register, beat, be found, leave: each answer is typed."""
    created = client.register("a", **described | {"metadata": {"skills": ["sum"]}})
    renewal = client.heartbeat("a")
    bulk = client.heartbeat_all(["a", "gone"])
    found = client.get("a")
    client.deregister("a")

    assert (created.outcome, created.ttl_seconds, created.port) == ("created", 1, 8001)
    assert renewal.expires_at > created.expires_at
    assert renewal.heartbeat_interval_seconds == pytest.approx(1 / 3)
    assert (bulk.renewed, bulk.unknown) == (1, ("gone",))
    assert found.metadata == {"skills": ["sum"]}
    assert found.registered_at == created.registered_at
    assert client.agents() == ()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "abc"),
        ({"name": "Summariser"}, "abc"),
        ({"name": "Nobody"}, ""),
        ({"host": "10.0.0.7"}, "abc"),
        ({"metadata": {"rank": 1}}, "b"),
        ({"include_dead": True}, "abc"),
    ],
)
def test_agents_are_listed_whole_and_by_pages(
    client: AgentRegistryClient,
    described: dict[str, Any],
    asked: dict[str, Any],
    found: str,
) -> None:
    """The same agents in the same order, whatever the size of a page."""
    for rank, agent_id in enumerate("abc"):
        client.register(agent_id, **described, metadata={"rank": rank})

    assert "".join(agent.agent_id for agent in client.agents(**asked)) == found
    paged = client.iter_agents(**asked, page_size=2)
    assert "".join(agent.agent_id for agent in paged) == found


def test_health_is_told(client: AgentRegistryClient) -> None:
    """With the number of agents by status."""
    health = client.health()

    assert health.ok
    assert health.agents is not None
    assert health.agents["alive"] == 0
    assert health.sweep is not None
    assert not health.sweep.overdue


@pytest.mark.parametrize("call", ["get", "heartbeat", "deregister"])
def test_an_unknown_agent_is_an_error_of_its_own(
    client: AgentRegistryClient, call: str
) -> None:
    """With the registry's code."""
    with pytest.raises(AgentNotFound) as caught:
        getattr(client, call)("nobody")

    assert (caught.value.status, caught.value.code) == (404, "agent_not_found")


def test_a_wrong_request_says_what_is_wrong(
    client: AgentRegistryClient, described: dict[str, Any]
) -> None:
    """Each field, without its value."""
    with pytest.raises(InvalidRequest) as caught:
        client.register("a", **described | {"port": 70_000, "host": "a b"})

    assert {wrong.field for wrong in caught.value.errors} == {"host", "port"}
    assert "70000" not in str(caught.value)


def test_a_path_that_is_none_is_no_absent_agent(registry: RegistryProcess) -> None:
    """A wrong URL, or a call that is newer than the registry, has its own code."""
    with pytest.raises(RegistryProblem) as caught:
        AgentRegistryClient(f"{registry.url}/elsewhere").get("a")

    assert type(caught.value) is RegistryProblem
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("sync", "async_"),
    [
        (AgentRegistryClient, AsyncAgentRegistryClient),
        (Registration, AsyncRegistration),
    ],
)
def test_both_clients_have_the_same_names_and_signatures(
    sync: type, async_: type
) -> None:
    """Whoever knows one knows the other."""
    assert _surface(sync) == _surface(async_)


def _surface(kind: type) -> dict[str, Any]:
    found = inspect.getmembers(kind)
    methods = {n: m for n, m in found if inspect.isfunction(m) and n[0] != "_"}
    signatures = {name: inspect.signature(method) for name, method in methods.items()}
    return {
        "parameters": {
            name: list(s.parameters.values()) for name, s in signatures.items()
        },
        "answers": {
            # Without the modules that they come from.
            name: re.sub(r"[\w.]+\.(?=\w)", "", str(s.return_annotation)).replace(
                "Async", ""
            )
            for name, s in signatures.items()
        },
        "properties": {n for n, m in found if isinstance(m, property)},
        "constructor": inspect.signature(kind).parameters,
    }


@pytest.mark.parametrize("kind", [AsyncAgentRegistryClient, AsyncRegistration])
def test_every_method_of_the_async_client_is_awaited(kind: type) -> None:
    """But for what is iterated over, and what is entered."""
    methods = inspect.getmembers(kind, inspect.isfunction)
    plain = {
        name
        for name, method in methods
        if name[0] != "_" and not inspect.iscoroutinefunction(method)
    }

    assert plain == ({"iter_agents", "registered"} & set(vars(kind)))
    assert inspect.isasyncgenfunction(AsyncAgentRegistryClient.iter_agents)


def test_the_async_client_says_what_the_other_says(
    registry: RegistryProcess, client: AgentRegistryClient, described: dict[str, Any]
) -> None:
    """Every call, once, in two event loops one after the other."""
    other = AsyncAgentRegistryClient(registry.url)

    async def live() -> None:
        async with other:
            created = await other.register("a", **described | {"ttl_seconds": 60})
            await other.heartbeat("a")
            bulk = await other.heartbeat_all(["a"])

            assert (created.outcome, bulk.renewed) == ("created", 1)
            assert [agent async for agent in other.iter_agents(page_size=1)]
            assert (await other.get("a")).port == 8001
            assert (await other.discover(name="Summariser")).agents
            assert len(await other.agents()) == (await other.health()).agents["alive"]
            for call in (other.metrics, other.release_guard):
                with contextlib.suppress(RegistryProblem):  # older registries
                    await call()
            await other.deregister("a")

    asyncio.run(live())
    asyncio.run(live())

    assert client.agents() == ()


def test_a_task_that_is_cancelled_deregisters(
    client: AgentRegistryClient, described: dict[str, Any]
) -> None:
    """In its body, and while it enters; the loop is not blocked meanwhile."""
    other = AsyncAgentRegistryClient(client.urls)

    async def agent(agent_id: str, entered: asyncio.Event) -> None:
        async with other.registered(agent_id, **described):
            entered.set()
            await asyncio.sleep(5)

    async def live() -> tuple[set[str], list[object]]:
        entered = asyncio.Event()
        inside = asyncio.create_task(agent("inside", entered))
        await entered.wait()
        entering = asyncio.create_task(agent("entering", asyncio.Event()))
        await asyncio.sleep(0)
        listed = {one.agent_id for one in await other.agents()}
        for task in (inside, entering):
            task.cancel()
        ends = await asyncio.gather(inside, entering, return_exceptions=True)
        return listed, [type(end) for end in ends]

    listed, ends = asyncio.run(live())

    assert "inside" in listed
    assert ends == [asyncio.CancelledError] * 2
    assert client.agents() == ()


def test_a_blocked_loop_does_not_stop_the_beats(
    registry: RegistryProcess, described: dict[str, Any]
) -> None:
    """An agent that computes for longer than its TTL is not taken for dead."""
    other = AsyncAgentRegistryClient(registry.url)

    async def live() -> float | None:
        async with other.registered("a", **described) as registration:
            time.sleep(1.5)  # noqa: ASYNC251 - what blocks is what this is about
            return registration.silent_seconds

    silent_seconds = asyncio.run(live())

    assert silent_seconds is not None
    assert silent_seconds < 0.7


def test_a_refused_agent_raises_where_it_is_described(
    client: AgentRegistryClient, described: dict[str, Any]
) -> None:
    """In both clients, and nothing is kept of it; who is listed stays listed."""
    client.register("a", **described | {"ttl_seconds": 60})
    wrong = described | {"ttl_seconds": 0}

    with pytest.raises(InvalidRequest, match="ttl_seconds"):
        client.registered("a", **wrong).start()
    with pytest.raises(InvalidRequest, match="ttl_seconds"):
        asyncio.run(
            AsyncAgentRegistryClient(client.urls).registered("a", **wrong).start()
        )

    assert client.get("a").is_alive


def test_one_id_is_kept_once(
    client: AgentRegistryClient,
    described: dict[str, Any],
    listed: Callable[[], set[str]],
) -> None:
    """A second one of the same client is a mistake, and harms not the first."""
    with client.registered("a", **described) as first:
        with pytest.raises(ValueError, match="already"):
            client.registered("a", **described).start()

        assert first.state == "registered"
        assert listed() == {"a"}
