"""Whoever reads standard error stops reading: the agents notice nothing."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

#: Each registration and each removal is told; together more than a pipe holds, 64 KiB.
COMERS = 500


def test_a_log_that_nobody_reads_stops_nothing(
    start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    """Beats are answered, and SIGTERM ends it as ever."""
    reading, writing = os.pipe()

    def read_until_ready() -> None:
        with (tmp_path / "log").open("ab") as log:
            while b"Ready on" not in (read := os.read(reading, 65_536)):
                log.write(read)
            log.write(read)

    with FileIO(reading), FileIO(writing, "w"):
        threading.Thread(target=read_until_ready).start()
        into_the_pipe = 'exec "$0" -m daemon 2>&0'
        daemon = start_daemon(
            "/bin/sh", "-c", into_the_pipe, sys.executable,
            stdin=writing, AGENT_REGISTRY_LOG__LINES_PER_MINUTE="10000",
        )  # fmt: skip
        agent = {"agent_id": "a", "agent_name": "A", "host": "10.0.0.1", "port": 80}
        daemon.call("POST", "/agents/register", agent)
        renewed = set()
        for number in range(COMERS):
            comer = agent | {"agent_id": f"comer-{number}"}
            daemon.call("POST", "/agents/register", comer)
            daemon.call("DELETE", f"/agents/comer-{number}")
            renewed.add(daemon.call("POST", "/agents/a/heartbeat")["agent_id"])
        ended = daemon.stop(signal.SIGTERM)

    assert renewed == {"a"}
    assert ended == 0
