"""`register` and `deregister`."""

import json
from collections.abc import Callable
from typing import Any

from agent_registry_client import AgentRegistryClient, RegisteredAgent
from agent_registry_client.models import read

Invoke = Callable[..., Any]

WORKER = ["--name", "Worker", "--host", "h", "--port", "80"]


def test_an_agent_is_registered_by_hand(
    invoke: Invoke, client: AgentRegistryClient
) -> None:
    """With all that can be said of it; the answer tells what that did."""
    more = ["--ttl", "9", "--metadata", "a=1", "--metadata", "b:=[1]", "--json"]
    result = invoke("register", "--id", "w", *WORKER, *more)

    told = read(RegisteredAgent, json.loads(result.stdout))
    known = client.get("w")
    assert (told.outcome, told.heartbeat_interval_seconds) == ("created", 3.0)
    assert (known.agent_name, known.address, known.ttl_seconds) == ("Worker", "h:80", 9)
    assert known.metadata == {"a": "1", "b": [1]}


def test_a_registration_that_is_refused_is_1_and_says_why(invoke: Invoke) -> None:
    """Field by field, in the registry's words."""
    result = invoke("register", "--id", "w", *WORKER, "--host", "h:80", "--port", "0")

    assert result.exit_code == 1
    assert "host must be" in result.stderr
    assert "port " in result.stderr


def test_a_doubtful_host_is_warned_of(
    start: Callable[..., Any], client: AgentRegistryClient
) -> None:
    """On standard error; it is registered all the same."""
    host = "no-such-host.invalid"
    done = start("register", "--id", "w", *WORKER, "--host", host)

    _, errors = done.communicate(timeout=20)

    assert f"agent-registry: Agent w registers the host {host}, which does" in errors
    assert (done.returncode, client.get("w").host) == (0, host)


def test_agents_are_removed_up_to_one_that_is_not_known(
    invoke: Invoke, client: AgentRegistryClient
) -> None:
    """Each that is gone is named, and so is that one."""
    for agent_id in "abc":
        invoke("register", "--id", agent_id, *WORKER)

    result = invoke("deregister", "a", "nobody", "b")
    other = invoke("deregister", "c", "--json")

    assert (result.exit_code, result.stdout) == (1, "a\n")
    assert "agent-registry: nobody: no agent is registered" in result.stderr
    assert json.loads(other.stdout) == {"agent_id": "c"}
    assert [agent.agent_id for agent in client.agents()] == ["b"]
