"""Readers by the dozen, who leave no room for anybody else."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

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


class Fleet(NamedTuple):
    """Agents that live, each in a process of its own."""

    process: subprocess.Popen[bytes]
    complaints: Path

    def leave(self) -> list[float]:
        """Let all of them go; return how many seconds their beats took."""
        os.killpg(self.process.pid, signal.SIGTERM)
        assert self.process.stdout is not None
        return [beat for line in self.process.stdout for beat in json.loads(line)]


@pytest.fixture
def fleet(daemon: Any, tmp_path: Path) -> Iterator[Fleet]:
    """Let a hundred agents live."""
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
    yield Fleet(process, complaints)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()


@pytest.mark.long
@pytest.mark.parametrize(
    "number",
    [0, *(pytest.param(n, marks=pytest.mark.torture) for n in range(TORTURE_ROUNDS))],
)
def test_no_crowd_of_readers_expires_who_beats(
    daemon: Any,
    fleet: Fleet,
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Of a hundred agents with a TTL of 6 s none is expired, or shown as dead.

    Ninety-nine of a hundred beats take less than a beat interval, or else readers are
    turned away; who is, is told when to come again.
    """
    del number
    command = [sys.executable, HERE / "crowd.py", *_where(daemon)]
    crowd = subprocess.Popen(
        [*command, str(READERS), str(SECONDS)], stdout=subprocess.PIPE
    )
    counted: Counter[str] = Counter()
    looks: list[float] = []
    while crowd.poll() is None:
        asked = time.monotonic()
        counted.update(daemon.call("GET", "/health")["agents"])
        looks.append(time.monotonic() - asked)
        time.sleep(0.2)
    answers = json.loads(crowd.communicate()[0])
    beats = fleet.leave()
    slow_beat = statistics.quantiles(beats, n=100)[-1]
    record_property("99 of 100 beats within", f"{slow_beat:.2f} s")

    assert counted["dead"] == 0
    assert counted["alive"] > 0
    assert "expired" not in daemon.log()
    assert set(answers) <= {"200", "503"}
    assert answers["200"] > SECONDS
    assert statistics.quantiles(looks, n=10)[-1] < TTL / 3
    assert len(beats) > BEATING * SECONDS / TTL
    # On a machine that has others to serve, readers must be turned away first.
    assert slow_beat < TTL / 3 or answers.get("503", 0) > 0
    assert fleet.complaints.read_bytes() == b""


def _where(daemon: Any) -> list[str]:
    return [daemon.host, str(daemon.port)]
