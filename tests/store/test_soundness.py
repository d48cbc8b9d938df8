"""A database that is damaged, or no longer the one that was opened."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store import (
    AgentRecord,
    Storage,
    StoreUnavailable,
    StoreUnusable,
    create_storage_backend,
)

AGENTS = 200
PAGE = 2048

Break = Callable[[Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the database."""
    return tmp_path / "registry.db"


@pytest.fixture
def storage(path: Path, make_record: Callable[..., AgentRecord]) -> Iterator[Storage]:
    """Open a store with agents in it, all of them in the database proper."""
    storage = create_storage_backend(f"sqlite:///{path}", reader_threads=2)
    records = [make_record(f"agent-{n:03}", ttl_seconds=3600) for n in range(AGENTS)]
    storage.agents.register_all(records)
    storage.database.checkpoint()
    yield storage
    storage.database.close()


def _overwrite_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // PAGE // 2 * PAGE)
        file.write(os.urandom(PAGE))


def _overwrite_the_first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(PAGE))


def _cut_off_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    """Leave an empty file, beside the lock file of the daemon it belonged to."""
    os.truncate(path, 0)
    Path(f"{path}.lock").write_text("agent-registryd, pid 1\n")


def _empty_beside_its_log(path: Path) -> None:
    os.truncate(path, 0)
    Path(f"{path}-wal").write_bytes(b"x" * PAGE)


def _remove_beside_its_log(path: Path) -> None:
    _empty_beside_its_log(path)
    path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _overwrite_a_page,
        _overwrite_the_first_page,
        _cut_off_half,
        _empty,
        _empty_beside_its_log,
        _remove_beside_its_log,
    ],
)
def test_a_broken_database_is_refused_and_the_cure_is_named(
    storage: Storage, path: Path, damage: Break
) -> None:
    """It is neither served as an empty registry, nor written to."""
    storage.database.close()
    damage(path)
    before = path.read_bytes() if path.exists() else None

    def start() -> None:
        storage.database.check()
        storage.database.open()

    with pytest.raises(StoreUnusable, match="agent-registryd restore FILE"):
        start()

    assert (path.read_bytes() if path.exists() else None) == before


def test_what_only_the_log_holds_is_not_moved_into_a_damaged_database(
    storage: Storage, path: Path, make_record: Callable[..., AgentRecord]
) -> None:
    """Looking for damage leaves the log of a crashed daemon as it is."""
    storage.agents.register(make_record("in-the-log"))
    crashed = path.with_name("crashed.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    _cut_off_half(crashed)
    log = Path(f"{crashed}-wal").read_bytes()

    with pytest.raises(StoreUnusable, match=r"crashed\.db is damaged"):
        create_storage_backend(f"sqlite:///{crashed}").database.open()

    assert Path(f"{crashed}-wal").read_bytes() == log


def _replace(path: Path) -> None:
    """Put another registry in the place, one with nobody in it."""
    other = create_storage_backend(f"sqlite:///{path}.other").database
    other.open()
    other.close()
    Path(f"{path}.other").replace(path)


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda path: path.rename(f"{path}.away"), id="moved"),
        pytest.param(lambda path: path.unlink(), id="removed"),
        pytest.param(lambda path: os.truncate(path, 0), id="emptied"),
        pytest.param(lambda path: Path(f"{path}-wal").unlink(), id="log removed"),
        pytest.param(_replace, id="replaced"),
    ],
)
def test_a_database_that_is_lost_while_open_answers_nothing(
    storage: Storage, path: Path, lose: Break, make_record: Callable[..., AgentRecord]
) -> None:
    """No list without the agents, and no change that nobody could find again."""
    lose(path)

    for _ in range(4):
        with pytest.raises(StoreUnavailable):
            storage.agents.list_all()
    with pytest.raises(StoreUnavailable):
        storage.agents.update_heartbeat("agent-000")
    with pytest.raises(StoreUnavailable):
        storage.agents.register(make_record("newcomer"))

    assert storage.agents.write_lag_seconds() > 1_000


def test_a_database_that_is_back_is_served_on(storage: Storage, path: Path) -> None:
    """The file itself, not another: then nothing has happened to it."""
    away = path.rename(f"{path}.away")
    with pytest.raises(StoreUnavailable):
        storage.agents.update_heartbeat("agent-000")

    away.rename(path)

    assert storage.agents.update_heartbeat("agent-000")
    assert len(storage.agents.list_all()) == AGENTS
    assert storage.agents.write_lag_seconds() == 0


def test_damage_met_by_a_read_is_told_once(
    storage: Storage, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each list is unavailable, never partial; the log does not repeat it."""
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(os.urandom(path.stat().st_size - PAGE))
    # A commit makes readers forget the pages they know.
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 2")
        other.commit()

    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="malformed"):
            storage.agents.list_all()

    told = [record for record in caplog.records if "malformed" in record.getMessage()]
    assert len(told) == 1


def test_damage_met_by_a_write_stops_all_writing_until_it_is_gone(
    storage: Storage, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lease time must stand still: some agents could not be renewed any more."""
    storage.database.close()
    storage.database.open()
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(b"\xff" * (path.stat().st_size - PAGE))

    for agent_id in ("agent-000", "agent-199", "nobody"):
        with pytest.raises(StoreUnavailable):
            storage.agents.update_heartbeats([agent_id])
    stopped = storage.agents.write_lag_seconds()
    with path.open("r+b") as file:
        file.write(whole)
    give_up = time.monotonic() + 10
    while storage.agents.write_lag_seconds() and time.monotonic() < give_up:
        storage.agents.submit(storage.agents.delete, "nobody").exception()
        time.sleep(0.05)

    assert stopped > 1_000
    assert storage.agents.update_heartbeat("agent-000")
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
