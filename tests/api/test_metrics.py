"""What Prometheus is told by the facade."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from freezegun.api import FrozenDateTimeFactory
from httpx2 import Response
from starlette.responses import Response as StarletteResponse
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.health import LeaseTimeHealth, SweepHealth
from api.listings import Listings
from store import AgentRegistryRepository, GuardRules, Storage
from store.sqlite import SqliteAgentRegistryRepository

Register = Callable[..., Response]
MakeClient = Callable[..., TestClient]
OURS = "agent_registry_"


def scrape(client: TestClient) -> Mapping[str, float]:
    """Return what `/metrics` says, with names of ours shortened."""
    response = client.get("/metrics")
    assert response.status_code == 200
    samples = [line for line in response.text.splitlines() if line[0] != "#"]
    pairs = [line.removeprefix(OURS).rsplit(" ", 1) for line in samples]
    return {name: float(value) for name, value in pairs}


def by_label(scraped: Mapping[str, float], name: str, label: str) -> dict[str, float]:
    """Return a metric's numbers by the value of its one label."""
    start = f'{name}{{{label}="'
    return {
        key.removeprefix(start).removesuffix('"}'): value
        for key, value in scraped.items()
        if key.startswith(start)
    }


def test_metrics_are_prometheus_text(client: TestClient) -> None:
    """In the format that every version of Prometheus reads."""
    response = client.get("/metrics")

    assert response.headers["content-type"] == (
        "text/plain; version=0.0.4; charset=utf-8"
    )
    assert response.text.startswith("# HELP ")
    assert response.text.endswith("\n")


