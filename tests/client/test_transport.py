"""Connections, deadlines, failover, and what must not leak."""

import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agent_registry_client import (
    AgentNotFound,
    AgentRegistryClient,
    InvalidRequest,
    NotARegistry,
    Unavailable,
    Unreachable,
    connections,
)
from agent_registry_client.connections import connect
from agent_registry_client.testing import RegistryProcess
from agent_registry_client.threads import in_background

CANARY = "canary-4711"


class Recorder(BaseHTTPRequestHandler):
    """Answers as it is told to, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    server: "Recording"

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append(dict(self.headers))
        self.server.on_asked()
        status, content = self.server.told
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Recording(ThreadingHTTPServer):
    """Such a server."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.asked: list[dict[str, str]] = []
        self.connections = 0
        self.told = (200, b"[]")
        self.headers: dict[str, str] = {}
        self.on_asked: Callable[[], object] = lambda: None
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of callers that have heard enough."""

    def verify_request(self, *_: object) -> bool:
        """Count connections."""
        self.connections += 1
        return True


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Return a server that remembers."""
    with Recording() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_connection_is_kept(recording: Recording) -> None:
    """Calls one after the other share it."""
    with AgentRegistryClient(recording.url) as client:
        for _ in range(5):
            client.agents()

    assert (len(recording.asked), recording.connections) == (5, 1)


def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    registry: RegistryProcess,
) -> None:
    """A registry that restarted between two calls is not noticed."""
    with AgentRegistryClient(registry.url) as client:
        client.agents()
        registry.kill()
        registry.start()

        assert client.agents() == ()


