"""A large fleet whose agents all keep their connections open."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

BEATING = Path(__file__).with_name("beating.py")


@pytest.mark.parametrize(
    ("count", "ttl", "seconds"),
    [(500, 3, 4), pytest.param(10_000, 30, 90, marks=pytest.mark.torture)],
)
def test_all_who_beat_on_connections_of_their_own_stay_alive(
    start_daemon: Callable[..., Any],
    record_property: Callable[..., None],
    count: int,
    ttl: int,
    seconds: int,
) -> None:
    """For three TTLs none is expired or cut off, and somebody new is let in."""
    daemon = start_daemon(
        AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS="1",
        # Without the guard: it must not be what saves them.
        AGENT_REGISTRY_GUARD__ENABLED="false",
    )
    where = (daemon.host, str(daemon.port), str(count), str(ttl))
    with subprocess.Popen(
        [sys.executable, BEATING, *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as fleet:
        assert fleet.stdout is not None
        try:
            assert fleet.stdout.readline() == "registered\n"
            time.sleep(seconds)
            alive = [one for one in daemon.agents().values() if one["is_alive"]]
            with closing(daemon.connect()) as newcomer:
                newcomer.request("GET", "/health")
                assert newcomer.getresponse().status == 200
            told = json.loads(fleet.communicate("over\n", timeout=60)[0])
        finally:
            fleet.kill()

    record_property("beats", sum(told["answers"].values()) - count)
    record_property("p99", f"{told['p99'] * 1000:.0f} ms")
    record_property("slowest", f"{told['slowest'] * 1000:.0f} ms")
    assert len(alive) == count
    assert told["answers"].keys() == {"200", "201"}
    assert told["answers"]["201"] == count
    assert " expired" not in daemon.log()
    assert "Closed connections" not in daemon.log()
