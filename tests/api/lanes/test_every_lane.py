"""What holds for every lane: failures, a store that is away, middleware."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import AgentRegistryServer
from store import (
    AgentRecord,
    AgentRegistryRepository,
    SqliteAgentRegistryRepository,
    Storage,
)

from .traffic import Lanes, Request, no_way


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/agents/a/heartbeat"),
        ("POST", "/agents/register"),
        ("GET", "/agents?limit=1"),
    ],
)
def test_a_failure_in_a_lane_is_a_problem_and_is_raised(
    storage: Storage, make_body: Callable[..., dict[str, Any]], method: str, path: str
) -> None:
    """So that the server logs it, as with a route."""

    class Broken(SqliteAgentRegistryRepository):
        def submit(self, *_args: Any, **_kwargs: Any) -> Any:
            raise ZeroDivisionError

    broken = Broken(storage.database)  # type: ignore[arg-type] # SQLite's own
    app = AgentRegistryServer("", broken).create_app()
    body = make_body() if path == "/agents/register" else None

    answer = TestClient(app, raise_server_exceptions=False).request(
        method, path, json=body
    )

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    with pytest.raises(ZeroDivisionError):
        TestClient(app).request(method, path, json=body)


def test_lane_and_route_answer_alike_when_the_store_is_away(
    lanes: Lanes, storage: Storage
) -> None:
    """503 with Retry-After."""
    storage.database.open()
    storage.database.close()

    answer = lanes.ask_both(Request("/agents/a/heartbeat"))

    assert answer.status == 503
    assert (b"retry-after", b"1") in answer.headers


def test_lanes_stand_outside_of_middleware_that_is_added_later(
    app: FastAPI,
    lanes: Lanes,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
) -> None:
    """Nothing that others add slows the heartbeats down."""
    repo.add(make_record("a"))
    app.add_middleware(lambda _app: no_way)

    assert lanes.ask(Request("/agents/a/heartbeat")).status == 200
