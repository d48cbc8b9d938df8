"""A registry as a process, servers in its place, and programs that use the client."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from agent_registry_client import AgentNotFound, AgentRegistryClient
from agent_registry_client.testing import (
    RegistryProcess,
    start_registry,  # noqa: F401 - a fixture
)

from .recording import Recording

PACKAGE = str(Path(sys.modules["agent_registry_client"].__path__[0]).parent)


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """Start a registry for all tests: a start for each would take half their time."""
    process = RegistryProcess(tmp_path_factory.mktemp("registry"))
    yield process
    process.kill()


@pytest.fixture
def registry(process: RegistryProcess) -> Iterator[RegistryProcess]:
    """Return a registry that knows nobody; a test may kill or pause it."""
    yield process
    if process.process.poll() is not None:
        process.start(empty=True)
    process.resume()
    with AgentRegistryClient(process.url) as client:
        for agent in client.agents(include_dead=True):
            # What was sent to a paused registry may still be on its way.
            with contextlib.suppress(AgentNotFound):
                client.deregister(agent.agent_id)


@pytest.fixture
def client(registry: RegistryProcess) -> Iterator[AgentRegistryClient]:
    """Return a client of a running registry."""
    with AgentRegistryClient(registry.url, timeout_seconds=2) as client:
        yield client


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """Return what waits for something to become true, and returns it."""

    def wait_until(happened: Callable[[], Any], seconds: float = 30) -> Any:
        give_up_at = time.monotonic() + seconds
        while not (result := happened()):
            assert time.monotonic() < give_up_at, f"not within {seconds} s"
            time.sleep(0.02)
        return result

    return wait_until


@pytest.fixture
def described() -> dict[str, Any]:
    """Return how an agent describes itself; it beats three times a second."""
    return {
        "agent_name": "Summariser",
        "host": "10.0.0.7",
        "port": 8001,
        "ttl_seconds": 1,
    }


class Program:
    """A program of its own that uses the client; `client` and `me` are made for it."""

    def __init__(self, url: str, body: str) -> None:
        head = """
            import os, signal, sys, threading, time
            from agent_registry_client import AgentRegistryClient
            client = AgentRegistryClient()
            me = dict(agent_name="Summariser", host="10.0.0.7", port=8001,
                      ttl_seconds=3)
            def say(*words): print(*words, flush=True)
        """
        self.process = subprocess.Popen(
            # Python 3.12 warns of forks beside threads, which is what is shown here.
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                "-c",
                textwrap.dedent(head) + textwrap.dedent(body),
            ],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": PACKAGE,
                "AGENT_REGISTRY_URL": url,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        """Return the next line it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, signal_number: int = 0) -> tuple[int, str, str]:
        """Send the signal; return status, output and errors when it has ended."""
        if signal_number:
            self.process.send_signal(signal_number)
        output, errors = self.process.communicate(timeout=15)
        return self.process.returncode, output.strip(), errors.strip()


@pytest.fixture
def run_program(
    registry: RegistryProcess,
) -> Iterator[Callable[[str], Program]]:
    """Return a function that runs a program against the registry."""
    started: list[Program] = []

    def run(body: str) -> Program:
        started.append(Program(registry.url, body))
        return started[-1]

    yield run
    for program in started:
        program.process.kill()
        program.process.communicate()


@pytest.fixture
def listed(client: AgentRegistryClient) -> Callable[[], set[str]]:
    """Return a function that asks who is listed."""
    return lambda: {agent.agent_id for agent in client.agents()}


class Played:
    """A registry that a test plays."""

    def __init__(self, told: Callable[..., Any]) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(told))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _handler(self, told: Callable[..., Any]) -> type[BaseHTTPRequestHandler]:
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                asked.append((self.command, self.path, body))
                status, content, *headers = told(self.command, self.path, body)
                if not isinstance(content, bytes):
                    content = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - so the base class calls them

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def play_registry() -> Iterator[Callable[..., Played]]:
    """Return a function that plays a registry by a function of method, path, body."""
    played: list[Played] = []

    def play(told: Callable[..., Any]) -> Played:
        played.append(Played(told))
        return played[-1]

    yield play
    for one in played:
        one.stop()


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Return a server that remembers."""
    with Recording() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
