"""Health."""

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import version

import pytest
from freezegun.api import FrozenDateTimeFactory
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import Authority
from api.health import LeaseTimeHealth, SweepHealth
from api.server import Security
from store import AgentRegistryRepository, Storage
from store.clock import utcnow

SWEPT = {
    "interval_seconds": 60.0,
    "last_finished_at": "2026-11-22T15:45:00.000000Z",
    "age_seconds": 1.5,
    "removed": 3,
    "runs": 9,
    "failures": 0,
    "last_error": None,
    "overdue": False,
}


def test_health_without_a_scheduler_is_good(client: TestClient) -> None:
    """The facade alone is well, and says that nothing sweeps."""
    response = client.get("/health")

    health = response.json()
    assert response.status_code == 200
    assert health.pop("uptime_seconds") >= 0
    assert health == {
        "status": "ok",
        "version": version("agent-registry"),
        "agents": {"alive": 0, "late": 0, "dead": 0},
        "sweep": None,
        "guard": None,
    }


def test_health_counts_agents_by_status(
    client: TestClient,
    register: Callable[..., object],
    frozen: FrozenDateTimeFactory,
) -> None:
    """Alive, late and dead agents are counted as readers would judge them."""
    for agent_id, ttl_seconds in {"a": 90, "b": 60, "c": 61, "d": 30}.items():
        register(agent_id, ttl_seconds=ttl_seconds)
    frozen.tick(timedelta(seconds=41))

    counted = client.get("/health").json()["agents"]

    assert counted == {"alive": 1, "late": 2, "dead": 1}


@pytest.mark.parametrize(("overdue", "status"), [(False, 200), (True, 503)])
def test_health_tells_of_the_sweep(
    store_url: str,
    repo: AgentRegistryRepository,
    make_client: Callable[..., TestClient],
    *,
    overdue: bool,
    status: int,
) -> None:
    """A sweep that keeps up is well; one that is overdue makes health answer 503."""
    last = datetime.fromisoformat(str(SWEPT["last_finished_at"]))
    swept = SWEPT | {"overdue": overdue, "last_finished_at": last}
    server = AgentRegistryServer(store_url, repo, sweep=lambda: SweepHealth(**swept))

    response = make_client(server.create_app()).get("/health")

    assert response.status_code == status
    assert response.json()["sweep"] == SWEPT | {"overdue": overdue}


@pytest.mark.parametrize(("overdue", "status"), [(False, 200), (True, 503)])
def test_health_tells_of_lease_time_that_stands_still(
    store_url: str,
    repo: AgentRegistryRepository,
    make_client: Callable[..., TestClient],
    *,
    overdue: bool,
    status: int,
) -> None:
    """For a while it may, as after each start; for long it must not."""
    stands = LeaseTimeHealth(
        stands_still_at=utcnow(), cause="stall", overdue=overdue, rearms={}
    )
    server = AgentRegistryServer(store_url, repo, lease_time=lambda: stands)

    response = make_client(server.create_app()).get("/health")

    assert response.status_code == status
    assert response.json()["lease_time"]["overdue"] is overdue
    assert response.json().get("code") == ("leases_stopped" if overdue else None)


def test_health_without_a_store_tells_what_it_knows(
    storage: Storage, client: TestClient
) -> None:
    """The 503 of a store that is away still has the version, the sweep, the guard."""
    storage.database.close()

    problem = client.get("/health").json()

    assert problem["code"] == "store_unavailable"
    assert problem["version"] == version("agent-registry")
    assert problem["uptime_seconds"] >= 0
    assert (problem["sweep"], problem["guard"]) == (None, None)
    assert "agents" not in problem


def test_for_a_stranger_nobody_is_counted(
    store_url: str,
    storage: Storage,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole count takes a reader a fifth of a second, and strangers have no limit."""
    counts: list[object] = []
    count = storage.agents.count_by_status
    monkeypatch.setattr(
        storage.agents, "count_by_status", lambda: counts.append(None) or count()
    )
    server = AgentRegistryServer(
        store_url, storage.agents, security=Security(authority)
    )
    stranger = TestClient(server.create_app())

    well = stranger.get("/health")
    storage.database.close()
    unwell = stranger.get("/health")

    assert well.json() == {"status": "ok"}
    assert (unwell.status_code, unwell.json()["code"]) == (503, "store_unavailable")
    assert counts == []
