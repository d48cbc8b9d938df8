"""Readers who ask for the whole list, and never read it."""

import json
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from store import AgentRecord, create_storage_backend

AGENTS = 2_000
READERS = 60
#: What may be on its way to readers, as the protocol promises.
UNSENT_BYTES = 64 * 1024 * 1024
#: Beside that: four threads read, and rendering holds a few copies of a list.
RENDERED_AT_ONCE = 4 * 6
PROMPT_SECONDS, SLOWEST_SECONDS = 0.5, 5


@pytest.fixture
def daemon(
    start_daemon: Callable[..., Any],
    make_record: Callable[..., AgentRecord],
    tmp_path: Path,
) -> Any:
    """Start a daemon that knows thousands of agents, each with much to tell."""
    storage = create_storage_backend(f"sqlite:///{tmp_path}/agent-registry.db")
    fat = {"ttl_seconds": 86_400, "metadata": {"text": "x" * 3_900}}
    adding = [
        storage.agents.submit(storage.agents.add, make_record(f"agent-{n}", **fat))
        for n in range(AGENTS)
    ]
    for added in adding:
        added.result()
    storage.database.close()
    return start_daemon()


@contextmanager
def _crowd(daemon: Any) -> Iterator[list[socket.socket]]:
    """Let the readers ask at once, each with little room for the answer."""
    with ExitStack() as opened:
        crowd = []
        for _ in range(READERS):
            reader = opened.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(10)
            reader.connect((daemon.host, daemon.port))
            reader.sendall(b"GET /agents HTTP/1.1\r\nHost: localhost\r\n\r\n")
            crowd.append(reader)
        yield crowd


def _status(reader: socket.socket) -> bytes:
    """Look at the status of an answer, and leave it unread."""
    return reader.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)[-3:]


def _ask(connection: HTTPConnection, method: str, path: str) -> tuple[int, bytes]:
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _seconds_to_beat(connection: HTTPConnection) -> float:
    asked = time.monotonic()
    status, _ = _ask(connection, "POST", "/agents/agent-1/heartbeat")
    assert status == 200
    return time.monotonic() - asked


def _peak_bytes(daemon: Any) -> int:
    """Return the most memory that the daemon ever had."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def test_readers_who_never_read_hold_little_and_hinder_nobody(
    daemon: Any,
    wait_until: Callable[..., Any],
    nine_of_ten: Callable[[Sequence[float]], float],
) -> None:
    """A few are served, the rest refused, beats are prompt; and so again."""
    with closing(daemon.connect()) as agent:
        _, listed = _ask(agent, "GET", "/agents")
        served = UNSENT_BYTES // len(listed)
        before = _peak_bytes(daemon)
        waited = []
        for _ in range(2):
            with _crowd(daemon) as crowd:

                def all_answered(crowd: list[socket.socket] = crowd) -> bool:
                    waited.append(_seconds_to_beat(agent))
                    return select.select(crowd, [], [], 0)[0] == crowd

                wait_until(all_answered, seconds=30)
                statuses = Counter(map(_status, crowd))
                refused, problem = _ask(agent, "GET", "/agents")

            assert statuses == {b"200": served, b"503": READERS - served}
            assert (refused, json.loads(problem)["code"]) == (503, "overloaded")
            wait_until(lambda: _ask(agent, "GET", "/agents")[0] == 200)
        grown = _peak_bytes(daemon) - before

    assert nine_of_ten(waited) < PROMPT_SECONDS
    assert max(waited) < SLOWEST_SECONDS
    assert grown < UNSENT_BYTES + RENDERED_AT_ONCE * len(listed)
