"""What the tests of the HTTP facade share."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from httpx2 import Response
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import Authority, Principal, Role
from api.errors import CODES, MEDIA_TYPE

MakeClient = Callable[..., TestClient]

#: Callers by their token, which is their name; patterns where they are agents.
PRINCIPALS = {
    "root": Principal("root", frozenset({Role.ADMIN})),
    "ops": Principal("ops", frozenset({Role.OPERATOR})),
    "billing": Principal("billing", frozenset({Role.AGENT}), ("billing-*", "both-*")),
    "search": Principal("search", frozenset({Role.AGENT}), ("search-*", "both-*")),
    "portal": Principal("portal", frozenset({Role.READ})),
    "prometheus": Principal("prometheus", frozenset({Role.METRICS})),
}


class NamedCallers:
    """Credentials: each principal's token, and certificate, is its name."""

    def of_token(self, token: bytes) -> Principal | None:
        """Return the principal of this name."""
        return PRINCIPALS.get(token.decode("latin-1"))

    def of_certificate(self, names: Sequence[str]) -> Principal | None:
        """Return the first principal among the names."""
        return next((PRINCIPALS[name] for name in names if name in PRINCIPALS), None)


@pytest.fixture
def authority() -> Authority:
    """Return what lets in only those whom a credential names."""
    return Authority(NamedCallers())


@pytest.fixture
def bearer() -> Callable[[str], dict[str, str]]:
    """Return a function that builds the headers of a principal's call."""
    return lambda name: {"Authorization": f"Bearer {name}"}


@pytest.fixture(scope="session")
def described() -> dict[str, Any]:
    """Return what `/openapi.json` says; nothing is opened for it."""
    return AgentRegistryServer("sqlite:///never-opened.db").create_app().openapi()


@pytest.fixture
def make_client(described: dict[str, Any]) -> MakeClient:
    """Return a function that builds a client which checks every answer.

    Whatever a test sees is described in `/openapi.json`, and every error is a
    whole problem document.
    """

    def check(response: Response) -> None:
        response.read()
        _check_described(described, response)
        if response.status_code >= 400 and response.request.method != "HEAD":
            _check_problem(response)

    def make(app: FastAPI, **options: Any) -> TestClient:
        client = TestClient(app, **options)
        client.event_hooks = {"response": [check]}
        return client

    return make


@pytest.fixture
def client(app: FastAPI, make_client: MakeClient) -> TestClient:
    """Return a checking client of `app`; lifespan never runs."""
    return make_client(app)


@pytest.fixture
def register(
    client: TestClient, make_body: Callable[..., dict[str, Any]]
) -> Callable[..., Response]:
    """Return a function that registers an agent, and returns the answer."""

    def register(agent_id: str = "summariser-1", **over: Any) -> Response:
        return client.post("/agents/register", json=make_body(agent_id, **over))

    return register


@pytest.fixture
def frozen(client: TestClient) -> Iterator[FrozenDateTimeFactory]:
    """Stop the clock, and return what moves it."""
    assert client
    with freeze_time("2026-11-22T15:45:00Z") as frozen:
        yield frozen


def _check_described(described: dict[str, Any], response: Response) -> None:
    method, path = response.request.method.lower(), response.request.url.path
    for template, operations in described["paths"].items():
        pattern = re.sub(r"{\w+}", "[^/]+", template)
        if method in operations and re.fullmatch(pattern, path):
            answers = operations[method]["responses"]
            assert str(response.status_code) in answers, (method, template)
            content = answers[str(response.status_code)].get("content", {})
            media_type = response.headers.get("content-type", "").partition(";")[0]
            assert media_type in (content or {""})


def _check_problem(response: Response) -> None:
    problem = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE
    assert {"type", "title", "status", "code", "detail"} <= set(problem)
    assert problem["type"] == "about:blank"
    assert problem["status"] == response.status_code
    assert problem["code"] in CODES
