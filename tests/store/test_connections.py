"""One SQLite file and its threads."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import (
    AgentRecord,
    Storage,
    StoreUnavailable,
    StoreUnusable,
    create_storage_backend,
)
from store.writer import Priority

MakeRecord = Callable[..., AgentRecord]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def started() -> Iterator[Callable[[], set[threading.Thread]]]:
    """Return a function that tells which threads the test started."""
    before = set(threading.enumerate())
    yield lambda: set(threading.enumerate()) - before
    assert set(threading.enumerate()) <= before


@pytest.fixture
def storage(store_url: str) -> Iterator[Storage]:
    """Make a store on SQLite; nothing is opened yet."""
    storage = create_storage_backend(store_url)
    yield storage
    storage.database.close()


def test_nothing_is_opened_before_the_first_use(
    storage: Storage,
    tmp_path: Path,
    started: Callable[[], set[threading.Thread]],
) -> None:
    """A store that is only made has no file and no thread."""
    before = (list(tmp_path.iterdir()), started())
    storage.agents.list_all()
    opened = (len(list(tmp_path.iterdir())) > 0, len(started()))
    storage.database.close()

    assert before == ([], set())
    assert opened == (True, 5)


def test_opening_twice_is_opening_once(
    storage: Storage, started: Callable[[], set[threading.Thread]]
) -> None:
    """The second call starts no further threads."""
    storage.database.open()
    first = started()
    storage.database.open()
    second = started()
    storage.database.close()

    assert first == second


def test_a_failed_opening_leaves_no_thread(
    started: Callable[[], set[threading.Thread]],
) -> None:
    """The writer that could not make the file is let go."""
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        create_storage_backend("sqlite:////proc/registry.db").database.open()

    assert started() == set()


def test_opening_at_once_from_many_threads_is_opening_once(
    storage: Storage, started: Callable[[], set[threading.Thread]]
) -> None:
    """First calls that race share one writer."""
    barrier = threading.Barrier(8)
    writers = []

    def use() -> None:
        barrier.wait()
        writers.append(storage.database.writer)

    callers = [threading.Thread(target=use) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    threads = len(started())
    storage.database.close()

    assert len(set(writers)) == 1
    assert threads == 5


def test_a_closed_store_is_unavailable_until_it_is_opened(
    storage: Storage, make_record: MakeRecord
) -> None:
    """Closing twice is closing once; what was stored is there again."""
    storage.agents.add(make_record())
    storage.database.close()
    storage.database.close()

    with pytest.raises(StoreUnavailable, match="the store is closed"):
        storage.agents.get("summariser-1")
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        storage.agents.delete("summariser-1")
    storage.database.open()

    assert [agent.agent_id for agent in storage.agents.list_all()] == ["summariser-1"]


def test_closing_leaves_one_file(
    storage: Storage, make_record: MakeRecord, tmp_path: Path
) -> None:
    """The log is taken into the database as the last connection goes."""
    storage.agents.add(make_record())
    storage.database.close()

    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]


def test_a_checkpoint_empties_the_log(
    storage: Storage, make_record: MakeRecord, tmp_path: Path
) -> None:
    """What is committed stands in the database proper afterwards."""
    storage.agents.add(make_record())
    log = tmp_path / "registry.db-wal"
    before = log.stat().st_size
    storage.database.checkpoint()

    assert before > 0
    assert log.stat().st_size == 0


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_the_writer_syncs_as_promised(
    store_url: str, synchronous: str, level: int
) -> None:
    """Write-ahead logging, and checkpoints by the connection that writes."""
    storage = create_storage_backend(store_url, synchronous=synchronous)
    writing = storage.database.writing

    pragmas = storage.database.writer.submit(
        Priority.MAINTENANCE,
        lambda: (
            writing.journal_mode,
            writing.synchronous,
            writing.wal_autocheckpoint,
        ),
    ).result()
    storage.database.close()

    assert pragmas == ("wal", level, 0)


def test_the_writer_needs_no_file_but_the_database(storage: Storage) -> None:
    """Whatever it has to note to undo a large statement: /var/tmp may be full."""
    writing = storage.database.writing

    temp_store = storage.database.writer.submit(
        Priority.MAINTENANCE, lambda: writing.pragma("temp_store")
    ).result()

    assert temp_store == 2  # memory


def test_readers_neither_write_nor_checkpoint(storage: Storage) -> None:
    """Only one connection does, whatever a reader is asked to run."""
    reading = storage.database.reading

    pragmas = storage.database.readers.submit(
        lambda: [
            reading.pragma(name)
            for name in ("journal_mode", "query_only", "wal_autocheckpoint")
        ]
    ).result()
    writing = storage.database.readers.submit(
        lambda: reading.execute_sql("DELETE FROM agents")
    )

    assert pragmas == ["wal", 1, 0]
    with pytest.raises(StoreUnavailable, match="readonly database"):
        writing.result()


@pytest.mark.parametrize("second", ["registry.db", "other.db"])
def test_two_stores_work_in_one_process(
    storage: Storage, make_record: MakeRecord, tmp_path: Path, second: str
) -> None:
    """On one file they see each other; on two files they do not."""
    other = create_storage_backend(f"sqlite:///{tmp_path}/{second}")
    storage.agents.add(make_record("first"))
    other.agents.add(make_record("second"))
    storage.database.close()
    shown = [agent.agent_id for agent in other.agents.list_all()]
    other.database.close()

    assert shown == (["first", "second"] if second == "registry.db" else ["second"])


def test_the_lock_is_one_for_all_names_of_a_file(tmp_path: Path) -> None:
    """A symbolic link leads to the lock beside the file itself."""
    (tmp_path / "link.db").symlink_to(tmp_path / "registry.db")
    database = create_storage_backend(f"sqlite:///{tmp_path}/link.db").database

    assert database.lock_path == tmp_path / "registry.db.lock"
    assert database.location == f"{tmp_path}/link.db"


def test_a_store_that_is_collected_ends_its_threads(
    store_url: str, started: Callable[[], set[threading.Thread]]
) -> None:
    """Nobody has to call `close`."""
    create_storage_backend(store_url).agents.list_all()
    threads = started()
    gc.collect()
    for thread in threads:
        thread.join(30)

    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_store_may_be_collected_in_its_own_thread(
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    started: Callable[[], set[threading.Thread]],
    method: str,
) -> None:
    """Where a job holds the last reference, its thread ends all the same."""
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    repo, database = create_storage_backend(store_url, reader_threads=1)
    free = threading.Event()
    database.readers.submit(free.wait)
    database.writer.submit(Priority.MAINTENANCE, free.wait)
    threads = started()

    future = repo.submit(getattr(repo, method), "nobody")
    del repo, database
    free.set()
    for thread in threads:
        thread.join(30)

    assert not future.result(0)
    assert ignored == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("use", ["create_storage_backend()", "kept"])
def test_a_program_that_never_closes_exits_at_once(tmp_path: Path, use: str) -> None:
    """No thread holds it back, and nothing is said on the way out."""
    program = (
        "from store import create_storage_backend\n"
        "kept = create_storage_backend()\n"
        f"{use}.agents.list_all()\n"
    )

    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["agent-registry.db"]
