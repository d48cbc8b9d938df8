"""What the tests of the lanes share."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI

from api import AgentRegistryServer
from api.access import Authority
from api.server import Security
from store import AgentRecord, AgentRegistryRepository

from .traffic import KNOWN, OWNED, Lanes


@pytest.fixture
def kept_out() -> set[int]:
    """Name the statuses of those who are not let in: none, for anybody is."""
    return set()


@pytest.fixture
def app(
    kept_out: set[int],
    store_url: str,
    repo: AgentRegistryRepository,
    authority: Authority,
) -> FastAPI:
    """Return an application that serves `repo`, to anybody or to who is known."""
    security = Security(authority) if kept_out else Security()
    return AgentRegistryServer(store_url, repo, security=security).create_app()


@pytest.fixture
def lanes(app: FastAPI) -> Iterator[Lanes]:
    """Return the lanes of `app`, on an event loop of their own."""
    with asyncio.Runner() as runner:
        yield Lanes(app, runner)


@pytest.fixture
def register_agents(
    repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
) -> Callable[[], None]:
    """Return a function that registers the agents that are known, now."""

    def register() -> None:
        for agent_id in [*KNOWN, *OWNED]:
            repo.add(make_record(agent_id, owner=OWNED.get(agent_id, "")))

    return register
