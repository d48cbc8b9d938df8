"""`wait`."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import AgentRegistryClient
from agent_registry_client.testing import RegistryProcess

Invoke = Callable[..., Any]


def test_who_is_there_is_not_waited_for(invoke: Invoke, summariser: str) -> None:
    """And is listed."""
    result = invoke("wait", "--name", "Summariser", "--json")

    assert result.exit_code == 0
    assert [agent["agent_id"] for agent in json.loads(result.stdout)] == [summariser]


def test_agents_that_come_late_are_waited_for(
    start: Callable[..., Any], client: AgentRegistryClient, described: dict[str, Any]
) -> None:
    """All of them."""
    waiting = start("wait", "--name", "Summariser", "--count", "2", "--timeout", "20")
    described |= {"ttl_seconds": 60}
    client.register("a", **described)
    time.sleep(1)
    too_early = waiting.poll()
    client.register("b", **described)

    output, _ = waiting.communicate(timeout=10)

    assert (too_early, waiting.returncode) == (None, 0)
    assert [line.split("\t")[0] for line in output.splitlines()] == ["a", "b"]


def test_a_registry_that_comes_late_is_waited_for(
    start: Callable[..., Any], registry: RegistryProcess, described: dict[str, Any]
) -> None:
    """As things start in any order."""
    registry.kill()
    waiting = start("wait", "--timeout", "20")
    registry.start()
    AgentRegistryClient(registry.url).register("a", **described)

    assert waiting.wait(10) == 0


@pytest.mark.usefixtures("summariser")
def test_time_runs_out(invoke: Invoke) -> None:
    """Who is missing is counted."""
    began_at = time.monotonic()
    result = invoke("wait", "--name", "Summariser", "--count", "2", "--timeout", "0.3")

    assert time.monotonic() - began_at < 2
    assert (result.exit_code, result.stdout) == (1, "")
    assert "after 0.3 s, 1 of 2 are alive" in result.stderr


def test_time_runs_out_without_a_registry(invoke: Invoke) -> None:
    """Which is another status."""
    result = invoke("wait", "--timeout", "0", AGENT_REGISTRY_URL="http://127.0.0.1:1")

    assert result.exit_code == 3
    assert "make run" in result.stderr


def test_the_dead_do_not_count(
    invoke: Invoke,
    client: AgentRegistryClient,
    described: dict[str, Any],
    wait_until: Callable[..., Any],
) -> None:
    """Nor those whose lease ran out while something else holds them."""
    client.register("a", **described)
    # On a machine that stood still meanwhile, its lease was re-armed.
    wait_until(lambda: not client.get("a").is_alive)

    assert invoke("wait", "--timeout", "0").exit_code == 1
