"""One serial order explains every answer about an agent."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store import AgentRecord, create_storage_backend
from store.clock import utcnow

TTL = 1
#: How much faster than time the clock of a store runs here.
RATE = 200


class OverHttp:
    """Calls a daemon."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self.close = connection.close

    def ask(self, verb: str, agent_id: str, version: int) -> Any:
        """Make one call; return its answer as a history notes it."""
        path = f"/agents/{agent_id}"
        match verb:
            case "register":
                body = _body(agent_id, version)
                return self._call("POST", "/agents/register", body)["outcome"]
            case "beat":
                return self._call("POST", f"{path}/heartbeat") and "done"
            case "delete":
                return self._call("DELETE", path) and "done"
        found = self._call("GET", path)
        return found and found["metadata"]["version"]

    def _call(self, method: str, path: str, body: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status in {200, 201, 204, 404}
        return None if answer.status == 404 else json.loads(content or b"true")


def _body(agent_id: str, version: int) -> str:
    described = {"agent_name": "agent", "host": "10.0.0.7", "port": 80}
    return json.dumps(
        {
            "agent_id": agent_id,
            "ttl_seconds": TTL,
            "metadata": {"version": version},
            **described,
        }
    )


class InProcess:
    """Calls a repository."""

    def __init__(self, repo: Any, make_record: Callable[..., AgentRecord]) -> None:
        self._repo = repo
        self._make_record = make_record

    def ask(self, verb: str, agent_id: str, version: int) -> Any:
        """Make one call; return its answer as a history notes it."""
        match verb:
            case "register":
                metadata = {"version": version}
                wanted = self._make_record(agent_id, ttl_seconds=TTL, metadata=metadata)
                return str(self._repo.register(wanted).outcome)
            case "beat":
                return "done" if self._repo.update_heartbeats([agent_id]) else None
            case "delete":
                return "done" if self._repo.delete(agent_id) else None
        found = self._repo.get(agent_id)
        return found and found.metadata["version"]

    def close(self) -> None:
        """Leave the repository open: it is everyone's."""


def _answers(recorder: Any, verb: str) -> set[Any]:
    return {
        call.answer
        for history in recorder.histories.values()
        for call in history
        if call.verb == verb
    }


def test_a_daemon_answers_as_if_calls_came_one_by_one(
    start_daemon: Callable[..., Any],
    record_calls: Callable[..., Any],
    is_linearizable: Callable[..., bool],
) -> None:
    """Also of agents that expire between, and nobody is gone before its TTL."""
    daemon = start_daemon(
        AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS="0.1",
        AGENT_REGISTRY_GUARD__ENABLED="false",
    )
    recorder = record_calls(utcnow)
    for _ in range(2):
        recorder.run(0.4, lambda: OverHttp(daemon.connect()))
        time.sleep(TTL + 0.3)
    recorder.run(0.1, lambda: OverHttp(daemon.connect()))

    for history in recorder.histories.values():
        assert is_linearizable(history)
    assert _answers(recorder, "beat") == {"done", None}
    assert daemon.call("GET", "/health")["sweep"]["failures"] == 0
    assert " expired: " in daemon.log()


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Return a clock by which leases run out all the time."""
    return lambda: (
        datetime(2026, 3, 1, tzinfo=UTC) + RATE * timedelta(seconds=time.monotonic())
    )


@pytest.fixture
def swept(store_url: str, clock: Callable[[], datetime]) -> Iterator[Any]:
    """Return a repository that is swept again and again."""
    repo, database = create_storage_backend(
        store_url, clock=clock, synchronous="normal"
    )
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(0.002):
            repo.sweep()

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    yield repo
    over.set()
    sweeping.join()
    database.close()


def test_a_repository_answers_as_if_calls_came_one_by_one(
    swept: Any,
    clock: Callable[[], datetime],
    make_record: Callable[..., AgentRecord],
    record_calls: Callable[..., Any],
    is_linearizable: Callable[..., bool],
) -> None:
    """Swept every few milliseconds, with leases that run out after five."""
    recorder = record_calls(clock)

    recorder.run(1.5, lambda: InProcess(swept, make_record))

    for history in recorder.histories.values():
        assert is_linearizable(history)
    assert _answers(recorder, "register") == {"created", "updated", "revived"}
