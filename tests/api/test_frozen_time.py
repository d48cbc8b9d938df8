"""Leases over HTTP, by a clock that stands still until told to move."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from httpx2 import Response
from starlette.testclient import TestClient

from api import AgentRegistryServer

Register = Callable[..., Response]
MICROSECOND = timedelta(microseconds=1)


def seconds(count: float) -> timedelta:
    """Return a duration."""
    return timedelta(seconds=count)


@pytest.mark.parametrize("ttl_seconds", [1, 60, 86_400])
def test_agent_is_alive_until_its_deadline_and_dead_at_it(
    client: TestClient,
    register: Register,
    frozen: FrozenDateTimeFactory,
    ttl_seconds: int,
) -> None:
    """One microsecond decides, for the list and for get, before any sweep."""
    register(ttl_seconds=ttl_seconds)

    frozen.tick(seconds(ttl_seconds) - MICROSECOND)
    assert client.get("/agents").json()[0]["is_alive"] is True
    assert client.get("/agents/summariser-1").json()["status"] == "late"

    frozen.tick(MICROSECOND)
    dead = client.get("/agents/summariser-1").json()
    assert client.get("/agents").json() == []
    assert client.get("/agents?include_dead=true").json() == [dead]
    assert (dead["is_alive"], dead["status"]) == (False, "dead")
    assert dead["age_seconds"] == ttl_seconds


@pytest.mark.parametrize("ttl_seconds", [1, 3, 60, 100])
def test_agent_is_late_after_two_intervals(
    client: TestClient,
    register: Register,
    frozen: FrozenDateTimeFactory,
    ttl_seconds: int,
) -> None:
    """At two thirds of the TTL it is late, still alive, and counted as late."""
    register(ttl_seconds=ttl_seconds)

    frozen.tick(seconds(2 * ttl_seconds) // 3 - MICROSECOND)
    before = client.get("/agents/summariser-1").json()
    frozen.tick(2 * MICROSECOND)
    after = client.get("/agents/summariser-1").json()

    assert (before["status"], before["is_alive"]) == ("alive", True)
    assert (after["status"], after["is_alive"]) == ("late", True)
    assert client.get("/health").json()["agents"] == {"alive": 0, "late": 1, "dead": 0}


def test_beat_moves_the_deadline(
    client: TestClient, register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """The lease runs a whole TTL from the beat, and the age starts again."""
    register()
    frozen.tick(seconds(59))

    beat = client.post("/agents/summariser-1/heartbeat").json()
    frozen.tick(seconds(59.5))

    found = client.get("/agents").json()[0]
    assert beat["expires_at"] == "2026-11-22T15:46:59.000000Z"
    assert found["expires_at"] == beat["expires_at"]
    assert found["last_heartbeat"] == "2026-11-22T15:45:59.000000Z"
    assert found["age_seconds"] == 59.5


def test_registering_again_renews_and_keeps_the_start(
    register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """A living agent's `registered_at` stays; its lease starts again."""
    first = register().json()
    frozen.tick(seconds(59))

    again = register(ttl_seconds=90).json()

    assert again["registered_at"] == first["registered_at"]
    assert again["expires_at"] == "2026-11-22T15:47:29.000000Z"


def test_dead_agent_that_registers_starts_a_new_life(
    register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """It is revived, answered with 200, and is as young as its registration."""
    register()
    frozen.tick(seconds(60))

    again = register()

    assert (again.status_code, again.json()["outcome"]) == (200, "revived")
    assert again.json()["registered_at"] == "2026-11-22T15:46:00.000000Z"


def test_beat_revives_a_dead_agent_not_yet_swept(
    client: TestClient, register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """Whoever beats is alive, as long as its row is there."""
    register()
    frozen.tick(seconds(3_600))

    beat = client.post("/agents/summariser-1/heartbeat")

    assert beat.status_code == 200
    assert client.get("/agents").json()[0]["status"] == "alive"


def test_age_is_never_negative(
    client: TestClient, register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """A clock stepped back shows a fresh agent, and its deadline stands."""
    first = register().json()
    frozen.tick(seconds(-30))

    found = client.get("/agents/summariser-1").json()

    assert found["age_seconds"] == 0
    assert found["expires_at"] == first["expires_at"]


def test_application_made_while_frozen_follows_the_clock(
    tmp_path: Path, make_body: Callable[..., dict[str, Any]]
) -> None:
    """Nothing but `freeze_time` is needed: made, opened and served frozen."""
    with freeze_time("2030-01-01T00:00:00.25Z") as clock:
        app = AgentRegistryServer(f"sqlite:///{tmp_path}/frozen.db").create_app()
        with TestClient(app) as client:
            registered = client.post("/agents/register", json=make_body()).json()
            clock.tick(seconds(60))

            assert registered["last_heartbeat"] == "2030-01-01T00:00:00.250000Z"
            assert client.get("/agents").json() == []
            assert client.get("/openapi.json").status_code == 200
