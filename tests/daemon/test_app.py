"""The daemon, composed: how it starts, what it tells, and how it stops."""

import http.client
import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.app import RegistryDaemon
from daemon.config import Config
from daemon.exits import StartupFailed
from daemon.listener import bind
from daemon.systemd import Notifier

MakeConfig = Callable[..., Config]


@pytest.fixture
def quick(make_config: MakeConfig) -> Config:
    """Return a configuration that sweeps all the time.

    Three intervals without a sweep are ill: of 0.05 s, a busy machine let pass three.
    """
    return make_config(leases={"sweep_interval_seconds": 0.2})


def _steps(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.step
        for record in caplog.records
        if getattr(record, "action", None) == "cleanup"
    ]


def _health(daemon: RegistryDaemon) -> Any:
    connection = http.client.HTTPConnection(*daemon.address, timeout=10)
    connection.request("GET", "/health")
    health = json.load(connection.getresponse())
    connection.close()
    return health


def test_making_a_daemon_opens_nothing(
    make_config: MakeConfig, new_threads: Callable[[], set[str]]
) -> None:
    """Neither file nor thread; that is what `start` is for."""
    RegistryDaemon(make_config())

    assert list(Path.cwd().iterdir()) == []
    assert new_threads() == set()


def test_a_started_daemon_serves_and_sweeps(
    quick: Config, wait_until: Callable[..., None]
) -> None:
    """Requests are answered once `start` returns, on the port it found."""
    daemon = RegistryDaemon(quick)
    daemon.start()

    health = _health(daemon)
    wait_until(lambda: _health(daemon)["sweep"]["runs"] > 0)
    daemon.stop()

    assert health["status"] == "ok"
    assert daemon.address[1] != 0


