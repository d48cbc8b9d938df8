"""Problem documents, on every path."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.exceptions import HTTPException
from starlette.responses import Response as StarletteResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from api import AgentRegistryServer
from api.access import Authority
from api.errors import CODES, ProblemError
from api.health import SweepHealth
from api.listings import Listings
from api.server import Security
from api.throttle import Throttle
from store import (
    QuotaExceeded,
    SqliteAgentRegistryRepository,
    SqliteRegistryDatabase,
    Storage,
    StoreFull,
    StoreUnavailable,
)

Register = Callable[..., Response]
Bearer = Callable[[str], dict[str, str]]
JSON = {"Content-Type": "application/json"}
BODY = '{"agent_id":"billing-1","agent_name":"B","host":"10.0.0.7","port":8001}'
CALLS = [
    ("POST", "/agents/register"),
    ("POST", "/agents/a/heartbeat"),
    ("GET", "/agents"),
    ("GET", "/agents/a"),
    ("DELETE", "/agents/a"),
    ("GET", "/health"),
]
WRITES = [(method, path) for method, path in CALLS if method != "GET"]


_FAULTS = {
    "bug": ZeroDivisionError,
    "away": StoreUnavailable,
    "full": StoreFull,
}


class _FaultyRepository(SqliteAgentRegistryRepository):
    """Fails for `bug`, does not answer for `away`, and has no room for `full`."""

    def submit(
        self, method: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        for agent_id, error in _FAULTS.items():
            if args[:1] == (agent_id,):
                raise error
        return super().submit(method, *args, **kwargs)


@pytest.fixture
def faulty(
    tmp_path: Path,
    make_client: Callable[..., TestClient],
    authority: Authority,
    bearer: Bearer,
) -> Iterator[Any]:
    """Return a client of a registry in which everything can go wrong."""
    database = SqliteRegistryDatabase(tmp_path / "faulty.db")
    server = AgentRegistryServer(
        "unused:",
        _FaultyRepository(database),
        sweep=lambda: _sweep(overdue=True),
        security=Security(authority, Throttle(per_second=0.5, burst=0)),
    )
    app = server.create_app()

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418)

    @app.get("/many")
    def many() -> None:
        raise QuotaExceeded

    @app.get("/crowded")
    def crowded() -> StarletteResponse:
        listings = Listings(most_bytes=0)
        listings.answer(b"[]", None)  # and its reader never comes
        return listings.answer(b"[]", None)

    @app.get("/stopped")
    def stopped() -> None:
        raise ProblemError(503, "leases_stopped", headers={"Retry-After": "1"})

    headers = bearer("root")
    yield make_client(app, raise_server_exceptions=False, headers=headers)
    database.close()


def _sweep(*, overdue: bool) -> SweepHealth:
    return SweepHealth(
        interval_seconds=60,
        last_finished_at=datetime(2026, 11, 22, 15, 45, tzinfo=UTC),
        age_seconds=200.5,
        removed=3,
        runs=9,
        failures=2,
        last_error="StoreUnavailable",
        overdue=overdue,
    )


def _as(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


#: One way to provoke each code.
PROVOKED: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "malformed_json": (
        400,
        "POST",
        "/agents/register",
        {"content": "{", "headers": JSON},
    ),
    "invalid_request": (422, "POST", "/agents/register", {"json": {}}),
    "agent_not_found": (404, "GET", "/agents/nobody", {}),
    "unauthenticated": (401, "GET", "/agents", {"headers": _as("stranger")}),
    "forbidden": (403, "GET", "/metrics", {"headers": _as("billing")}),
    "quota_exceeded": (429, "GET", "/many", {}),
    "too_many_registrations": (
        429,
        "POST",
        "/agents/register",
        {"content": BODY, "headers": JSON | _as("billing")},
    ),
    "not_found": (404, "GET", "/nowhere", {}),
    "method_not_allowed": (405, "PUT", "/agents", {}),
    "body_too_large": (413, "POST", "/agents/register", {"json": "x" * 65_536}),
    "unsupported_media_type": (415, "POST", "/agents/register", {"content": "{}"}),
    "store_unavailable": (503, "GET", "/agents/away", {}),
    "store_full": (503, "DELETE", "/agents/full", {}),
    "overloaded": (503, "GET", "/crowded", {}),
    "leases_stopped": (503, "GET", "/stopped", {}),
    "sweep_overdue": (503, "GET", "/health", {}),
    "internal_error": (500, "GET", "/agents/bug", {}),
    "http_error": (418, "GET", "/teapot", {}),
}


#: Answered by the listener, which no application is behind: tests/daemon has them.
BELOW = {"request_timeout", "header_too_large", "misdirected", "foreign_origin"}


def test_every_code_can_be_provoked() -> None:
    """The table of the next test leaves out no code that an application answers."""
    assert set(PROVOKED) == set(CODES) - BELOW


@pytest.mark.parametrize("code", PROVOKED)
def test_error_is_a_problem(faulty: TestClient, code: str) -> None:
    """Each error is one whole RFC 9457 document, and says what its code means."""
    status, method, path, content = PROVOKED[code]

    response = faulty.request(method, path, **content)

    problem = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["code"] == code
    assert problem["title"]
    assert problem["detail"]
    assert ("errors" in problem) == (code == "invalid_request")
    assert ("retry-after" in response.headers) == (status in (429, 503))
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert ("allow" in response.headers) == (status == 405)
    assert (response.headers.get("connection") == "close") == (status == 413)


def test_invalid_request_names_each_field(client: TestClient) -> None:
    """All that is wrong is told at once, by the path of the field."""
    body = {"agent_id": "-", "agent_name": "", "host": "a b", "port": 0, "owner": "x"}

    response = client.post("/agents/register", json=body)

    assert [error["field"] for error in response.json()["errors"]] == [
        "agent_id",
        "agent_name",
        "host",
        "port",
        "owner",
    ]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/agents", "GET"),
        ("/agents/register", "DELETE, GET, POST"),
        ("/agents/a", "DELETE, GET"),
        ("/agents/a/heartbeat", "POST"),
        ("/health", "GET"),
        ("/docs", "GET"),
        ("/docs/files/swagger-ui.css", "GET"),
        ("/docs/files/agents", "GET"),
    ],
)
def test_other_methods_are_told_all_that_are_allowed(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    """405 names every method of the path, whichever route has it."""
    response = client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "BREW"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        "/agents/",
        "//agents",
        "/agents//heartbeat",
        "/agents/a/",
        "/agents/a/heartbeat/",
        "/agents;x=1",
        "/AGENTS",
        "/health/",
    ],
)
def test_path_is_matched_exactly(client: TestClient, method: str, path: str) -> None:
    """No redirect, and no second spelling of a path."""
    response = client.request(method, f"http://testserver{path}")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_closed_store_is_unavailable(
    storage: Storage, client: TestClient, make_body: Any, method: str, path: str
) -> None:
    """Every call says to retry, and why is not for strangers."""
    storage.database.close()

    response = client.request(method, path, json=_body(path, make_body))

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["code"] == "store_unavailable"
    assert "closed" not in response.text


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_locked_store_takes_no_change(
    tmp_path: Path,
    client: TestClient,
    register: Register,
    make_body: Any,
    method: str,
    path: str,
) -> None:
    """While another process holds the file, reads answer; afterwards all does."""
    register("a")

    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        refused = client.request(method, path, json=_body(path, make_body))
        listed = client.get("/agents")
    served = client.request(method, path, json=_body(path, make_body))

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [agent["agent_id"] for agent in listed.json()] == ["a"]
    assert served.is_success


def test_store_that_cannot_be_opened_is_unavailable(
    tmp_path: Path, make_client: Callable[..., TestClient]
) -> None:
    """Calls answer 503 until an operator mends it; none shows an empty fleet."""
    url = f"sqlite:///{tmp_path}/later/registry.db"
    client = make_client(AgentRegistryServer(url).create_app())

    refused = [client.get(path).status_code for path in ("/agents", "/health")]
    (tmp_path / "later").mkdir()

    assert refused == [503, 503]
    assert client.get("/agents").json() == []


def test_failure_tells_nothing_of_itself(faulty: TestClient) -> None:
    """A 500 names no type, no file and no line."""
    response = faulty.get("/agents/bug")

    assert "Zero" not in response.text
    assert response.json()["detail"] == CODES["internal_error"]


def test_overdue_sweep_stands_in_the_problem(faulty: TestClient) -> None:
    """An unwell answer has what a healthy one has beside the problem."""
    problem = faulty.get("/health").json()

    assert problem["sweep"] == _sweep(overdue=True).model_dump(mode="json")
    assert problem["agents"] == {"alive": 0, "late": 0, "dead": 0}
    assert problem["guard"] is None


@pytest.mark.parametrize("path", ["/agents", "/docs/files/x", "/nowhere"])
def test_websocket_is_turned_away(app: FastAPI, path: str) -> None:
    """Nothing here speaks WebSocket; being asked to is no failure."""
    with (
        pytest.raises(WebSocketDisconnect),
        TestClient(app).websocket_connect(path),
    ):
        pass


def _body(path: str, make_body: Callable[..., dict[str, Any]]) -> Any:
    return make_body("a") if path == "/agents/register" else None


@pytest.mark.parametrize("path", ["/agents/register", "/agents/heartbeats"])
def test_errors_of_one_problem_are_bounded(client: TestClient, path: str) -> None:
    """What a request may be full of, an answer is not."""
    several = client.post(path, json=dict.fromkeys(map(str, range(100))))
    many = client.post(path, json=dict.fromkeys(map(str, range(101))))

    assert len(several.json()["errors"]) == 20
    assert many.json()["errors"] == [
        {"field": "", "reason": "must have at most 100 members"}
    ]


def test_errors_of_parameters_are_bounded(client: TestClient) -> None:
    """As those of bodies are."""
    answer = client.get("/agents?" + "&".join(f"p{n}=1" for n in range(30)))

    assert len(answer.json()["errors"]) == 20
