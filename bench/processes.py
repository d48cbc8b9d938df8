"""Servers as processes: pinned, in folders of their own, always killed at the end."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.cores import SERVER_CORE, pinned

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_MEGABYTE = 1024 * 1024
#: Not seeded as tests are: two that run at the same time would draw the same ports.
_DRAWN = random.SystemRandom()


class NotReady(Exception):
    """A server did not begin to answer; the text ends with what it said."""


def free_port() -> int:
    """Return a port that was free a moment ago.

    Below those that Linux gives to whoever connects: one of them may be taken until a
    server has started that is told to listen there.
    """
    while True:
        port = _DRAWN.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Process:
    """One server, and what the kernel knows of it."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        port: int,
        environ: Mapping[str, str],
    ) -> None:
        self.port = port
        self.log = folder / "log"
        with self.log.open("ab") as log, pinned(SERVER_CORE):
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    def await_listening(self, seconds: float = 60) -> None:
        """Wait until it accepts connections.

        Raises:
            NotReady: it ended, or took longer.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                socket.create_connection(self.address).close()
            except OSError:
                time.sleep(0.002)
            else:
                return
        raise NotReady("...".join(self.log.read_text().splitlines()[-5:]))

    def await_told(self, words: str, seconds: float) -> None:
        """Wait until its log has these words.

        Raises:
            NotReady: it ended, or took longer.
        """
        give_up = time.monotonic() + seconds
        while words not in (said := self.log.read_text()):
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise NotReady("...".join(said.splitlines()[-5:]))
            time.sleep(0.05)

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def memory_mb(self) -> float:
        """Return its resident memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE

    def kill(self) -> None:
        """Kill it, and whatever it started; killing twice is killing once."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    *,
    port: int,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Start a server, yield it once it accepts connections, and kill it after."""
    folder.mkdir(exist_ok=True)
    process = Process(command, folder, port=port, environ=environ or {})
    try:
        process.await_listening()
        yield process
    finally:
        process.kill()
