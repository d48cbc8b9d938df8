"""A database that cannot be written, read or opened."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from store import create_storage_backend

ROOT = Path(__file__).parents[3]
#: Short, so that the fault lasts longer.
TTL_SECONDS = 2
FAULT_SECONDS = 3
AGENTS = 20
PAGE = 2048

LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def _locked(registry: Any, _as_root: Callable[..., None]) -> Iterator[None]:
    """Let another process hold an exclusive lock."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, registry.database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        yield
        holder.communicate()


@contextmanager
def _read_only(registry: Any, as_root: Callable[..., None]) -> Iterator[None]:
    """Make the files immutable, which holds for root and for open files too."""
    files = [registry.database, f"{registry.database}-wal"]
    as_root("chattr", "+i", *files)
    try:
        yield
    finally:
        as_root("chattr", "-i", *files)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (_locked, FAULT_SECONDS),
        (_read_only, FAULT_SECONDS),
        pytest.param(_locked, 30, marks=pytest.mark.torture),
    ],
)
def test_nobody_expires_while_the_database_cannot_be_written(
    registry: Any,
    as_root: Callable[..., None],
    wait_until: Callable[..., Any],
    fault: Callable[..., Any],
    seconds: float,
) -> None:
    """Changes are told 503 within a second, and stored again without a restart."""
    registry.start(AGENT_REGISTRY_GUARD__ENABLED="false")
    ids = [f"agent-{number}" for number in range(AGENTS)]
    for agent_id in ids:
        assert registry.register(agent_id, TTL_SECONDS) == 201
    answered = []

    with fault(registry, as_root):
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            asked = time.monotonic()
            calls = (registry.beat(ids[0]), registry.register("newcomer"))
            statuses = {registry.beat("nobody"), *calls}
            answered.append((statuses, time.monotonic() - asked))
        unwell = registry.ask("GET", "/health")[0]
    wait_until(lambda: registry.beat(ids[0]) == 200)
    statuses = [registry.beat(agent_id) for agent_id in ids]

    assert all(seen == {503} and waited < 2 for seen, waited in answered)
    assert unwell == 503
    assert statuses == [200] * AGENTS
    assert registry.ids() == {*ids}
    assert "expired" not in registry.log()
    wait_until(lambda: registry.ask("GET", "/health")[0] == 200)


def _corrupt(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(database.stat().st_size // PAGE // 2 * PAGE)
        file.write(os.urandom(PAGE))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_corrupt, "is damaged"),
        (lambda path: os.truncate(path, 0), "is empty, and a registry was there"),
    ],
)
def test_a_broken_database_is_not_served(
    registry: Any, damage: Callable[[Path], object], reason: str
) -> None:
    """Status 78, which systemd does not restart; the sentence names the cure."""
    registry.start()
    for number in range(AGENTS):
        registry.register(f"agent-{number}", filler=500)
    registry.daemon.stop()
    damage(registry.database)

    status, said = _start(registry.database)

    assert status == 78
    assert reason in said
    assert "agent-registryd restore FILE" in said
    registry.database.unlink()


def test_a_folder_that_is_read_only_is_told_at_the_start(
    make_disk: Callable[[int], Any], as_root: Callable[..., None]
) -> None:
    """With the cause; nothing is served."""
    disk = make_disk(1_024)
    as_root("mount", "-o", "remount,ro", disk.folder)

    status, said = _start(disk.folder / "registry.db")

    assert status == 78
    assert "Read-only file system" in said


def test_a_database_that_is_read_only_is_told_at_the_start(
    registry: Any, as_root: Callable[..., None]
) -> None:
    """With the cause; nothing is served of it, not even to read."""
    registry.start()
    registry.register("agent-0")
    registry.daemon.stop()
    as_root("chattr", "+i", registry.database)

    try:
        status, said = _start(registry.database)
    finally:
        as_root("chattr", "-i", registry.database)

    assert status == 78
    assert "readonly database" in said


#: Opens a database as somebody whose it is not.
# Python imports urllib late, and nobody may not read it where only root may.
OPEN_AS_NOBODY = """
import os, sys, urllib.parse
from store import StoreUnusable, create_storage_backend
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
try:
    create_storage_backend(f"sqlite:///{sys.argv[1]}").database.open()
except StoreUnusable as refused:
    print(refused)
"""


def test_a_database_of_another_owner_is_told_at_the_start() -> None:
    """Who may not read it is told so, and is not given an empty registry."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        database = Path(folder) / "registry.db"
        storage = create_storage_backend(f"sqlite:///{database}").database
        storage.open()
        storage.close()
        database.chmod(0o600 if os.geteuid() == 0 else 0)

        done = subprocess.run(
            [sys.executable, "-c", OPEN_AS_NOBODY, database],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )

    assert f"{database} cannot be read: Permission denied" in done.stdout


def test_a_database_that_was_cut_short_shows_no_part_of_itself(registry: Any) -> None:
    """While it is open: each list is whole, or a 503; and so it stays at the start."""
    registry.start()
    for number in range(AGENTS):
        assert registry.register(f"agent-{number:02}", filler=500) == 201
    registry.daemon.stop()
    registry.start()
    size = registry.database.stat().st_size

    os.truncate(registry.database, size // PAGE // 2 * PAGE)
    answers = [registry.ask("GET", "/agents") for _ in range(8)]
    registry.beat("agent-00")
    answers += [registry.ask("GET", "/agents") for _ in range(8)]
    registry.daemon.stop(signal.SIGKILL)
    status, said = _start(registry.database)

    assert {code for code, _ in answers} <= {200, 503}
    assert {len(listed) for code, listed in answers if code == 200} <= {AGENTS}
    assert answers[-1][0] == 503
    assert status == 78
    assert "is damaged" in said
    registry.database.unlink()


def test_a_database_that_was_replaced_is_not_served(
    registry: Any, wait_until: Callable[..., Any]
) -> None:
    """An empty file in its place is no empty list; health tells of it."""
    registry.start()
    for number in range(AGENTS):
        registry.register(f"agent-{number}")

    away = registry.database.rename(f"{registry.database}.away")
    registry.database.touch()
    listed = [registry.ask("GET", "/agents")[0] for _ in range(8)]
    beat = registry.beat("agent-0")
    wait_until(lambda: registry.ask("GET", "/health")[0] == 503)
    away.rename(registry.database)

    assert (set(listed), beat) == ({503}, 503)
    assert len(registry.ids()) == AGENTS
    assert registry.beat("agent-0") == 200


def _start(database: Path) -> tuple[int, str]:
    """Start a daemon that is expected to refuse; return its status and words."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "AGENT_REGISTRY_SERVER__PORT": "0",
            "AGENT_REGISTRY_STORE__URL": f"sqlite:///{database}",
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr
