"""A daemon whose disk, or whose files, fail under it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[3]


class Registry:
    """A daemon on a database of the test's choice, and one agent's view of it."""

    def __init__(self, start: Callable[..., Any], database: Path) -> None:
        self.database = database
        self.root = str(ROOT)
        self._start = start
        self.daemon: Any = None

    def start(self, **environ: str) -> None:
        """Start the daemon on what is at the path."""
        self.daemon = self._start(
            AGENT_REGISTRY_STORE__URL=f"sqlite:///{self.database}",
            AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS="1",
            PYTHONPATH=str(ROOT),
            **environ,
        )

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and decoded body of one call."""
        with closing(self.daemon.connect()) as connection:
            content = None if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def register(self, agent_id: str, ttl_seconds: int = 3600, filler: int = 0) -> int:
        """Register an agent; return the status."""
        body = {
            "agent_id": agent_id,
            "agent_name": "fleet",
            "host": "10.0.0.7",
            "port": 8001,
            "ttl_seconds": ttl_seconds,
            "metadata": {"filler": "x" * filler},
        }
        return self.ask("POST", "/agents/register", body)[0]

    def beat(self, agent_id: str) -> int:
        """Beat for an agent; return the status."""
        return self.ask("POST", f"/agents/{agent_id}/heartbeat")[0]

    def ids(self) -> set[str]:
        """Return who is listed; the call must succeed."""
        status, agents = self.ask("GET", "/agents")
        assert status == 200, agents
        return {agent["agent_id"] for agent in agents}

    def log(self) -> str:
        """Return what the daemons of this test have said so far."""
        said: str = self.daemon.log()
        return said


class Disk(NamedTuple):
    """A small disk of the test's own."""

    folder: Path

    def fill(self) -> None:
        """Leave no room on it."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    continue

    def clear(self) -> None:
        """Make room on it again."""
        (self.folder / "filler").unlink()


def run(*command: str | Path) -> None:
    """Run a command as root, or skip the test, saying why."""
    if os.geteuid() != 0:
        pytest.skip(f"only root may run {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} was refused: {done.stderr.strip()}")


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """Return a function that mounts a disk of so many KiB."""
    mounted: list[Path] = []

    def make(kib: int) -> Disk:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder)
        mounted.append(folder)
        return Disk(folder)

    yield make
    for folder in mounted:
        run("umount", "--lazy", folder)


@pytest.fixture
def as_root() -> Callable[..., None]:
    """Return what runs a command as root, or skips the test."""
    return run


@pytest.fixture
def make_registry(start_daemon: Callable[..., Any]) -> Callable[[Path], Registry]:
    """Return a function that makes a registry, not started, on a database."""
    return lambda database: Registry(start_daemon, database)


@pytest.fixture
def registry(make_registry: Callable[[Path], Registry], tmp_path: Path) -> Registry:
    """Return a registry on a database of its own, not started."""
    return make_registry(tmp_path / "registry.db")
