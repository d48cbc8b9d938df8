import socket
import sys
from contextlib import nullcontext
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


@pytest.mark.parametrize(
    ("words", "raised"),
    [("all is there", None), ("what it never says", NotReady)],
)
def test_what_a_server_tells_is_awaited(
    tmp_path: Path, words: str, raised: type[Exception] | None
) -> None:
    """It may listen before it is done with its start; ended, it tells no more."""
    say = "import time; time.sleep(0.2); print('all is there')"
    process = Process([sys.executable, "-c", say], tmp_path, port=1, environ={})

    with pytest.raises(raised) if raised else nullcontext():
        process.await_told(words, 10)

    process.kill()


def test_a_process_may_be_killed_twice(tmp_path: Path) -> None:
    """The second time does nothing."""
    port = free_port()
    process = Process(serve(port), tmp_path, port=port, environ={})

    process.kill()
    process.kill()
