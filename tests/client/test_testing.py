"""The fixtures that users' own tests get."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import agent_registry_client
import pytest
from agent_registry_client import AgentRegistryClient, InvalidRequest, Unreachable
from agent_registry_client.testing import RegistryProcess


def test_a_registry_is_started_with_settings(
    start_registry: Callable[..., RegistryProcess],
) -> None:
    """On a port of its own, and knowing nobody."""
    registry = start_registry(leases__max_ttl_seconds=120)
    client = AgentRegistryClient(registry.url)

    assert client.agents() == ()
    with pytest.raises(InvalidRequest, match="120"):
        client.register("a", agent_name="A", host="h", port=1, ttl_seconds=121)


def test_a_registry_can_be_stopped_and_started(
    start_registry: Callable[..., RegistryProcess],
) -> None:
    """At the same place, with what it knew or without."""
    registry = start_registry()
    client = AgentRegistryClient(registry.url)
    client.register("a", agent_name="A", host="h", port=1)
    registry.stop()
    with pytest.raises(Unreachable, match="refused"):
        client.agents()
    registry.start()

    assert [agent.agent_id for agent in client.agents()] == ["a"]
    registry.stop()
    registry.start(empty=True)
    assert client.agents() == ()


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    """With the registry's own words."""
    with pytest.raises(RuntimeError, match="max_ttl_seconds"):
        RegistryProcess(tmp_path, leases__max_ttl_seconds="many")


def test_the_fixture_is_all_a_user_needs(run_user_test: Callable[[str], str]) -> None:
    """One line in a conftest."""
    outcome = run_user_test(
        """
        from agent_registry_client import AgentRegistryClient

        def test_mine(registry):
            assert AgentRegistryClient(registry.url).health().ok
        """
    )

    assert "1 passed" in outcome


@pytest.fixture
def run_user_test(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs a user's test in a process of its own."""

    def run(test: str) -> str:
        (tmp_path / "conftest.py").write_text(
            'pytest_plugins = ["agent_registry_client.testing"]\n'
        )
        (tmp_path / "test_mine.py").write_text(textwrap.dedent(test))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(agent_registry_client.__path__[0]).parent),
            },
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    return run