def test_connections_that_rest_too_long_are_closed_while_others_are_in_use(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst leaves many; the registry hangs up on them first, and they stay open."""
    now = time.monotonic()
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: now))
    met = threading.Barrier(3)
    with AgentRegistryClient(recording.url) as client:
        recording.on_asked = lambda: met.wait(5)
        for call in [in_background(client.agents) for _ in range(3)]:
            call.result(5)
        burst = [one for _, one in client._transport._servers[0]._idle]
        recording.on_asked = lambda: None

        for _ in range(3):
            now += 30
            client.agents()

        assert [one.sock is None for one in burst] == [True, True, False]


def test_one_kept_connection_that_is_silent_speaks_for_the_others(
    recording: Recording,
) -> None:
    """A firewall that forgot them swallows what is sent on any; a new one works."""
    forgotten = set()
    release = threading.Event()
    met = threading.Barrier(3)

    def meet() -> None:
        forgotten.add(threading.current_thread())  # each connection has its own
        met.wait(5)

    def swallow() -> None:
        if threading.current_thread() in forgotten:
            release.wait(5)

    with AgentRegistryClient(recording.url, timeout_seconds=0.2) as client:
        recording.on_asked = meet
        for call in [in_background(client.agents) for _ in range(3)]:
            call.result(5)
        recording.on_asked = swallow
        with pytest.raises(Unreachable, match="timed out"):
            client.agents()

        assert client.agents() == ()
        release.set()


def test_the_url_comes_from_the_environment(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is given; without either it is the daemon's default."""
    assert AgentRegistryClient().urls == ("http://127.0.0.1:8790",)
    monkeypatch.setenv("AGENT_REGISTRY_URL", f"http://10.9.9.9:1/, {recording.url}/")
    assert AgentRegistryClient().urls == ("http://10.9.9.9:1", recording.url)
    assert AgentRegistryClient(recording.url).urls == (recording.url,)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8790",
        "ftp://host",
        "http://",
        "http://me:secret@host",
        "http://host?token=secret",
        "http://host:port",
        "http://a,,http://b",
        "http://a b",
        "http://a\tb",
        "http://a..b",
        "http://.a",
        "http://" + "a" * 64,
        "http://a/ b",
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    """And not repeated: there may be a secret in it."""
    with pytest.raises(ValueError, match=r".") as caught:
        AgentRegistryClient(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a.", "http://[::1]:1", "http://1.2.3.4/b"])
def test_a_url_that_is_one_is_taken(url: str) -> None:
    """A name may end with the root's dot."""
    assert AgentRegistryClient(url).urls == (url,)


@pytest.mark.parametrize("seconds", [None, 0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused_at_once(seconds: Any) -> None:
    """Beats would fail by it, or wait for ever."""
    with pytest.raises(ValueError, match="timeout_seconds"):
        AgentRegistryClient(timeout_seconds=seconds)


@pytest.mark.parametrize(
    "said",
    [b"Content-Length: 99\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"],
)
def test_half_an_answer_is_none(said: bytes) -> None:
    """Half of the metrics looks like all of them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        head = b"HTTP/1.1 200 OK\r\n"
        answering = threading.Thread(target=_answer, args=(listening, head + said))
        answering.start()
        port = listening.getsockname()[1]

        with pytest.raises(NotARegistry, match="IncompleteRead"):
            AgentRegistryClient(f"http://127.0.0.1:{port}").metrics()
        answering.join()


def test_the_token_is_sent_and_never_shown(
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in a repr, a log line or an error."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AGENT_REGISTRY_TOKEN", f"{CANARY}\n")
    client = AgentRegistryClient(recording.url)
    recording.told = (
        401,
        b'{"status": 401, "code": "unauthorized", "detail": "Who are you?"}',
    )
    description = {"agent_name": "A", "host": "10.0.0.7", "port": 1}
    with pytest.raises(Exception, match="Who are you") as caught:
        client.agents()
    registration = client.registered("a", **description)  # type: ignore[arg-type]

    assert recording.asked[0]["Authorization"] == f"Bearer {CANARY}"
    for shown in (client, registration, caught.value, client._transport, caplog.text):
        assert CANARY not in f"{shown} {shown!r}"


def test_the_command_shows_no_token(recording: Recording) -> None:
    """It sends it; neither its output nor the list of processes has it."""
    seen: list[bytes] = []
    recording.on_asked = lambda: seen.extend(
        file.read_bytes() for file in Path("/proc").glob(f"{command.pid}/cmdline")
    )
    recording.told = (401, b'{"status": 401, "code": "unauthenticated"}')
    environ = {
        "AGENT_REGISTRY_TOKEN": CANARY,
        "AGENT_REGISTRY_URL": recording.url,
        "PATH": os.environ["PATH"],
    }
    command = subprocess.Popen(
        [sys.executable, "-m", "agent_registry_client.cli", "list"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    told = command.communicate(timeout=20)

    assert command.returncode == 1
    assert recording.asked[0]["Authorization"] == f"Bearer {CANARY}"
    assert len(seen) == 1
    assert CANARY.encode() not in seen[0]
    assert "AGENT_REGISTRY_TOKEN" in told[1]
    assert CANARY not in "".join(told)


def test_a_token_follows_no_redirect(recording: Recording) -> None:
    """Whoever answers may not send it elsewhere."""
    recording.told = (302, b"")
    recording.headers = {"Location": recording.url + "/elsewhere"}

    with pytest.raises(NotARegistry):
        AgentRegistryClient(recording.url, token=CANARY).agents()

    assert len(recording.asked) == 1


@pytest.mark.parametrize("token", [f"{CANARY}\nX: y", f"{CANARY} x", f"{CANARY}é"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    """Without repeating it."""
    with pytest.raises(ValueError, match="token") as caught:
        AgentRegistryClient(token=token)

    assert CANARY not in str(caught.value)


def test_the_next_registry_is_asked_when_the_first_is_away(
    registry: RegistryProcess, unused_url: str
) -> None:
    """And from then on it is asked first."""
    client = AgentRegistryClient([unused_url, registry.url])

    assert client.agents() == ()
    assert client._transport._first == 1
    with pytest.raises(AgentNotFound):
        client.get("a")


def test_the_next_registry_is_asked_when_the_first_is_unwell(
    recording: Recording, registry: RegistryProcess
) -> None:
    """A 503 is a reason to ask another one; a 404 is an answer."""
    recording.told = (503, b'{"code": "store_unavailable", "detail": "Later."}')

    assert AgentRegistryClient([recording.url, registry.url]).agents() == ()


def test_when_none_is_well_the_one_that_answered_is_heard(
    recording: Recording, unused_url: str
) -> None:
    """Its reason is worth more than silence; silence names every registry."""
    recording.told = (503, b'{"code": "store_unavailable", "detail": "Later."}')

    with pytest.raises(Unavailable, match="Later"):
        AgentRegistryClient([unused_url, recording.url]).agents()
    with pytest.raises(Unreachable, match=f"{unused_url}: .*{unused_url}/b: "):
        AgentRegistryClient([unused_url, f"{unused_url}/b"]).agents()


def test_an_agent_moves_to_the_next_registry(
    start_registry: Callable[..., RegistryProcess],
    registry: RegistryProcess,
    described: dict[str, Any],
    wait_until: Callable[..., Any],
) -> None:
    """And is registered there within one interval."""
    second = start_registry()
    client = AgentRegistryClient([registry.url, second.url])
    with client.registered("a", **described):
        registry.kill()

        other = AgentRegistryClient(second.url)
        wait_until(other.agents, 2)


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"],
)
def test_an_answer_that_drips_is_cut_off(said: bytes) -> None:
    """The timeout is for the call as a whole, not for each byte of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()
        dripping = threading.Thread(target=_drip, args=(listening, said, over))
        dripping.start()
        port = listening.getsockname()[1]
        client = AgentRegistryClient(f"http://127.0.0.1:{port}", timeout_seconds=0.5)
        began_at = time.monotonic()

        with pytest.raises(Unreachable, match="timed out"):
            client.agents()

        assert time.monotonic() - began_at < 1
        over.set()
        dripping.join()


def _drip(listening: socket.socket, said: bytes, over: threading.Event) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.sendall(said)
        while not over.wait(0.1):
            connection.sendall(b"a")


def test_the_second_address_of_a_name_is_tried_in_time(
    recording: Recording,
) -> None:
    """Though the first swallows what is sent to it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        crowd = [_knock(full.getsockname()) for _ in range(3)]
        found = [
            *socket.getaddrinfo(*full.getsockname(), type=socket.SOCK_STREAM),
            *socket.getaddrinfo(*recording.server_address, type=socket.SOCK_STREAM),  # type: ignore[misc]
        ]
        began_at = time.monotonic()

        with connect(found, began_at + 1) as connected:
            assert connected.getpeername() == recording.server_address
        assert 0.4 < time.monotonic() - began_at < 0.9
        for one in crowd:
            one.close()


def _knock(address: tuple[str, int]) -> socket.socket:
    knocking = socket.socket()
    knocking.settimeout(0)
    knocking.connect_ex(address)
    return knocking


def test_no_answer_is_read_beyond_what_its_call_may_bring(
    recording: Recording,
) -> None:
    """A beat is answered in a kilobyte; a listing may be long."""
    long = b" " * (2 << 20)
    client = AgentRegistryClient(recording.url)
    recording.told = (200, b"[" + long + b"]")
    found = client.agents()
    recording.told = (200, b'{"status": "ok"}' + long)

    with pytest.raises(NotARegistry):
        client.health()
    assert found == ()


TOO_LARGE = b'{"status": 413, "code": "body_too_large", "detail": "No more."}'


@pytest.mark.parametrize("header", [b"Connection: close\r\n", b""])
def test_an_answer_that_comes_before_all_is_sent_is_heard(header: bytes) -> None:
    """A body that is too large is answered unread, and its connection closed."""
    head = b"HTTP/1.1 413 Too Large\r\n%bContent-Length: %d\r\n\r\n"

    with pytest.raises(InvalidRequest, match="No more"):
        _register_at_length(head % (header, len(TOO_LARGE)) + TOO_LARGE)


def test_a_connection_that_breaks_while_sending_is_told_without_an_answer() -> None:
    """There is nothing else to tell."""
    with pytest.raises(Unreachable, match=r"reset|[Bb]roken"):
        _register_at_length(b"")


def _register_at_length(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=_answer, args=(listening, said, 100))
        answering.start()
        port = listening.getsockname()[1]
        client = AgentRegistryClient(f"http://127.0.0.1:{port}")
        try:
            client.register(
                "a",
                agent_name="A",
                host="10.0.0.7",
                port=80,
                metadata={"long": "x" * (20 << 20)},
            )
        finally:
            answering.join()


def _answer(listening: socket.socket, said: bytes, read: int = 65_536) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(read)
        connection.sendall(said)


def test_an_error_survives_a_pool_of_processes() -> None:
    """One that cannot be pickled would hang it."""
    error = AgentNotFound(404, "agent_not_found", "Gone.", [], 1.5, {"code": "x"})

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (type(copy), str(copy), copy.document) == (
        AgentNotFound,
        str(error),
        {"code": "x"},
    )


def test_an_import_is_quick_and_brings_nothing() -> None:
    """No package but our own, no asyncio, and less than 150 ms of a processor."""
    program = (
        "import sys, time; before = set(sys.modules); began_at = time.process_time();"
        "import agent_registry_client; print(time.process_time() - began_at);"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}"
        " - sys.stdlib_module_names), 'asyncio' in sys.modules)"
    )

    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(3)
    ]

    assert {run[1] for run in runs} == {"['agent_registry_client'] False"}
    assert min(float(run[0]) for run in runs) < 0.15


@pytest.fixture
def unused_url() -> str:
    """Return the URL of nobody."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return f"http://127.0.0.1:{bound.getsockname()[1]}"
