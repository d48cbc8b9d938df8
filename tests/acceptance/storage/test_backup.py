"""Backups that the command and the daemon take, and a restore."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

#: Longer than it takes to register a few and to back them up, on a busy machine.
TTL_SECONDS = 5


@pytest.fixture
def command(registry: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs `agent-registryd` on the registry's database."""
    config = registry.database.with_name("config.toml")
    config.write_text(f'[store]\nurl = "sqlite:///{registry.database}"\n')

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "daemon", *arguments, "--config", config],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": registry.root},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_a_registry_is_restored_as_it_was_acknowledged(
    registry: Any,
    command: Callable[..., Any],
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    """Backed up amid registrations and beats; everybody gets a full TTL after it."""
    registry.start(AGENT_REGISTRY_GUARD__ENABLED="false")
    acknowledged: list[str] = []
    slowest = 0.0
    over = threading.Event()

    def register() -> None:
        nonlocal slowest
        while not over.is_set():
            agent_id = f"agent-{len(acknowledged)}"
            asked = time.monotonic()
            assert registry.register(agent_id, TTL_SECONDS) == 201
            slowest = max(slowest, time.monotonic() - asked)
            acknowledged.append(agent_id)

    registering = threading.Thread(target=register)
    registering.start()
    wait_until(lambda: len(acknowledged) > 50)
    before = {*acknowledged}
    taken = command("backup", tmp_path / "backup.db")
    refused = command("restore", tmp_path / "backup.db")
    over.set()
    registering.join()
    registry.daemon.stop()
    time.sleep(TTL_SECONDS)  # longer than any lease still runs
    restored = command("restore", tmp_path / "backup.db")
    registry.start(AGENT_REGISTRY_GUARD__ENABLED="false")

    assert (taken.returncode, taken.stderr) == (0, "")
    assert (refused.returncode, "is served by" in refused.stderr) == (78, True)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "what was there is in" in restored.stdout
    assert registry.ids() >= before
    wait_until(lambda: "leases re-armed" in registry.log())
    _, agent = registry.ask("GET", "/agents/agent-0")
    lease = datetime.fromisoformat(agent["expires_at"]) - datetime.now().astimezone()  # noqa: TID251
    assert TTL_SECONDS - 1.5 < lease.total_seconds() <= TTL_SECONDS
    assert {registry.beat(agent_id) for agent_id in sorted(before)[:20]} == {200}
    assert slowest < 3


def test_the_daemon_backs_itself_up_and_keeps_the_newest(
    registry: Any, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    """Other files in the folder are left alone; a failure is told, and tried again."""
    folder = tmp_path / "backups"
    registry.start(
        AGENT_REGISTRY_BACKUP__DIRECTORY=str(folder),
        AGENT_REGISTRY_BACKUP__INTERVAL_SECONDS="1",
        AGENT_REGISTRY_BACKUP__KEEP="2",
    )
    registry.register("summariser-1")

    wait_until(lambda: "The backup failed" in registry.log())
    folder.mkdir()
    (folder / "notes.txt").touch()
    wait_until(lambda: registry.log().count("Agents backed up") >= 3)

    backups = sorted(folder.glob("*.db"))
    assert 2 <= len(backups) <= 3  # one may just have been taken
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("backup", "nowhere/backup.db"), 78), (("restore", "backup.db"), 78)],
)
def test_what_is_not_there_is_told_in_a_sentence(
    command: Callable[..., Any], arguments: tuple[str, str], status: int
) -> None:
    """No registry to back up, no backup to restore."""
    done = command(*arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("agent-registryd: ")
    assert "does not exist" in done.stderr


def test_a_kill_during_a_backup_leaves_no_half_of_one(
    registry: Any,
    command: Callable[..., Any],
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    """No file of that name, a database that is whole, and the next backup is taken."""
    folder = tmp_path / "backups"
    folder.mkdir()
    registry.start(
        AGENT_REGISTRY_BACKUP__DIRECTORY=str(folder),
        AGENT_REGISTRY_BACKUP__INTERVAL_SECONDS="1",
        AGENTREG_FAIL="mid_backup:kill:2",  # the first is taken at the start
    )
    acknowledged = {f"agent-{number}" for number in range(20)}
    assert {registry.register(agent_id) for agent_id in acknowledged} == {201}
    wait_until(lambda: registry.daemon.process.poll() is not None)

    left = list(folder.glob("*.db"))
    registry.start()
    listed = registry.ids()
    taken = command("backup", folder / "next.db")

    assert len(left) == 1  # the first, and no half of the second
    assert listed == acknowledged
    assert (taken.returncode, taken.stderr) == (0, "")
