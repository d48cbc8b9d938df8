"""Readers by the dozen, who leave no room for anybody else."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from store import AgentRecord, create_storage_backend

HERE = Path(__file__).parent
READERS, ROWS, SECONDS = 80, 3_000, 30
BEATING, TTL = 100, 6
TORTURE_ROUNDS = 10


@pytest.fixture
def daemon(
    start_daemon: Callable[..., Any],
    make_record: Callable[..., AgentRecord],
    tmp_path: Path,
) -> Any:
    """Start a daemon that knows thousands of agents, and sweeps every second."""
    storage = create_storage_backend(f"sqlite:///{tmp_path}/agent-registry.db")
    lasting = [make_record(f"row-{n}", ttl_seconds=86_400) for n in range(ROWS)]
    storage.agents.register_all(lasting)
    storage.database.close()
    # Without the guard: it must not be what saves them.
    return start_daemon(
        AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS="1",
        AGENT_REGISTRY_GUARD__ENABLED="false",
    )


@pytest.mark.parametrize(
    "number",
    [0, *(pytest.param(n, marks=pytest.mark.torture) for n in range(TORTURE_ROUNDS))],
)
def test_no_crowd_of_readers_expires_who_beats(daemon: Any, number: int) -> None:
    """Of a hundred agents with a TTL of 6 s none is expired, or shown as dead."""
    del number
    where = [daemon.host, str(daemon.port)]
    fleet = subprocess.Popen(
        [sys.executable, HERE / "fleet.py", *where, str(BEATING), str(TTL)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert fleet.stdout is not None
    json.loads(fleet.stdout.readline())
    crowd = subprocess.Popen(
        [sys.executable, HERE / "crowd.py", *where, str(READERS), str(SECONDS)],
        stdout=subprocess.PIPE,
    )
    seen: Counter[str] = Counter()
    slowest = 0.0
    while crowd.poll() is None:
        asked = time.monotonic()
        seen.update(_counted(daemon))
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.3)
    answers = json.loads(crowd.communicate()[0])

    assert seen["dead"] == 0
    assert seen["alive"] >= BEATING
    assert "agent_expired" not in daemon.log()
    assert int(answers["200"]) > SECONDS
    print(f"{answers=} {slowest=:.2f}")
    fleet.send_signal(signal.SIGKILL)
    _, said = fleet.communicate()
    assert b"agent-" not in said


def _counted(daemon: Any) -> dict[str, int]:
    """Ask how many agents are in each status."""
    connection = HTTPConnection(daemon.host, daemon.port, timeout=20)
    connection.request("GET", "/health")
    counted: dict[str, int] = json.loads(connection.getresponse().read())["agents"]
    connection.close()
    return counted
