"""The scheduled backup: when it is due, and what it keeps."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from daemon.backups import BackupJob
from store import AgentRecord, Storage, create_storage_backend

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY_SECONDS = 86_400
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def frozen() -> Iterator[FrozenDateTimeFactory]:
    """Stop the time at noon."""
    with freeze_time(NOON, ignore=["_pytest.timing"]) as frozen:
        yield frozen


@pytest.fixture
def storage(
    tmp_path: Path, make_record: Callable[..., AgentRecord]
) -> Iterator[Storage]:
    """Open a store with an agent in it."""
    storage = create_storage_backend(f"sqlite:///{tmp_path}/registry.db")
    storage.agents.register(make_record())
    yield storage
    storage.database.close()


@pytest.fixture
def job(storage: Storage, tmp_path: Path) -> BackupJob:
    """Make a job that keeps two backups in a folder."""
    (tmp_path / "backups").mkdir()
    return BackupJob(storage.database, tmp_path / "backups", keep=2)


def taken(tmp_path: Path) -> list[str]:
    """Return the days of the backups that are kept."""
    return sorted(path.name[15:23] for path in (tmp_path / "backups").glob("*.db"))


@pytest.mark.parametrize(
    ("last_before", "due_in"),
    [
        (None, timedelta()),
        (timedelta(hours=1), DAY - timedelta(hours=1)),
        (3 * DAY, timedelta()),
        (-365 * DAY, timedelta()),
    ],
)
def test_the_first_backup_is_due_by_the_last_one(
    job: BackupJob,
    frozen: FrozenDateTimeFactory,
    last_before: timedelta | None,
    due_in: timedelta,
) -> None:
    """A daemon that is started every night takes backups all the same."""
    if last_before is not None:
        frozen.move_to(NOON - last_before)
        job.run()
        frozen.move_to(NOON)

    assert job.first_at(DAY_SECONDS) == NOON + due_in


def test_the_newest_are_kept(
    job: BackupJob, tmp_path: Path, frozen: FrozenDateTimeFactory
) -> None:
    """So many as are asked for."""
    for _ in range(4):
        job.run()
        frozen.tick(DAY)

    assert taken(tmp_path) == ["20260303", "20260304"]


def test_a_backup_is_kept_although_others_seem_newer(
    job: BackupJob, tmp_path: Path, frozen: FrozenDateTimeFactory
) -> None:
    """The clock was wrong when they were taken: it was removed as it was made."""
    frozen.move_to(NOON + 365 * DAY)
    for _ in range(2):
        job.run()
        frozen.tick(DAY)
    frozen.move_to(NOON)

    job.run()

    assert taken(tmp_path) == ["20260301", "20270302"]


def test_what_a_kill_left_of_a_backup_is_removed(
    job: BackupJob, tmp_path: Path
) -> None:
    """Each has a name of its own, and would stay for ever."""
    left = tmp_path / "backups" / "agent-registry-20260228T120000.000000Z.db.partial"
    left.touch()

    job.run()

    assert not left.exists()
    assert taken(tmp_path) == ["20260301"]


def test_an_old_backup_that_stays_is_no_failed_one(
    job: BackupJob,
    tmp_path: Path,
    frozen: FrozenDateTimeFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told, the new one is there, and the others are removed."""
    caplog.set_level("INFO", "daemon.backups")
    stuck = tmp_path / "backups" / "agent-registry-20200101T000000.000000Z.db"
    stuck.mkdir()
    for _ in range(3):
        job.run()
        frozen.tick(DAY)

    assert taken(tmp_path) == ["20200101", "20260302", "20260303"]
    told = [record.action for record in caplog.records]  # type: ignore[attr-defined]
    assert told.count("backed_up") == 3
    assert told.count("backup_kept") == 2


def test_a_stop_ends_the_backup_that_is_being_taken(
    job: BackupJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is left of it, and nobody waits for it."""
    job.stop()

    running = threading.Thread(target=job.run)
    running.start()
    running.join(10)

    assert [*(tmp_path / "backups").iterdir()] == []
    assert "The backup failed: the backup was ended" in caplog.text
