"""A daemon that is started again on a socket that outlives it refuses nobody.

These tests do what a socket unit does: they keep the socket, and start the daemon
with a copy of it. In tests/acceptance/systemd it is systemd itself that does so.
"""

import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon.listener import bind

#: Passes standard input as systemd passes a socket: as descriptor 3, to this process.
PASSING = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 </dev/null'
SERVE = ("/bin/sh", "-c", PASSING, "sh", sys.executable, "-m", "daemon")
TIMES = 3
#: The best of three; on a machine that is busy, two starts of a daemon are granted.
SLOWEST_SECONDS = 2

BODY = {"agent_id": "called", "agent_name": "Called", "host": "10.0.0.7", "port": 80}


@pytest.fixture
def kept() -> Iterator[socket.socket]:
    """Listen for as long as the test lasts."""
    with bind("127.0.0.1", 0) as kept:
        yield kept


@pytest.mark.parametrize(
    ("ending", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nobody_is_refused_while_a_daemon_is_replaced(
    start_daemon: Callable[..., Any],
    callers_of: Callable[..., Any],
    kept: socket.socket,
    record_property: Callable[[str, object], None],
    ending: signal.Signals,
    status: int,
) -> None:
    """Three times under load: who calls meanwhile is answered by the next daemon."""
    began = time.monotonic()
    daemon = start_daemon(*SERVE, stdin=kept)
    granted = max(SLOWEST_SECONDS, 2 * (time.monotonic() - began))
    daemon.call("POST", "/agents/register", BODY)
    fared, statuses = [], set()
    for _ in range(TIMES):
        with callers_of(kept.getsockname()) as finish:
            statuses.add(daemon.stop(ending))
            daemon = start_daemon(*SERVE, stdin=kept)
            fared.append(finish())
    record_property(f"replaced by {ending.name}", str(fared))

    assert statuses == {status}
    assert set().union(*fared) == {"answered", "refused", "broken", "slowest_seconds"}
    assert [calls["refused"] for calls in fared] == [0] * TIMES
    assert min(calls["slowest_seconds"] for calls in fared) < granted
