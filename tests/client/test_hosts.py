"""Hosts that others cannot reach."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import (
    AgentRegistryClient,
    AsyncAgentRegistryClient,
    hosts,
)


@pytest.mark.parametrize(
    ("host", "registry_host", "doubt"),
    [
        ("10.0.0.7", "10.0.0.1", None),
        ("2001:db8::1", "10.0.0.1", None),
        ("0.0.0.0", "127.0.0.1", "no address"),  # noqa: S104 - what is warned of
        ("::", "127.0.0.1", "no address"),
        ("127.0.0.1", "10.0.0.1", "this machine only"),
        ("localhost", "10.0.0.1", "this machine only"),
        ("::1", "10.0.0.1", "this machine only"),
        ("127.0.0.1", "127.0.0.1", None),
        ("localhost", "::1", None),
        ("169.254.1.1", "10.0.0.1", "network segment"),
        ("no-such-host.invalid", "10.0.0.1", "does not resolve"),
        ("-", "10.0.0.1", "does not resolve"),
        ("x" * 300, "10.0.0.1", "does not resolve"),
    ],
)
def test_a_host_is_doubted_for_a_reason(
    host: str, registry_host: str, doubt: str | None
) -> None:
    """Loopback only where the registry is elsewhere."""
    said = hosts.doubt(host, [registry_host])

    assert (said is None) if doubt is None else (doubt in (said or ""))


def test_a_doubtful_host_is_warned_of_and_registered_as_it_is(
    client: AgentRegistryClient,
    described: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., Any],
) -> None:
    """Nothing is guessed in its place."""
    caplog.set_level(logging.WARNING)
    host = "no-such-host.invalid"
    with client.registered("a", **described | {"host": host}):
        wait_until(lambda: f"host {host}, which does not resolve" in caplog.text)

        assert client.get("a").host == host


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_doubtful_host_is_warned_of_whichever_way_it_is_registered(
    client: AgentRegistryClient,
    described: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    *,
    in_a_loop: bool,
) -> None:
    """By a single call too; once, however often it is repeated."""
    caplog.set_level(logging.WARNING)
    described |= {"host": "no-such-host.invalid"}
    if in_a_loop:
        other = AsyncAgentRegistryClient(client.urls)
        for _ in range(3):
            asyncio.run(other.register("a", **described))
        asyncio.run(other.close())
    else:
        for _ in range(3):
            client.register("a", **described)
        client.close()

    assert len([r for r in caplog.records if "does not resolve" in r.message]) == 1