def test_stopping_undoes_the_start_in_reverse(
    make_config: MakeConfig,
    new_threads: Callable[[], set[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """First what faces the world, last what was taken first; no thread is left."""
    caplog.set_level(logging.DEBUG, "daemon")
    daemon = RegistryDaemon(make_config())
    daemon.start()

    stopped_well = daemon.stop()

    assert stopped_well
    assert _steps(caplog) == [
        "readiness",
        "leases",
        "listener",
        "sweep",
        "scheduler",
        "checkpoint",
        "store",
        "lock",
        "socket",
    ]
    assert new_threads() == set()


def test_a_stopped_daemon_starts_again(quick: Config) -> None:
    """All that `stop` let go of can be taken once more."""
    daemon = RegistryDaemon(quick)
    for _ in range(2):
        daemon.start()
        assert _health(daemon)["status"] == "ok"
        assert daemon.stop()


def test_a_passed_socket_is_served_in_place_of_the_configured_address(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so; whoever passed it has a copy that listens on."""
    caplog.set_level(logging.INFO, "daemon")
    kept = bind("127.0.0.1", 0)
    nowhere = make_config(server={"host": "no-such-host.invalid"})
    daemon = RegistryDaemon(nowhere, take_passed=kept.dup)
    daemon.start()

    health = _health(daemon)
    stopped_well = daemon.stop()

    assert health["status"] == "ok"
    assert stopped_well
    assert daemon.address == kept.getsockname()
    assert f"Ready on http://127.0.0.1:{daemon.address[1]}, pid" in caplog.text
    assert "socket_passed" in [getattr(r, "action", "") for r in caplog.records]
    with kept:
        socket.create_connection(daemon.address, timeout=5).close()


@pytest.mark.parametrize("name", ["{}/registry.sock", "\0{}"], ids=["path", "abstract"])
def test_a_passed_unix_socket_is_served(
    make_config: MakeConfig,
    tmp_path: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A proxy on the same machine needs no port; the path stays for the next start."""
    caplog.set_level(logging.INFO, "daemon")
    path = name.format(tmp_path)
    with socket.socket(socket.AF_UNIX) as kept:
        kept.bind(path)
        kept.listen()
        daemon = RegistryDaemon(make_config(), take_passed=kept.dup)
        daemon.start()

        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(10)
            caller.connect(path)
            caller.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = caller.recv(65_536)
        daemon.stop()

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert f"Ready on unix:{path.replace(chr(0), '@')}, pid" in caplog.text
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(path)


def test_two_daemons_fit_into_one_process(make_config: MakeConfig) -> None:
    """Each on a database of its own."""
    daemons = [
        RegistryDaemon(make_config(store={"url": f"sqlite:///{name}.db"}))
        for name in ("one", "two")
    ]
    for daemon in daemons:
        daemon.start()

    healths = [_health(daemon)["status"] for daemon in daemons]
    stopped_well = [daemon.stop() for daemon in daemons]

    assert healths == ["ok", "ok"]
    assert stopped_well == [True, True]


def test_a_stop_that_fails_in_one_step_says_so_and_takes_the_others(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is false, the log names the step, the lock is free."""
    daemon = RegistryDaemon(make_config())
    daemon.start()
    daemon._cleanups.push("oven", {}.popitem)

    stopped_well = daemon.stop()

    assert not stopped_well
    assert "Stopping: oven failed" in caplog.text
    again = RegistryDaemon(make_config())
    again.start()
    again.stop()


@pytest.mark.parametrize("caution", ["SQLite is old", None])
def test_a_start_on_an_old_sqlite_warns(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture, caution: str | None
) -> None:
    """Once, in the words of the store; on a good one nothing is said."""
    daemon = RegistryDaemon(make_config())
    database: Any = daemon._storage.database
    database.caution = lambda: caution

    daemon.start()
    daemon.stop()

    told = [one for one in caplog.records if getattr(one, "action", "") == "sqlite_old"]
    assert [one.message for one in told] == [caution] * bool(caution)


def test_waiting_ends_when_serving_dies(make_config: MakeConfig) -> None:
    """A daemon that cannot be reached must not look alive; the stop tells of it."""
    daemon = RegistryDaemon(make_config())
    daemon.start()

    _listener_of(daemon)._server.should_exit = True
    daemon.wait()

    assert not daemon.stop()


def test_a_reload_that_fails_is_told_and_waited_on(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raised: it ended the main thread, and SIGTERM was heard no more."""
    daemon = RegistryDaemon(make_config())
    files: Any = daemon._files
    files.reload = lambda: 1 / 0
    daemon.reload()
    daemon.finish()

    daemon.wait()

    (told,) = caplog.records
    assert told.message == "What was to be read again stays as it was"
    assert told.exc_info is not None


def _listener_of(daemon: RegistryDaemon) -> Any:
    undo = dict(daemon._cleanups._steps)["listener"]
    return undo.__self__  # type: ignore[attr-defined]


@pytest.mark.parametrize("systemd", ["abstract"], indirect=True)
def test_the_watchdog_starves_when_the_scheduler_stands_still(
    make_config: MakeConfig, systemd: tuple[str, socket.socket]
) -> None:
    """Ready, fed while it turns, silent while it does not, stopping."""
    name, heard = systemd
    watched = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "150000"})
    daemon = RegistryDaemon(make_config(), watched)
    daemon.start()
    told = [heard.recv(100) for _ in range(3)]

    daemon._scheduler.pause()
    starved = _falls_silent(heard)
    daemon._scheduler.resume()
    told.append(heard.recv(100))
    daemon.stop()
    while told[-1] == b"WATCHDOG=1":
        told.append(heard.recv(100))

    assert starved
    assert told[:4] == [b"READY=1"] + [b"WATCHDOG=1"] * 3
    assert told[-1] == b"STOPPING=1"


def _falls_silent(heard: socket.socket) -> bool:
    """Tell whether the datagrams end for longer than a watchdog period."""
    heard.settimeout(0.2)
    try:
        for _ in range(10):
            heard.recv(100)
    except TimeoutError:
        return True
    return False


def test_who_listens_to_other_machines_says_so(make_config: MakeConfig) -> None:
    """To whoever may read, where it is insecure and that was allowed."""
    config = make_config(
        server={"host": "0.0.0.0"},  # noqa: S104 - what is judged
        auth={"allow_insecure": True},
    )
    daemon = RegistryDaemon(config)
    daemon.start()

    health = _health(daemon)
    daemon.stop()

    assert health["insecure"] is True


def test_an_insecure_address_is_refused(
    make_config: MakeConfig, new_threads: Callable[[], set[str]]
) -> None:
    """Before anything is opened; only an operator can mend it."""
    daemon = RegistryDaemon(
        make_config(server={"host": "0.0.0.0"})  # noqa: S104 - what is judged
    )

    with pytest.raises(StartupFailed, match=r"allow_insecure.*\(server\.host\)") as e:
        daemon.start()

    assert e.value.lasting
    assert list(Path.cwd().iterdir()) == []
    assert new_threads() == set()
