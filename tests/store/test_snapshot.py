"""Lists that are taken while others write."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from store import AgentFilter, AgentRegistryRepository

Generations = Callable[[AgentRegistryRepository], list[Any]]


def records(repo: AgentRegistryRepository) -> list[Any]:
    """List records."""
    return [(agent.agent_id, agent.metadata["generation"]) for agent in repo.list_all()]


def rendered(repo: AgentRegistryRepository) -> list[Any]:
    """List as the facade does."""
    page = repo.list_page(AgentFilter(), now=repo.now())
    return [
        (agent["agent_id"], agent["metadata"]["generation"])
        for agent in json.loads(page.body)
    ]


@pytest.mark.parametrize("list_once", [records, rendered])
def test_a_list_amid_registrations_is_one_snapshot(
    repo: AgentRegistryRepository, watch: Callable[..., Any], list_once: Generations
) -> None:
    """Whoever registered last in it, all who did so before are in it as well."""
    watched = watch(lambda: list_once(repo))

    assert watched.torn == []
    assert watched.different > 10
    assert watched.rate > 1000
