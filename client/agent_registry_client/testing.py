"""A real registry for your tests, in one fixture.

In your `conftest.py`:

    pytest_plugins = ["agent_registry_client.testing"]

and in a test:

    def test_my_agent_is_found(registry):
        client = AgentRegistryClient(registry.url)

It needs `pytest`, and `agent-registry` in the environment that runs the tests.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_READY = re.compile(r"Ready on (http://\S+):(\d+),")

#: A start takes half a second; a busy machine may need more.
START_SECONDS = 20.0


class RegistryProcess:
    """An `agent-registryd` of your own, on a port of its own, with a new database."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """Start it.

        Args:
            folder: Where its database and its log go.
            settings: Its configuration, `leases__max_ttl_seconds=120` for
                `max_ttl_seconds` in `[leases]`.

        Raises:
            FileNotFoundError: `agent-registry` is not installed here.
            RuntimeError: it does not start; the message holds its log.
        """
        self._folder = folder
        self._environ = {
            f"AGENT_REGISTRY_{key.upper()}": str(value)
            for key, value in settings.items()
        }
        self.url, self._port = "", 0
        self.start()

    def start(self, *, empty: bool = False) -> None:
        """Start it again, on the same port, with the agents it knew or with none."""
        if empty:
            for file in self._folder.glob("agent-registry.db*"):
                file.unlink()
        log = self._folder / "registry.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own daemon
                [_command()],
                cwd=self._folder,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "AGENT_REGISTRY_SERVER__PORT": str(self._port),
                    **self._environ,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        give_up_at = time.monotonic() + START_SECONDS
        while not (ready := _READY.search(log.read_text())):
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise RuntimeError(f"agent-registryd did not start: {log.read_text()}")
            time.sleep(0.02)
        self.url, self._port = f"{ready[1]}:{ready[2]}", int(ready[2])

    def stop(self) -> None:
        """End it as an operator does."""
        self.resume()
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it hang: connections are taken, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on."""
        self.process.send_signal(signal.SIGCONT)


def _command() -> str:
    beside = Path(sys.executable).with_name("agent-registryd")
    found = str(beside) if beside.exists() else shutil.which("agent-registryd")
    if found is None:
        raise FileNotFoundError(
            "agent-registryd is not installed here: pip install agent-registry"
        )
    return found


@pytest.fixture
def start_registry(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RegistryProcess]]:
    """Return a function that starts registries, with settings; all are ended."""
    started: list[RegistryProcess] = []

    def start(**settings: object) -> RegistryProcess:
        folder = tmp_path_factory.mktemp("registry")
        started.append(RegistryProcess(folder, **settings))
        return started[-1]

    yield start
    for registry in started:
        registry.kill()


@pytest.fixture
def registry(start_registry: Callable[..., RegistryProcess]) -> RegistryProcess:
    """Return a running registry that knows nobody."""
    return start_registry()