def test_registrations_are_counted_by_what_they_did(
    client: TestClient, register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """Outcomes that never happened are there, as zeros; what is refused is not."""
    before = scrape(client)
    register("a")
    register("a")
    register("a", port=9)
    register("a", port=-1)
    frozen.tick(60)
    register("a")
    register("b")

    counted = by_label(scrape(client), "registrations_total", "outcome")

    assert set(by_label(before, "registrations_total", "outcome").values()) == {0}
    assert counted == {"created": 2, "updated": 1, "unchanged": 1, "revived": 1}


@pytest.mark.parametrize("bulk", [False, True], ids=["one by one", "in bulk"])
def test_heartbeats_are_counted_by_whether_they_renewed(
    client: TestClient, register: Register, *, bulk: bool
) -> None:
    """Whichever way they come, each is part of a batch."""
    register("a")
    register("b")
    ids = ["a", "b", "nobody"]

    if bulk:
        client.post("/agents/heartbeats", json={"agent_ids": ids})
    else:
        for agent_id in ids:
            client.post(f"/agents/{agent_id}/heartbeat")

    scraped = scrape(client)
    assert by_label(scraped, "heartbeats_total", "outcome") == {
        "renewed": 2,
        "unknown": 1,
    }
    assert scraped["heartbeat_batch_size_count"] == (1 if bulk else 3)
    assert scraped["heartbeat_batch_size_sum"] == 3


def test_a_removal_is_counted_by_how_it_came_about(
    client: TestClient,
    register: Register,
    repo: AgentRegistryRepository,
    frozen: FrozenDateTimeFactory,
) -> None:
    """By a call or by a sweep; who was not there was not removed."""
    for agent_id in ("a", "b", "c"):
        register(agent_id)
    client.delete("/agents/a")
    client.delete("/agents/a")
    frozen.tick(60)
    repo.delete_expired()

    scraped = scrape(client)

    assert scraped["deregistrations_total"] == 1
    assert scraped["expiries_total"] == 2


def test_agents_are_counted_by_status(
    client: TestClient, register: Register, frozen: FrozenDateTimeFactory
) -> None:
    """As readers see them at the moment of the scrape."""
    for agent_id, ttl_seconds in {"a": 90, "b": 60, "c": 61, "d": 30}.items():
        register(agent_id, ttl_seconds=ttl_seconds)
    frozen.tick(41)

    counted = by_label(scrape(client), "agents", "status")

    assert counted == {"alive": 1, "late": 2, "held": 0, "dead": 1}


@pytest.fixture
def guarded(storage: Storage) -> AgentRegistryRepository:
    """Return a repository on the file of `storage` that holds who expires together."""
    return SqliteAgentRegistryRepository(storage.database, guard=GuardRules())  # type: ignore[arg-type] # SQLite's own


@pytest.mark.parametrize(("dead", "level"), [(12, "part"), (30, "most")])
def test_a_hold_is_shown_with_its_level_until_it_is_released(
    guarded: AgentRegistryRepository,
    make_client: MakeClient,
    register: Register,
    frozen: FrozenDateTimeFactory,
    dead: int,
    level: str,
) -> None:
    """From the first look on, before the sweep that counts it."""
    client = make_client(AgentRegistryServer("unused:", guarded).create_app())
    for number in range(40):
        register(str(number), ttl_seconds=60 if number < dead else 600)
    frozen.tick(1)
    guarded.renew_all([str(number) for number in range(dead)])
    frozen.tick(60)

    seen = scrape(client)
    guarded.sweep()
    swept = scrape(client)
    client.post("/guard/release")

    holding = by_label(seen, "guard_holding", "level")
    assert holding == {"part": 0, "most": 0} | {level: 1}
    assert seen['agents{status="held"}'] == dead
    assert (seen["guard_holds_total"], swept["guard_holds_total"]) == (0, 1)
    assert set(by_label(scrape(client), "guard_holding", "level").values()) == {0}


def test_commits_and_the_log_are_shown(client: TestClient, register: Register) -> None:
    """One transaction took place, within an infinite time, and lies in the log."""
    register()

    scraped = scrape(client)

    assert scraped["commit_duration_seconds_count"] == 1
    assert scraped['commit_duration_seconds_bucket{le="+Inf"}'] == 1
    assert 0 < scraped["commit_duration_seconds_sum"] < 10
    assert scraped["commit_failures_total"] == 0
    assert scraped["wal_size_bytes"] > 0
    assert scraped["store_up"] == 1


def test_metrics_are_told_without_the_store(
    client: TestClient, register: Register, storage: Storage
) -> None:
    """What was counted stays, the process is there, of the agents nothing is said."""
    register()
    storage.database.close()

    scraped = scrape(client)

    assert scraped["store_up"] == 0
    assert scraped['registrations_total{outcome="created"}'] == 1
    assert scraped["process_resident_memory_bytes"] > 0
    assert not by_label(scraped, "agents", "status")
    assert not by_label(scraped, "guard_holding", "level")


class _Stuck(SqliteAgentRegistryRepository):
    def write_lag_seconds(self) -> float:
        return math.inf


def test_a_store_that_only_reads_is_not_up(
    store_url: str, storage: Storage, make_client: MakeClient
) -> None:
    """As health has it; the agents that can be read are told."""
    stuck = _Stuck(storage.database)  # type: ignore[arg-type] # SQLite's own

    scraped = scrape(make_client(AgentRegistryServer(store_url, stuck).create_app()))

    assert scraped["store_up"] == 0
    assert scraped['agents{status="alive"}'] == 0


def test_listings_that_are_refused_are_counted(
    app: FastAPI, make_client: MakeClient
) -> None:
    """Each 503 that says overloaded."""

    @app.get("/crowded")
    def crowded() -> StarletteResponse:
        listings = Listings(most_bytes=0)
        listings.answer(b"[]", None)  # and its reader never comes
        return listings.answer(b"[]", None)

    client = make_client(app)
    before = scrape(client)['refused_answers_total{code="overloaded"}']

    answered = [client.get("/crowded").json()["code"] for _ in range(2)]

    assert answered == ["overloaded"] * 2
    assert before == 0
    assert scrape(client)['refused_answers_total{code="overloaded"}'] == 2


def test_what_the_process_reports_is_told(
    store_url: str, repo: AgentRegistryRepository, make_client: MakeClient
) -> None:
    """The sweep's age and failures; whether lease time stands still; the re-arms."""
    now = datetime(2026, 11, 22, 15, 45, tzinfo=UTC)
    server = AgentRegistryServer(
        store_url,
        repo,
        sweep=lambda: SweepHealth(
            interval_seconds=60.0,
            last_finished_at=now,
            age_seconds=1.5,
            removed=3,
            runs=9,
            failures=2,
            last_error=None,
            overdue=False,
        ),
        lease_time=lambda: LeaseTimeHealth(
            stands_still_at=now,
            cause="gap",
            overdue=False,
            rearms={"gap": 4, "start": 1},
        ),
    )

    scraped = scrape(make_client(server.create_app()))

    assert scraped["sweep_age_seconds"] == 1.5
    assert scraped["sweep_failures_total"] == 2
    assert scraped["lease_time_stopped"] == 1
    assert by_label(scraped, "lease_rearms_total", "cause") == {"gap": 4, "start": 1}


def test_without_a_daemon_nothing_is_said_of_its_work(client: TestClient) -> None:
    """No scheduler, no lease clock: their metrics are absent rather than zero."""
    scraped = scrape(client)

    assert not {"sweep_age_seconds", "lease_time_stopped"} & set(scraped)


def test_each_application_counts_for_itself(
    store_url: str,
    repo: AgentRegistryRepository,
    client: TestClient,
    register: Register,
    make_client: MakeClient,
) -> None:
    """Two live in one process, and on one store."""
    register()
    other = make_client(AgentRegistryServer(store_url, repo).create_app())

    registered = [
        scrape(each)['registrations_total{outcome="created"}']
        for each in (client, other)
    ]

    assert registered == [1, 0]


def test_nothing_an_agent_says_of_itself_is_told(
    client: TestClient, register: Register
) -> None:
    """A time series for each agent would cost Prometheus more than the registry."""
    register("canary-id", agent_name="canary-name", host="canary.host")
    client.post("/agents/canary-id/heartbeat")
    client.post("/agents/canary-unknown/heartbeat")

    assert "canary" not in client.get("/metrics").text
