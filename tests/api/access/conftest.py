"""What the tests of access share."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import Authority
from api.server import Security
from store import AgentRegistryRepository


@pytest.fixture
def app(store_url: str, repo: AgentRegistryRepository, authority: Authority) -> FastAPI:
    """Return an application that lets in only who is known."""
    server = AgentRegistryServer(store_url, repo, security=Security(authority))
    return server.create_app()


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Return a client of it."""
    return TestClient(app)
