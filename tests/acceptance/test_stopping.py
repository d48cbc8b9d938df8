"""A daemon that is told to stop finishes what it began, and loses nothing."""

import json
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from typing import Any

import pytest

BODY = json.dumps(
    {"agent_id": "slow-1", "agent_name": "Slow", "host": "10.0.0.7", "port": 80}
)
HEAD = (
    "POST /agents/register HTTP/1.1\r\nHost: localhost\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
)


@contextmanager
def _sent(daemon: Any, text: str, seconds: float = 0.2) -> Iterator[socket.socket]:
    """Connect, and send this much of a request."""
    with socket.create_connection((daemon.host, daemon.port), timeout=10) as sent:
        sent.sendall(text.encode())
        time.sleep(seconds)  # nothing tells when the daemon has read it
        yield sent


def _refuses(daemon: Any) -> bool:
    try:
        socket.create_connection((daemon.host, daemon.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_nothing_acknowledged_is_missing_after_a_stop(
    start_daemon: Callable[..., Any], start_storm: Callable[..., Any]
) -> None:
    """SIGTERM amid eight writers: exit 0, all in the database, none of it in a log."""
    daemon = start_daemon()
    storm = start_storm(daemon, "writer")
    storm.wait_for(200)

    status = daemon.stop(signal.SIGTERM)
    storm.join()

    assert status == 0
    assert not daemon.database.with_name("agent-registry.db-wal").exists()
    storm.check(start_daemon().agents())


def test_a_heartbeat_acknowledged_before_a_stop_is_kept(
    start_daemon: Callable[..., Any],
) -> None:
    """After a restart the lease runs from the last beat that was answered."""
    daemon = start_daemon()
    daemon.call("POST", "/agents/register", json.loads(BODY))
    beat = daemon.call("POST", "/agents/slow-1/heartbeat")

    daemon.stop()

    assert start_daemon().agents()["slow-1"]["expires_at"] == beat["expires_at"]


def test_no_heartbeat_is_refused_or_forgotten_by_a_stop(
    start_daemon: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    """SIGTERM amid eight who beat: answered or cut off, and what was answered kept."""
    daemon = start_daemon()
    acknowledged: dict[str, str] = {}
    statuses = set()

    def beat(agent_id: str) -> None:
        with closing(daemon.connect()) as connection, suppress(OSError, HTTPException):
            while True:
                connection.request("POST", f"/agents/{agent_id}/heartbeat")
                answer = connection.getresponse()
                statuses.add(answer.status)
                acknowledged[agent_id] = json.load(answer)["expires_at"]

    ids = [f"beating-{n}" for n in range(8)]
    for agent_id in ids:
        body = json.loads(BODY) | {"agent_id": agent_id}
        daemon.call("POST", "/agents/register", body)
    beating = [threading.Thread(target=beat, args=(agent_id,)) for agent_id in ids]
    for thread in beating:
        thread.start()
    wait_until(lambda: len(acknowledged) == len(ids))

    daemon.stop()
    for thread in beating:
        thread.join()

    assert statuses == {200}
    kept = start_daemon().agents()
    for agent_id, expires_at in acknowledged.items():
        assert kept[agent_id]["expires_at"] >= expires_at


def test_a_request_in_flight_is_finished(
    start_daemon: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    """What came before the stop is answered after it; nothing new is let in."""
    daemon = start_daemon()
    with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the answer waits for the lock
        with _sent(daemon, HEAD + BODY, seconds=0.05) as connection:
            daemon.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(daemon))
            other.execute("ROLLBACK")
            answer = connection.recv(65_536)

    status = answer[9:12]
    assert status in (b"201", b"503")  # 503 when this test took half a second
    assert daemon.process.wait(10) == 0
    assert ("slow-1" in start_daemon().agents()) == (status == b"201")


@pytest.mark.parametrize("half", [HEAD[:40], HEAD + BODY[:9]], ids=["head", "body"])
def test_a_half_sent_request_does_not_hold_up_the_stop(
    start_daemon: Callable[..., Any], half: str
) -> None:
    """Exit 0, long before the drain limit, and no word of it as an error."""
    daemon = start_daemon()
    with _sent(daemon, half):
        began = time.monotonic()
        status = daemon.stop(signal.SIGTERM)

    assert status == 0
    assert time.monotonic() - began < 3
    assert " error " not in daemon.log()


def test_sigint_stops_as_sigterm_does(start_daemon: Callable[..., Any]) -> None:
    """Ctrl-C in a terminal is a clean stop too."""
    daemon = start_daemon()

    status = daemon.stop(signal.SIGINT)

    assert status == 0
    assert daemon.log().rstrip().endswith("Stopped")


def test_a_stop_right_behind_a_hangup_is_heard(
    start_daemon: Callable[..., Any],
) -> None:
    """Of two signals at once, one may reach another thread than the one that waits."""
    for _ in range(3):
        daemon = start_daemon()
        daemon.process.send_signal(signal.SIGHUP)

        assert daemon.stop(signal.SIGTERM, seconds=30) == 0
