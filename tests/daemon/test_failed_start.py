"""A daemon that cannot start."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.app import RegistryDaemon
from daemon.config import Config
from daemon.exits import StartupFailed
from daemon.listener import bind
from daemon.lock import DaemonLock
from daemon.systemd import passed_socket

MakeConfig = Callable[..., Config]


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that is taken."""
    bound = bind("127.0.0.1", 0)
    yield bound.getsockname()[1]
    bound.close()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return another program's database."""
    path = tmp_path / "foreign.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE notes (note TEXT)")
    database.close()
    return path


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """Return a database path whose lock another daemon holds."""
    path = tmp_path / "held.db"
    lock = DaemonLock(Path(f"{path}.lock"))
    lock.acquire()
    lock.sign()
    yield path
    lock.release()


@pytest.mark.parametrize(
    ("obstacle", "reason", "lasting"),
    [
        (
            "port",
            r"cannot listen on 127\.0\.0\.1 port \d+: .* in use \(server\.",
            False,
        ),
        ("host", r"cannot listen on no-such-host\.invalid .*\(server\.host", False),
        ("foreign", r"foreign\.db .* another program \(store\.url\)$", True),
        ("folder", r"the folder .* does not exist \(store\.url\)$", True),
        (
            "held",
            r"held\.db is served by agent-registryd, pid \d+ .*\(store\.url",
            True,
        ),
    ],
)
def test_a_start_that_fails_leaves_nothing_behind(
    obstacle: str,
    reason: str,
    *,
    lasting: bool,
    make_config: MakeConfig,
    request: pytest.FixtureRequest,
    new_threads: Callable[[], set[str]],
) -> None:
    """One reason with its key; no thread, no lock, no file, no port."""
    given: dict[str, Callable[[], dict[str, Any]]] = {
        "port": lambda: {"server": {"port": request.getfixturevalue("taken")}},
        "host": lambda: {"server": {"host": "no-such-host.invalid"}},
        "foreign": lambda: {"store": {"url": _url(request, "foreign")}},
        "folder": lambda: {"store": {"url": "sqlite:///gone/registry.db"}},
        "held": lambda: {"store": {"url": _url(request, "held")}},
    }
    daemon = RegistryDaemon(make_config(**given[obstacle]()))
    before = _contents()

    with pytest.raises(StartupFailed, match=reason) as failed:
        daemon.start()

    assert failed.value.lasting is lasting
    assert _contents() == before
    assert new_threads() == set()
    if obstacle not in ("port", "host"):
        bind(*daemon.address).close()


def test_a_database_that_somebody_has_locked_may_be_opened_later(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """A shell, or a backup: systemd is to try again, for it passes."""
    path = tmp_path / "locked.db"
    config = make_config(store={"url": f"sqlite:///{path}"})
    first = RegistryDaemon(config)
    first.start()
    first.stop()
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    daemon = RegistryDaemon(config)

    with pytest.raises(
        StartupFailed, match=r"cannot be opened: database is locked \(store\.url\)$"
    ) as failed:
        daemon.start()

    assert not failed.value.lasting
    shell.close()
    daemon.start()
    daemon.stop()


def _url(request: pytest.FixtureRequest, name: str) -> str:
    return f"sqlite:///{request.getfixturevalue(name)}"


def _contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path.cwd().iterdir()}


def test_sockets_that_cannot_be_served_end_the_start(make_config: MakeConfig) -> None:
    """Only an operator can mend the socket unit."""
    two = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
    daemon = RegistryDaemon(make_config(), take_passed=lambda: passed_socket(two))

    with pytest.raises(StartupFailed, match=r"^2 sockets .*socket unit\)$") as failed:
        daemon.start()

    assert failed.value.lasting


@pytest.mark.parametrize("host", ["example..com", f"{'a' * 64}.example"])
def test_a_host_that_is_no_name_ends_the_start(
    host: str, make_config: MakeConfig
) -> None:
    """It will not become one by itself."""
    daemon = RegistryDaemon(make_config(server={"host": host}))

    with pytest.raises(StartupFailed, match=r"no name of a host \(server.host") as e:
        daemon.start()

    assert e.value.lasting
