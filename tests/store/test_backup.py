"""Copies of the database, and putting one back."""

import os
import sqlite3
import subprocess
import sys
import threading
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

MakeRecord = Callable[..., AgentRecord]


@pytest.fixture
def storage(tmp_path: Path, make_record: MakeRecord) -> Iterator[Storage]:
    """Open a store on SQLite with two agents in it."""
    storage = create_storage_backend(f"sqlite:///{tmp_path}/registry.db")
    storage.agents.register_all([make_record("first"), make_record("second")])
    yield storage
    storage.database.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Name the backup."""
    return tmp_path / "backup.db"


def ids(storage: Storage) -> list[str]:
    """Return who is registered."""
    return [agent.agent_id for agent in storage.agents.list_all(include_dead=True)]


def test_a_backup_holds_what_was_committed_before_it_began(
    storage: Storage, target: Path, make_record: MakeRecord
) -> None:
    """Amid a storm of writes it ends, and it is one whole file."""
    over = threading.Event()
    done: list[int] = []

    def write() -> None:
        while not over.is_set():
            number = len(done)
            storage.agents.register(make_record(f"agent-{number:05}"))
            done.append(number)

    writing = threading.Thread(target=write)
    writing.start()
    while len(done) < 100:
        over.wait(0.01)
    before = len(done)
    manifest = storage.database.backup(target)
    over.set()
    writing.join()

    assert not [*target.parent.glob("backup.db?*")]
    with closing(sqlite3.connect(target)) as copy:
        found = {
            agent_id for (agent_id,) in copy.execute("SELECT agent_id FROM agents")
        }
    assert found >= {f"agent-{number:05}" for number in range(before)}
    assert len(found) == manifest.agents


def test_a_restored_registry_is_the_one_that_was_backed_up(
    storage: Storage, target: Path, make_record: MakeRecord
) -> None:
    """What stood in the place is put aside whole, its log too."""
    storage.database.backup(target)
    storage.agents.register(make_record("later"))
    crashed = target.with_name("crashed.db")
    for suffix in ("", "-wal"):
        content = Path(f"{storage.database.location}{suffix}").read_bytes()
        Path(f"{crashed}{suffix}").write_bytes(content)
    place = create_storage_backend(f"sqlite:///{crashed}")

    restored = place.database.restore(target)

    assert restored.manifest.agents == 2
    assert ids(place) == ["first", "second"]
    place.database.close()
    assert restored.put_aside
    aside = create_storage_backend(f"sqlite:///{restored.put_aside}")
    assert ids(aside) == ["first", "later", "second"]
    aside.database.close()


def test_a_backup_is_restored_where_nothing_was(storage: Storage, target: Path) -> None:
    """On a fresh host; the backup stays."""
    storage.database.backup(target)
    fresh = create_storage_backend(f"sqlite:///{target.parent}/fresh.db")

    assert fresh.database.restore(target).put_aside is None

    assert ids(fresh) == ["first", "second"]
    fresh.database.close()
    assert target.exists()


def _copy_without_log(storage: Storage, target: Path) -> None:
    storage.database.checkpoint()
    target.write_bytes(Path(storage.database.location).read_bytes())


def _lose_an_agent(storage: Storage, target: Path) -> None:
    storage.database.backup(target)
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("DELETE FROM agents WHERE agent_id = 'first'")
        copy.commit()


def _cut_off_half(storage: Storage, target: Path) -> None:
    storage.database.backup(target)
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])


def _make_nothing(_storage: Storage, _target: Path) -> None:
    pass


def _empty(_storage: Storage, target: Path) -> None:
    target.touch()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_copy_without_log, "has no manifest"),
        (_lose_an_agent, "holds 1 agents, and its manifest says 2"),
        (_cut_off_half, "is damaged"),
        (_make_nothing, "does not exist"),
        (_empty, "has no manifest"),
    ],
)
def test_what_is_no_whole_backup_is_not_restored(
    storage: Storage,
    target: Path,
    make: Callable[[Storage, Path], None],
    reason: str,
) -> None:
    """And the database in the place stays there."""
    make(storage, target)
    storage.database.close()

    with pytest.raises(StoreUnusable, match=f"backup.db {reason}"):
        storage.database.restore(target)

    storage.database.open()
    assert ids(storage) == ["first", "second"]


def test_a_restore_that_was_cut_short_is_not_served_as_an_empty_registry(
    storage: Storage, target: Path
) -> None:
    """The old is aside, the new not yet in the place: it is to be run again."""
    storage.database.backup(target)
    storage.database.close()
    Path(storage.database.location).rename(target.with_name("aside.db"))
    Path(f"{storage.database.location}.restoring").touch()

    with pytest.raises(StoreUnusable, match="cut short: run it again"):
        storage.database.open()

    storage.database.restore(target)
    storage.database.open()
    assert ids(storage) == ["first", "second"]


def test_a_restore_that_is_run_again_keeps_the_log_with_its_database(
    storage: Storage, target: Path, make_record: MakeRecord
) -> None:
    """It was cut short between the two: the log was aside, the database was not."""
    storage.database.backup(target)
    place = Path(storage.database.location)
    storage.agents.register(make_record("later"))
    log = Path(f"{place}-wal").read_bytes()
    crashed = place.read_bytes()
    storage.database.close()
    place.write_bytes(crashed)
    Path(f"{place}.before-20261125T120000.000000Z-wal").write_bytes(log)
    Path(f"{place}.restoring").touch()

    restored = storage.database.restore(target)

    assert restored.put_aside == Path(f"{place}.before-20261125T120000.000000Z")
    aside = create_storage_backend(f"sqlite:///{restored.put_aside}")
    assert ids(aside) == ["first", "later", "second"]
    aside.database.close()


def test_a_journal_in_the_place_does_not_undo_what_is_restored(
    storage: Storage, target: Path, tmp_path: Path
) -> None:
    """It belongs to what was there, whose first start was cut short."""
    storage.database.backup(target)
    place = tmp_path / "fresh.db"
    subprocess.run([sys.executable, "-c", DIE_AMID_A_COMMIT, place], check=True)
    fresh = create_storage_backend(f"sqlite:///{place}")

    restored = fresh.database.restore(target)

    assert ids(fresh) == ["first", "second"]
    fresh.database.close()
    assert restored.put_aside
    assert Path(f"{restored.put_aside}-journal").exists()


@pytest.mark.parametrize("name", ["registry.db", "link.db"])
def test_a_database_is_not_replaced_by_its_own_backup(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    """The store would go on in a file that nobody can see."""
    (tmp_path / "link.db").symlink_to(tmp_path / "registry.db")

    with pytest.raises(StoreUnusable, match=f"{name} is the database itself"):
        storage.database.backup(tmp_path / name)

    assert ids(storage) == ["first", "second"]


def test_a_backup_replaces_no_database_that_is_served(
    storage: Storage, tmp_path: Path
) -> None:
    """By another daemon: what it has committed would be lost."""
    other = create_storage_backend(f"sqlite:///{tmp_path}/other.db")
    other.database.open()

    with pytest.raises(StoreUnusable, match=r"other\.db is a database that is in use"):
        storage.database.backup(tmp_path / "other.db")

    other.database.close()


def _write_text(target: Path) -> None:
    target.write_text("precious")


def _make_foreign(target: Path) -> None:
    with closing(sqlite3.connect(target)) as foreign:
        foreign.execute("CREATE TABLE manifest (taken_at, agents, schema_version)")


def _make_database(target: Path) -> None:
    other = create_storage_backend(f"sqlite:///{target}")
    other.database.open()
    other.database.close()


@pytest.mark.parametrize("make", [_write_text, _make_foreign, _make_database])
def test_a_backup_replaces_no_file_that_is_none(
    storage: Storage, target: Path, make: Callable[[Path], None]
) -> None:
    """Somebody mistook its name; it stays as it was, and nothing is beside it."""
    make(target)
    before = target.read_bytes()

    with pytest.raises(StoreUnusable, match=r"backup\.db is no backup, and is not"):
        storage.database.backup(target)

    assert target.read_bytes() == before
    assert not [*target.parent.glob("backup.db-*"), *target.parent.glob("*.partial")]


def test_a_backup_replaces_no_device(storage: Storage, target: Path) -> None:
    """As root, it would take the place of /dev/null."""
    os.mkfifo(target)

    with pytest.raises(StoreUnusable, match=r"backup\.db is no backup"):
        storage.database.backup(target)

    assert target.is_fifo()


def test_a_backup_replaces_an_older_one_and_an_empty_file(
    storage: Storage, target: Path, make_record: MakeRecord
) -> None:
    """Such as mktemp makes; nothing is lost by either."""
    target.touch()
    first = storage.database.backup(target)
    storage.agents.register(make_record("later"))

    second = storage.database.backup(target)

    assert (first.agents, second.agents) == (2, 3)


def test_a_backup_that_was_put_in_the_place_by_hand_is_backed_up(
    storage: Storage, target: Path, tmp_path: Path
) -> None:
    """It has a manifest of its own, which is of no use any more."""
    storage.database.backup(target)
    copied = create_storage_backend(f"sqlite:///{tmp_path}/copied.db")
    Path(copied.database.location).write_bytes(target.read_bytes())
    copied.agents.delete("first")

    manifest = copied.database.backup(tmp_path / "again.db")

    copied.database.close()
    assert manifest.agents == 1


@pytest.mark.parametrize("folder", ["nowhere", "registry.db"])
def test_a_backup_that_cannot_be_written_leaves_nothing(
    storage: Storage, tmp_path: Path, folder: str
) -> None:
    """It says where it should have been."""
    with pytest.raises(StoreUnavailable, match=f"{folder}/backup.db"):
        storage.database.backup(tmp_path / folder / "backup.db")

    assert not [*tmp_path.rglob("backup*")]


def test_a_damaged_database_makes_no_backup(
    storage: Storage, tmp_path: Path, target: Path
) -> None:
    """An older, whole one of that name is kept."""
    storage.database.backup(target)
    whole = target.read_bytes()
    storage.database.close()
    database = tmp_path / "registry.db"
    with database.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xff" * 2048)

    with pytest.raises((StoreUnusable, StoreUnavailable)):
        storage.database.backup(target)

    assert target.read_bytes() == whole


#: Leaves a journal with what is to be undone, as a first start does that is killed.
DIE_AMID_A_COMMIT = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("CREATE TABLE filler (text TEXT)")
database.execute("INSERT INTO filler VALUES (zeroblob(100000))")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE filler SET text = zeroblob(200000)")
assert os.path.getsize(sys.argv[1] + "-journal") > 1000
os._exit(0)
"""

#: What an operator's `sqlite3` shell does, or another backup.
READ_AND_CLOSE = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("SELECT count(*) FROM agents").fetchone()
database.close()
"""


@pytest.mark.parametrize("look", ["backup", "check", "second store"])
def test_whoever_looks_leaves_the_locks_of_the_store_alone(
    storage: Storage, target: Path, make_record: MakeRecord, look: str
) -> None:
    """Without them, the next process to close the file would delete its log."""
    second = create_storage_backend(f"sqlite:///{storage.database.location}")
    if look == "backup":
        storage.database.backup(target)
    elif look == "check":
        second.database.check()
    else:
        second.database.open()
        second.database.close()

    path = Path(storage.database.location)
    subprocess.run([sys.executable, "-c", READ_AND_CLOSE, path], check=True)

    assert path.with_name(f"{path.name}-wal").stat().st_size
    storage.agents.register(make_record("later"))
    assert ids(storage) == ["first", "later", "second"]
