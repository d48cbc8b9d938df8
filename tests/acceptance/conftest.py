"""The daemon as a process, and agents that talk to it."""

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

#: The installed command, in the environment that runs the tests.
COMMAND = Path(sys.executable).with_name("agent-registryd")
#: The same, of the code beside these tests.
SERVE = (sys.executable, "-m", "daemon")
ROOT = Path(__file__).parents[2]

#: On a machine where many start at once, beside others.
START_SECONDS = 30
#: Whatever a daemon lived through, at the end it answers so soon.
ANSWER_SECONDS = 1.0

_TOKEN = re.compile(r"areg_[A-Za-z0-9_-]{43}")
_READY = re.compile(r"Ready on https?://([\d.]+):(\d+), pid (\d+)")


def wait_until(happened: Callable[[], Any], seconds: float = 30) -> Any:
    """Return what `happened` returns once it is true; fail after `seconds`."""
    give_up = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < give_up, f"not within {seconds} s"
        time.sleep(0.02)
    return result


class Daemon:
    """One running `agent-registryd`."""

    def __init__(
        self,
        folder: Path,
        environ: dict[str, str],
        program: Sequence[str | Path] = SERVE,
        stdin: int | socket.socket = subprocess.DEVNULL,
    ) -> None:
        self.database = folder / "agent-registry.db"
        self._log = folder / "log"
        written = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                program,
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "AGENT_REGISTRY_SERVER__PORT": "0",
                }
                | environ,
                stdin=stdin,
                stdout=log,
                stderr=log,
            )
        try:
            ready = wait_until(
                lambda: _READY.search(self.log()[written:]), START_SECONDS
            )
        except BaseException as error:
            self.process.kill()
            self.process.wait()
            error.add_note(self.log()[written:])
            raise
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
            # Of three tries one: others may have the processor.
            assert min(self._answers_within() for _ in range(3)) < ANSWER_SECONDS
            self.stop()
        assert "Traceback" not in self.log()
        assert not _TOKEN.search(self.log())
        database = sqlite3.connect(self.database)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()

    def _answers_within(self) -> float:
        """Return how many seconds an answer takes, whatever it is."""
        asked = time.monotonic()
        connection = self.connect()
        if "Ready on https" in self.log():
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                self.host, self.port, timeout=10, context=trusting
            )
        with closing(connection):
            connection.request("GET", "/health")
            connection.getresponse().read()
        return time.monotonic() - asked


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
    """Writers that register, beat and delete as fast as answered, until cut off."""

    def __init__(self, daemon: Daemon, name: str, writers: int = 8) -> None:
        #: What was asked for, and what of it was acknowledged.
        self._sent: dict[str, dict[str, Any]] = {}
        self._acknowledged: set[str] = set()
        #: Until when, as beats were answered.
        self._renewed: dict[str, str] = {}
        self._deleting: set[str] = set()
        self._deleted: set[str] = set()
        self._daemon = daemon
        self._threads = [
            threading.Thread(target=self._write, args=(f"{name}-{writer}",))
            for writer in range(writers)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Wait until so many registrations are acknowledged."""
        wait_until(lambda: len(self._acknowledged) >= count)

    def join(self) -> None:
        """Wait until every writer was cut off."""
        for thread in self._threads:
            thread.join()

    def check(self, agents: dict[str, dict[str, Any]]) -> None:
        """Check what became of it: what was acknowledged stands, all else is whole."""
        for agent_id in self._sent.keys() & agents.keys():
            agent, sent = agents[agent_id], self._sent[agent_id]
            assert {key: agent[key] for key in sent} == sent
            assert agent["is_alive"]
            assert agent["expires_at"] >= self._renewed.get(agent_id, "")
        assert self._acknowledged - self._deleting <= agents.keys()
        assert not self._deleted & agents.keys()

    def _write(self, name: str) -> None:
        cut_off = suppress(OSError, http.client.HTTPException)
        with closing(self._daemon.connect()) as connection, cut_off:
            for number in range(1_000_000):
                self._live(connection, name, number)

    def _live(
        self, connection: http.client.HTTPConnection, name: str, number: int
    ) -> None:
        """Register an agent; let every third beat, and every third go."""
        body = {
            "agent_id": f"{name}-{number}",
            "agent_name": name,
            "host": "10.0.0.7",
            "port": 1 + number % 65_535,
            "ttl_seconds": 3600,
            "metadata": {"number": number, "filler": "x" * (number % 500)},
        }
        me = body["agent_id"]
        self._sent[me] = body
        call(connection, "POST", "/agents/register", body)
        self._acknowledged.add(me)
        if number % 3 == 1:
            _, renewed = call(connection, "POST", f"/agents/{me}/heartbeat")
            self._renewed[me] = renewed["expires_at"]
        if number % 3 == 2:
            self._deleting.add(me)
            call(connection, "DELETE", f"/agents/{me}")
            self._deleted.add(me)


@contextmanager
def _daemons(folder: Path) -> Iterator[Callable[..., Daemon]]:
    """Yield what starts daemons in `folder`; audit them at the end, and end them."""
    started: list[Daemon] = []

    def start(
        *program: str | Path,
        stdin: int | socket.socket = subprocess.DEVNULL,
        **environ: str,
    ) -> Daemon:
        started.append(Daemon(folder, environ, program or SERVE, stdin))
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


@pytest.fixture(scope="session")
def daemons_in() -> Callable[[Path], AbstractContextManager[Callable[..., Daemon]]]:
    """Return what starts daemons in a folder, audits them, and ends them."""
    return _daemons


@contextmanager
def _fleet(
    daemon: Daemon, count: int, ttl_seconds: int, errors: Path
) -> Iterator[list[int]]:
    arguments = (daemon.host, daemon.port, count, ttl_seconds)
    script = Path(__file__).with_name("fleet.py")
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-S", script, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        ) as fleet,
    ):
        assert fleet.stdout is not None
        try:
            yield json.loads(fleet.stdout.readline())
        finally:
            os.killpg(fleet.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def fleet_of() -> Callable[..., AbstractContextManager[list[int]]]:
    """Return what runs a fleet of agent processes, and names their process ids."""
    return _fleet


@contextmanager
def _callers(
    address: tuple[str, int], count: int = 8, prefix: Sequence[str] = ()
) -> Iterator[Callable[[], dict[str, Any]]]:
    script = Path(__file__).with_name("callers.py")
    with subprocess.Popen(
        [*prefix, sys.executable, "-S", script, *map(str, (*address, count))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as callers:
        assert callers.stdout is not None
        callers.stdout.readline()
        try:
            yield lambda: json.loads(callers.communicate(timeout=20)[0])
        finally:
            callers.kill()


@pytest.fixture(scope="session")
def callers_of() -> Callable[..., AbstractContextManager[Callable[[], dict[str, Any]]]]:
    """Return what lets callers call without pause, and tells how they fared."""
    return _callers


@pytest.fixture
def command() -> Path:
    """Return the installed command."""
    return COMMAND


@pytest.fixture
def start_storm() -> type[WriteStorm]:
    """Return what starts a storm of writers against a daemon."""
    return WriteStorm


@pytest.fixture(scope="session")
def nine_of_ten() -> Callable[[Sequence[float]], float]:
    """Return what tells within how many seconds most were answered.

    Not all: where other tests start their daemons, one in a hundred calls is late by
    a second and more.
    """
    return lambda seconds: statistics.quantiles(seconds, n=10)[-1]


@pytest.fixture(name="wait_until", scope="session")
def _wait_until() -> Callable[..., Any]:
    """Return what waits for something to become true."""
    return wait_until
