"""Crowds that cost nothing to make: who sends slowly, much, or does not read."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from store import AgentRecord, create_storage_backend

NineOfTen = Callable[[Sequence[float]], float]

TRICKLE = Path(__file__).with_name("trickle.py")
PROMPT_SECONDS = 0.5
#: A crowd that hinders does so for as long as it lasts, which is longer than this.
SLOWEST_SECONDS = 5
#: A deadline is seen within half a second, on a machine that does nothing else.
LATE_SECONDS = 2.5
LINES = 30
FEW_DESCRIPTORS = 1_024
MEGABYTE = 1024 * 1024
BODY = json.dumps(
    {"agent_id": "known-1", "agent_name": "K", "host": "10.0.0.7", "port": 80}
).encode()
POST = (
    b"POST /agents/register HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\n"
)


@contextmanager
def _crowd(
    daemon: Any, count: int, seconds: float, every: float
) -> Iterator[subprocess.Popen[str]]:
    """Let so many trickle for so long, in a process of their own."""
    where = (daemon.host, str(daemon.port), str(count), str(seconds), str(every))
    with subprocess.Popen(
        [sys.executable, TRICKLE, *where], stdout=subprocess.PIPE, text=True
    ) as crowd:
        try:
            yield crowd
        finally:
            crowd.kill()


def _call_beside(daemon: Any, crowd: subprocess.Popen[str]) -> list[float]:
    """Call on a kept connection and on new ones, while the crowd lasts; time it."""
    waited = []

    def ask(connection: HTTPConnection, method: str, path: str) -> None:
        asked = time.monotonic()
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        waited.append(time.monotonic() - asked)
        assert answer.status == 200

    with closing(daemon.connect()) as kept:
        while crowd.poll() is None:
            with closing(daemon.connect()) as new:
                ask(new, "GET", "/health")
            ask(kept, "GET", "/agents/known-1")
            ask(kept, "POST", "/agents/known-1/heartbeat")
            time.sleep(0.05)
    return waited


def _rss(daemon: Any) -> int:
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def _connect(daemon: Any) -> socket.socket:
    return socket.create_connection((daemon.host, daemon.port), timeout=20)


def _rest_of(connection: socket.socket) -> bytes:
    """Return what is answered until the connection is closed."""
    answer = b""
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(2_000, 2), pytest.param(10_000, 10, marks=pytest.mark.torture)],
)
def test_those_who_trickle_hinder_nobody(
    start_daemon: Callable[..., Any],
    record_property: Callable[..., None],
    nine_of_ten: NineOfTen,
    count: int,
    seconds: int,
) -> None:
    """All are told 408 at their deadline, calls are prompt, and the log stays short."""
    daemon = start_daemon(
        AGENT_REGISTRY_LIMITS__REQUEST_SECONDS=str(seconds),
        AGENT_REGISTRY_LIMITS__UNFINISHED_REQUESTS=str(count + 10),
    )
    daemon.call("POST", "/agents/register", json.loads(BODY))
    with _crowd(daemon, count, 4 * seconds + 8, seconds / 4) as crowd:
        waited = _call_beside(daemon, crowd)
        assert crowd.stdout is not None
        told = json.loads(crowd.stdout.read().splitlines()[-1])

    record_property("slowest call", f"{max(waited) * 1000:.0f} ms")
    record_property("oldest when closed", f"{told['oldest']:.1f} s")
    assert told["closed"] == count
    assert told["answers"] == {"408": count}
    assert told["oldest"] < seconds + LATE_SECONDS + count / 2_000
    assert nine_of_ten(waited) < PROMPT_SECONDS
    assert max(waited) < SLOWEST_SECONDS
    assert len(daemon.log().splitlines()) < LINES


def test_descriptors_do_not_run_out(
    start_daemon: Callable[..., Any], nine_of_ten: NineOfTen
) -> None:
    """Twice as many as there are descriptors: the oldest go, and calls are prompt."""
    limited = f'ulimit -n {FEW_DESCRIPTORS}; exec "$0" -m daemon'
    daemon = start_daemon(
        "/bin/sh", "-c", limited, sys.executable,
        AGENT_REGISTRY_LIMITS__REQUEST_SECONDS="6",
    )  # fmt: skip
    daemon.call("POST", "/agents/register", json.loads(BODY))
    with _crowd(daemon, 2 * FEW_DESCRIPTORS, 30, 0.5) as crowd:
        waited = _call_beside(daemon, crowd)
        assert crowd.stdout is not None
        told = json.loads(crowd.stdout.read().splitlines()[-1])

    assert told["closed"] == 2 * FEW_DESCRIPTORS
    assert told["answers"][""] > FEW_DESCRIPTORS
    assert nine_of_ten(waited) < PROMPT_SECONDS
    assert max(waited) < SLOWEST_SECONDS
    assert len(daemon.log().splitlines()) < LINES
    assert "crowded" in daemon.log()


def test_a_body_that_trickles_has_no_longer(start_daemon: Callable[..., Any]) -> None:
    """A byte now and then extends nothing: the request is late as a whole."""
    daemon = start_daemon(AGENT_REGISTRY_LIMITS__REQUEST_SECONDS="1")
    with _connect(daemon) as client:
        began = time.monotonic()
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(BODY))
        client.settimeout(0.2)
        answer = b""
        for byte in BODY:
            with suppress(TimeoutError):
                answer = client.recv(4096)
                break
            client.sendall(bytes([byte]))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.9 < time.monotonic() - began < 1 + LATE_SECONDS
    assert daemon.agents() == {}


def test_a_hundred_megabytes_are_refused_before_they_are_read(
    start_daemon: Callable[..., Any],
) -> None:
    """413 at the head, and the memory does not grow."""
    daemon = start_daemon()
    daemon.call("GET", "/agents")
    before = _rss(daemon)
    with _connect(daemon) as client:
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % (100 * MEGABYTE))
        with suppress(ConnectionError):
            for _ in range(100):
                client.sendall(bytes(MEGABYTE))
        answer = _rest_of(client)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert _rss(daemon) - before < 4 * MEGABYTE


def test_a_body_without_end_is_cut(start_daemon: Callable[..., Any]) -> None:
    """413 when it is larger than what the call takes, and closed."""
    daemon = start_daemon()
    daemon.call("GET", "/agents")
    before = _rss(daemon)
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    with _connect(daemon) as client:
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(20_000):
                client.sendall(chunk)
        answer = _rest_of(client)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert _rss(daemon) - before < 4 * MEGABYTE


def test_a_reader_that_never_reads_is_cut(
    start_daemon: Callable[..., Any],
    make_record: Callable[..., AgentRecord],
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    """When more waits for it than the kernel takes, and for too long."""
    storage = create_storage_backend(f"sqlite:///{tmp_path}/agent-registry.db")
    fat = {"ttl_seconds": 86_400, "metadata": {"text": "x" * 3_900}}
    storage.agents.register_all([make_record(f"a-{n}", **fat) for n in range(4_000)])
    storage.database.close()
    daemon = start_daemon(AGENT_REGISTRY_LIMITS__RESPONSE_SECONDS="1")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect((daemon.host, daemon.port))
        client.sendall(b"GET /agents HTTP/1.1\r\nHost: localhost\r\n\r\n")

        wait_until(lambda: "1 slow_reader" in daemon.log(), seconds=20)

        assert not _rest_of(client).endswith(b"]")
    assert daemon.call("GET", "/health")["status"] == "ok"
