"""`daemon.asgi:app`, under any ASGI server."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from daemon.config import ConfigError
from daemon.exits import StartupFailed
from daemon.lock import DaemonLock, LockHeld

pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture
def asgi(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the module anew; its store is the default, in the test's own folder."""
    monkeypatch.delitem(sys.modules, "daemon.asgi", raising=False)
    return importlib.import_module("daemon.asgi")


@pytest.fixture
def lock(tmp_path: Path) -> DaemonLock:
    """Return the lock that a daemon on the default store takes."""
    return DaemonLock(tmp_path / "agent-registry.db.lock")


def test_importing_the_module_builds_nothing(asgi: ModuleType) -> None:
    """Neither application nor file: the configuration may not even be there."""
    assert "app" not in vars(asgi)
    assert list(Path.cwd().iterdir()) == []


def test_the_application_is_built_once(asgi: ModuleType) -> None:
    """Every reader of `app` gets the same one, and building it opens nothing."""
    assert asgi.app is asgi.app
    assert list(Path.cwd().iterdir()) == []


def test_nothing_else_is_built(asgi: ModuleType) -> None:
    """An attribute that is not there is told as for any module."""
    with pytest.raises(AttributeError, match=r"^module 'daemon.asgi' has no .*'nope'"):
        _ = asgi.nope


def test_a_wrong_configuration_is_told_when_the_application_is_asked_for(
    asgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own log then names the key."""
    monkeypatch.setenv("AGENT_REGISTRY_SERVER__PORT", "http")

    with pytest.raises(ConfigError, match=r"server\.port"):
        _ = asgi.app


def test_the_scheduler_runs_and_the_lock_is_held_while_it_serves(
    asgi: ModuleType, lock: DaemonLock, new_threads: Callable[[], set[str]]
) -> None:
    """All but the listener is started with the server, and gone after it."""
    with TestClient(asgi.app) as client:
        sweep = client.get("/health").json()["sweep"]
        with pytest.raises(LockHeld):
            lock.acquire()
    lock.acquire()
    lock.release()

    assert sweep["interval_seconds"] == 60
    assert not sweep["overdue"]
    assert new_threads() == set()


def test_it_serves_again_after_it_was_stopped(
    asgi: ModuleType, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """Each start has a scheduler that works."""
    monkeypatch.setenv("AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS", "0.05")
    for _ in range(2):
        with TestClient(asgi.app) as client:
            wait_until(lambda: client.get("/health").json()["sweep"]["runs"] > 0)


def test_a_second_one_on_the_same_database_does_not_start(
    asgi: ModuleType, lock: DaemonLock
) -> None:
    """The ASGI server gives up with the reason, and what was begun is undone."""
    lock.acquire()
    lock.sign()

    with (
        pytest.raises(StartupFailed, match="is served by agent-registryd, pid"),
        TestClient(asgi.app),
    ):
        pass

    lock.release()
    assert [path.name for path in Path.cwd().iterdir()] == ["agent-registry.db.lock"]


def test_it_works_where_lifespan_never_runs(asgi: ModuleType) -> None:
    """The store opens on first use; nothing sweeps, and health says so."""
    health = TestClient(asgi.app).get("/health")

    assert health.status_code == 200
    assert health.json()["sweep"] is None
