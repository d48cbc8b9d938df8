"""Readers by the dozen, who leave no room for anybody else."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store import AgentRecord, create_storage_backend

HERE = Path(__file__).parent
READERS, ROWS, SECONDS = 80, 3_000, 30
BEATING, TTL = 100, 6
FLEET = (str(BEATING), str(TTL))
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


@pytest.fixture
def fleet(daemon: Any, tmp_path: Path) -> Iterator[Path]:
    """Let a hundred agents live; return the file in which they complain."""
    complaints = tmp_path / "complaints"
    with complaints.open("wb") as said:
        process = subprocess.Popen(
            [
                sys.executable,
                HERE / "fleet.py",
                *_where(daemon),
                str(BEATING),
                str(TTL),
            ],
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
    assert process.stdout is not None
    json.loads(process.stdout.readline())
    yield complaints
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()


@pytest.mark.parametrize(
    "number",
    [0, *(pytest.param(n, marks=pytest.mark.torture) for n in range(TORTURE_ROUNDS))],
)
def test_no_crowd_of_readers_expires_who_beats(
    daemon: Any, fleet: Path, number: int
) -> None:
    """Of a hundred agents with a TTL of 6 s none is expired, or shown as dead."""
    del number
    command = [sys.executable, HERE / "crowd.py", *_where(daemon)]
    crowd = subprocess.Popen(
        [*command, str(READERS), str(SECONDS)], stdout=subprocess.PIPE
    )
    counted: Counter[str] = Counter()
    slowest_seconds = 0.0
    while crowd.poll() is None:
        asked = time.monotonic()
        counted.update(daemon.call("GET", "/health")["agents"])
        slowest_seconds = max(slowest_seconds, time.monotonic() - asked)
        time.sleep(0.2)
    answers = json.loads(crowd.communicate()[0])

    assert counted["dead"] == 0
    assert counted["alive"] > 0
    assert "expired" not in daemon.log()
    assert set(answers) <= {"200", "503"}
    assert answers["200"] > SECONDS
    assert slowest_seconds < TTL / 3
    assert fleet.read_bytes() == b""


def _where(daemon: Any) -> list[str]:
    return [daemon.host, str(daemon.port)]
