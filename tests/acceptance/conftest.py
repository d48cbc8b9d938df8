"""The daemon as a process, and agents that talk to it."""

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: The installed command, in the environment that runs the tests.
COMMAND = Path(sys.executable).with_name("agent-registryd")

_READY = re.compile(r"Ready on http://([\d.]+):(\d+), pid (\d+)")


def wait_until(happened: Callable[[], Any], seconds: float = 10) -> Any:
    """Return what `happened` returns once it is true; fail after `seconds`."""
    give_up = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < give_up, f"not within {seconds} s"
        time.sleep(0.02)
    return result


class Daemon:
    """One running `agent-registryd`."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.database = folder / "agent-registry.db"
        self._log = folder / "log"
        written = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "AGENT_REGISTRY_SERVER__PORT": "0"}
                | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        ready = wait_until(lambda: _READY.search(self.log()[written:]))
        self.host, self.port = ready[1], int(ready[2])

    def log(self) -> str:
        """Return what every daemon in this folder has said so far."""
        return self._log.read_text()

    def stop(self, signal_number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """Send the signal, and return the exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(seconds)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection of the caller's own, kept alive."""
        return http.client.HTTPConnection(self.host, self.port, timeout=10)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded answer of one call that must succeed."""
        connection = self.connect()
        try:
            return call(connection, method, path, body)[1]
        finally:
            connection.close()

    def agents(self) -> dict[str, dict[str, Any]]:
        """Return every agent, dead or alive, by id."""
        listed = self.call("GET", "/agents?include_dead=true")
        return {agent["agent_id"]: agent for agent in listed}

    def audit(self) -> None:
        """Check that nothing went wrong unseen; the daemon is stopped if need be."""
        if self.process.poll() is None:
            self.stop()
        assert "Traceback" not in self.log()
        database = sqlite3.connect(self.database)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> tuple[int, Any]:
    """Return the status and the decoded answer of a call that must succeed."""
    encoded = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, encoded, headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status < 300, (method, path, answer.status, content)
    return answer.status, json.loads(content) if content else None


class WriteStorm:
    """Writers that register as fast as they are answered, until they are cut off."""

    def __init__(self, daemon: Daemon, name: str, writers: int = 8) -> None:
        #: What was asked for, and what of it was acknowledged, by id.
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self._daemon = daemon
        self._threads = [
            threading.Thread(target=self._write, args=(f"{name}-{writer}",))
            for writer in range(writers)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Wait until so many registrations are acknowledged."""
        wait_until(lambda: len(self.acknowledged) >= count)

    def join(self) -> None:
        """Wait until every writer was cut off."""
        for thread in self._threads:
            thread.join()

    def _write(self, name: str) -> None:
        connection = self._daemon.connect()
        try:
            for number in range(1_000_000):
                body = {
                    "agent_id": f"{name}-{number}",
                    "agent_name": name,
                    "host": "10.0.0.7",
                    "port": 1 + number % 65_535,
                    "ttl_seconds": 3600,
                    "metadata": {"number": number, "filler": "x" * (number % 500)},
                }
                self.sent[body["agent_id"]] = body
                call(connection, "POST", "/agents/register", body)
                self.acknowledged[body["agent_id"]] = body
        except (OSError, http.client.HTTPException):
            connection.close()


@contextmanager
def _daemons(folder: Path) -> Iterator[Callable[..., Daemon]]:
    """Yield what starts daemons in `folder`; audit them at the end, and end them."""
    started: list[Daemon] = []

    def start(**environ: str) -> Daemon:
        started.append(Daemon(folder, environ))
        return started[-1]

    try:
        yield start
        for daemon in started:
            daemon.audit()
    finally:
        for daemon in started:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Return a function that starts a daemon in `tmp_path`; all audited at the end."""
    with _daemons(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def module_daemon(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Daemon]:
    """Return a daemon that sweeps every two seconds, for all tests of a module."""
    with _daemons(tmp_path_factory.mktemp("registry")) as start:
        yield start(AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS="2")


@pytest.fixture
def command() -> Path:
    """Return the installed command."""
    return COMMAND


@pytest.fixture
def start_storm() -> type[WriteStorm]:
    """Return what starts a storm of writers against a daemon."""
    return WriteStorm


@pytest.fixture(name="wait_until", scope="session")
def _wait_until() -> Callable[..., Any]:
    """Return what waits for something to become true."""
    return wait_until
