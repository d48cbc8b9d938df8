"""What every test may ask for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import AgentRegistryServer
from store import (
    AgentRecord,
    AgentRegistryRepository,
    Storage,
    create_storage_backend,
)


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """Name a database file that does not exist yet."""
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def storage(store_url: str) -> Iterator[Storage]:
    """Open a store on a file of its own, and close it afterwards."""
    storage = create_storage_backend(store_url)
    yield storage
    storage.database.close()


@pytest.fixture
def repo(storage: Storage) -> AgentRegistryRepository:
    """Return the repository of `storage`."""
    return storage.agents


@pytest.fixture
def app(store_url: str, repo: AgentRegistryRepository) -> FastAPI:
    """Return an application that serves `repo`."""
    return AgentRegistryServer(store_url, repo).create_app()


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Return a client of `app`; lifespan never runs."""
    return TestClient(app)


@pytest.fixture
def make_record() -> Callable[..., AgentRecord]:
    """Return a function that builds a record, its arguments over the defaults."""

    def make(agent_id: str = "summariser-1", **over: Any) -> AgentRecord:
        described = {"agent_name": "Summariser", "host": "10.0.0.7", "port": 8001}
        return AgentRecord(agent_id=agent_id, **described | over)

    return make


@pytest.fixture
def make_body() -> Callable[..., dict[str, Any]]:
    """Return a function that builds a registration's body."""

    def make(agent_id: str = "summariser-1", **over: Any) -> dict[str, Any]:
        described = {"agent_name": "Summariser", "host": "10.0.0.7", "port": 8001}
        return {"agent_id": agent_id} | described | over

    return make
