"""What systemd hears of the daemon."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_systemd_hears_ready_alive_and_stopping(
    systemd: socket.socket, start_daemon: Callable[..., Any]
) -> None:
    """Ready first, then fed within each watchdog period, stopping last."""
    daemon = start_daemon(
        NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC=str(1_000_000)
    )
    ready = systemd.recv(100)
    fed_at = [time.monotonic()]
    for _ in range(4):
        assert systemd.recv(100) == b"WATCHDOG=1"
        fed_at.append(time.monotonic())

    status = daemon.stop()
    systemd.settimeout(0)
    rest = list(_pending(systemd))

    assert ready == b"READY=1"
    assert max(b - a for a, b in pairwise(fed_at)) < 1
    assert set(rest) <= {b"STOPPING=1", b"WATCHDOG=1"}  # it is fed until it is gone
    assert rest.count(b"STOPPING=1") == 1
    assert status == 0


def test_a_daemon_that_stands_still_is_not_fed(
    systemd: socket.socket, start_daemon: Callable[..., Any]
) -> None:
    """Stopped by SIGSTOP it says nothing, so that systemd's watchdog bites."""
    daemon = start_daemon(
        NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC=str(300_000)
    )
    assert systemd.recv(100) == b"READY=1"

    os.kill(daemon.process.pid, signal.SIGSTOP)
    systemd.settimeout(0)
    list(_pending(systemd))
    systemd.settimeout(0.5)
    heard = list(_pending(systemd))
    os.kill(daemon.process.pid, signal.SIGCONT)

    assert heard == []
    assert systemd.recv(100) == b"WATCHDOG=1"


def _pending(systemd: socket.socket) -> Iterator[bytes]:
    try:
        while True:
            yield systemd.recv(100)
    except (BlockingIOError, TimeoutError):
        return
