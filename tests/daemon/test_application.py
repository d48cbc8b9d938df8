"""The daemon's application, under any server: it does as the configuration says."""

import http.client
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.access import Role
from daemon import issuing
from daemon.app import RegistryDaemon
from daemon.config import Config
from daemon.exits import StartupFailed
from daemon.issuing import Grant
from daemon.lease_clock import LeaseClock
from store.clock import utcnow

MakeConfig = Callable[..., Config]


def test_one_wall_clock_stamps_and_judges(
    make_config: MakeConfig, make_body: Callable[..., dict[str, Any]]
) -> None:
    """The lease clock's own: who steps it, steps all of the daemon."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    daemon = RegistryDaemon(make_config(), lease_clock=LeaseClock(wall=lambda: noon))
    client = TestClient(daemon.create_asgi_app())

    registered = client.post("/agents/register", json=make_body()).json()

    assert registered["registered_at"] == "2026-03-01T12:00:00.000000Z"
    assert registered["is_alive"]


def test_the_configured_ttls_are_granted(make_config: MakeConfig) -> None:
    """What an agent asks beyond the bounds is refused, what it leaves out is set."""
    leases = {"default_ttl_seconds": 7, "max_ttl_seconds": 8}
    app = RegistryDaemon(make_config(leases=leases)).create_asgi_app()
    body = {"agent_id": "a", "agent_name": "A", "host": "10.0.0.7", "port": 80}

    with TestClient(app) as client:
        granted = client.post("/agents/register", json=body)
        refused = client.post("/agents/register", json=body | {"ttl_seconds": 9})

    assert granted.json()["ttl_seconds"] == 7
    assert refused.status_code == 422


def test_docs_are_on_where_only_this_machine_is_listened_to(
    make_config: MakeConfig,
) -> None:
    """Off under another server: where that listens is not known."""
    daemon = RegistryDaemon(make_config())
    daemon.start()
    connection = http.client.HTTPConnection(*daemon.address, timeout=10)
    connection.request("GET", "/openapi.json")
    shown = connection.getresponse().status
    connection.close()
    daemon.stop()

    elsewhere = TestClient(RegistryDaemon(make_config()).create_asgi_app())

    assert shown == 200
    assert elsewhere.get("/openapi.json").status_code == 404


def test_another_server_lets_in_only_who_is_known(make_config: MakeConfig) -> None:
    """By the same file, which is looked at while it serves too."""
    file = Path("credentials.toml")
    token, entry = issuing.new_token(Grant("portal", [Role.READ]), utcnow())
    issuing.add(file, entry)
    config = make_config(auth={"mode": "tokens", "file": str(file)})
    bearer = {"Authorization": f"Bearer {token}"}

    with TestClient(RegistryDaemon(config).create_asgi_app()) as client:
        statuses = [client.get("/agents").status_code]
        statuses.append(client.get("/agents", headers=bearer).status_code)
        issuing.revoke(file, [entry.id])
        give_up = time.monotonic() + 10
        while client.get("/agents", headers=bearer).status_code == 200:
            assert time.monotonic() < give_up

    assert statuses == [401, 200]


def test_another_server_is_told_what_is_wrong_with_the_file(
    make_config: MakeConfig,
) -> None:
    """As the application is asked for."""
    daemon = RegistryDaemon(make_config(auth={"mode": "tokens", "file": "gone.toml"}))

    with pytest.raises(StartupFailed, match=r"^gone\.toml cannot be read.*auth\.file"):
        daemon.create_asgi_app()


def test_a_principal_has_its_quota(
    make_config: MakeConfig, make_body: Callable[..., dict[str, Any]]
) -> None:
    """How many agents, and how often; what it has lives on."""
    grant = Grant("billing", [Role.AGENT], ["*"])
    token, entry = issuing.new_token(grant, utcnow())
    issuing.add(Path("credentials.toml"), entry)
    config = make_config(
        auth={"mode": "tokens", "file": "credentials.toml"},
        quota={
            "agents_per_principal": 1,
            "registrations_per_second": 0.001,
            "registrations_burst": 3,
        },
    )
    bearer = {"Authorization": f"Bearer {token}"}
    with TestClient(RegistryDaemon(config).create_asgi_app()) as client:
        answers = [
            client.post("/agents/register", json=make_body(agent_id), headers=bearer)
            for agent_id in ("a", "b", "a", "a")
        ]
        beat = client.post("/agents/a/heartbeat", headers=bearer)

    told = [answer.json().get("code") for answer in answers]
    assert told == [None, "quota_exceeded", None, "too_many_registrations"]
    assert beat.status_code == 200
