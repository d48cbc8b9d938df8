import socket
import sys
from pathlib import Path

import pytest

from bench.processes import NotReady, Process, free_port, running

SERVE = "import socket, time; s = socket.create_server(('', {})); time.sleep(60)"


def serve(port: int) -> list[str]:
    """Return the command of a server that only listens."""
    return [sys.executable, "-c", SERVE.format(port)]


def test_a_server_is_killed_even_when_its_use_fails(tmp_path: Path) -> None:
    """Nothing is left running, whatever happened."""
    port = free_port()

    with pytest.raises(LookupError), running(serve(port), tmp_path, port=port):
        raise LookupError

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_server_is_measured_from_outside(tmp_path: Path) -> None:
    """The kernel knows its memory, and the processor time it used."""
    port = free_port()

    with running(serve(port), tmp_path, port=port) as process:
        assert 1 < process.memory_mb() < 100
        assert 0 <= process.cpu_seconds() < 10


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    """What it printed last is in the error."""
    command = [sys.executable, "-c", "raise SystemExit('no such option')"]

    with (
        pytest.raises(NotReady, match="no such option"),
        running(command, tmp_path, port=free_port()),
    ):
        pass


def test_a_process_may_be_killed_twice(tmp_path: Path) -> None:
    """The second time does nothing."""
    port = free_port()
    process = Process(serve(port), tmp_path, port=port, environ={})

    process.kill()
    process.kill()
