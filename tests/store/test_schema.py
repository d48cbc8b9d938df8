"""Whose file it is."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store import (
    AgentFilter,
    AgentRecord,
    Storage,
    StoreUnusable,
    create_storage_backend,
)
from store.listing import Judged, page
from store.schema import APPLICATION_ID, SCHEMA_VERSION

NEWER = SCHEMA_VERSION + 1
PAGE_BYTES = 2048
#: Leaves pages of a transaction in the database, and a journal to undo them.
DIE_AMID_A_COMMIT = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 5")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE agents SET rearms = rearms + 1")
os._exit(0)
"""


def _text(path: Path) -> None:
    path.write_text("Dear diary, this is no database at all. " * 9)


def _short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00")


def _other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE agents (agent_id TEXT PRIMARY KEY)")


def _other_application_id(path: Path) -> None:
    _other_program(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id = 42")


def _newer(path: Path) -> None:
    database = create_storage_backend(f"sqlite:///{path}").database
    database.open()
    database.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {NEWER}")


def _torn(path: Path) -> None:
    """Keep only the header of a registry's file, which has not even one page."""
    _newer(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    path.write_bytes(path.read_bytes()[:100])


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a database file that does not exist yet."""
    return tmp_path / "registry.db"


@pytest.fixture
def storage(path: Path) -> Storage:
    """Make a store on that file; nothing is opened yet."""
    return create_storage_backend(f"sqlite:///{path}")


def _everything(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return all there is in a folder: names, modification times and bytes."""
    return {
        path.name: (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in (folder, *folder.iterdir())
    }


@pytest.mark.parametrize("call", ["check", "open"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_text, "is not a SQLite database"),
        (_short, "is not a SQLite database"),
        (_other_program, "is the database of another program"),
        (_other_application_id, "is the database of another program"),
        (_newer, f"has schema {NEWER}, of a newer agent-registry"),
        (_folder, "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_not_touched(
    storage: Storage,
    path: Path,
    make: Callable[[Path], None],
    reason: str,
    call: str,
) -> None:
    """The message names the file and the cause; no byte and no time changes."""
    make(path)
    before = _everything(path.parent)

    with pytest.raises(StoreUnusable) as refused:
        getattr(storage.database, call)()

    assert str(refused.value).startswith(f"{path} {reason}")
    assert _everything(path.parent) == before


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere/registry.db", "the folder nowhere does not exist"),
        (f"{'n' * 300}/registry.db", f"{'n' * 300}/registry.db cannot be read: "),
        (f"{'n' * 300}.db", f"{'n' * 300}.db cannot be read: "),
        ("/proc/registry.db", "/proc/registry.db cannot be opened: "),
    ],
)
def test_a_place_where_no_file_can_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    """Opening says which, and makes no folder."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StoreUnusable) as refused:
        create_storage_backend(f"sqlite:///{path}").database.open()

    assert str(refused.value).startswith(reason)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_file_of_ours_is_refused(storage: Storage, path: Path) -> None:
    """What SQLite finds out as it looks is told as the cause."""
    _torn(path)

    with pytest.raises(
        StoreUnusable, match=r"registry\.db is damaged: .* restore FILE"
    ):
        storage.database.open()


def test_a_database_cut_short_amid_a_checkpoint_is_ours(
    storage: Storage, path: Path, make_record: Callable[..., AgentRecord]
) -> None:
    """The first page is copied first, and tells of pages that only the log has.

    Whoever was killed then was refused as damaged, and nothing was.
    """
    first = create_storage_backend(f"sqlite:///{path}")
    first.database.open()
    first.database.checkpoint()
    before = path.read_bytes()
    first.agents.register_all([make_record(f"agent-{n}") for n in range(100)])
    log = Path(f"{path}-wal").read_bytes()
    first.database.close()
    after = path.read_bytes()
    assert len(after) > len(before)
    path.write_bytes(after[:PAGE_BYTES] + before[PAGE_BYTES:])
    Path(f"{path}-wal").write_bytes(log)

    storage.database.check()

    assert len(storage.agents.list_all(include_dead=True)) == 100
    storage.database.close()


@pytest.mark.parametrize(("signed", "refused"), [("", False), ("by pid 7", True)])
def test_an_empty_file_is_an_emptied_one_beside_a_signed_lock_only(
    storage: Storage, path: Path, signed: str, *, refused: bool
) -> None:
    """SQLite makes the file, and the journal later: a first start may die between."""
    path.touch()
    Path(f"{path}.lock").write_text(signed)

    with pytest.raises(StoreUnusable) if refused else nullcontext():
        storage.database.check()
        assert storage.agents.list_all() == []
        storage.database.close()


@pytest.mark.parametrize("name", ["disk/registry.db", "link.db"])
def test_a_first_transaction_that_was_cut_short_is_undone(
    tmp_path: Path, name: str, make_record: Callable[..., AgentRecord]
) -> None:
    """Its journal is beside the database, also where a link leads there."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk" / "registry.db"
    (tmp_path / "link.db").symlink_to(path)
    place = tmp_path / name
    old = create_storage_backend(f"sqlite:///{tmp_path}/old.db")
    old.agents.register_all([make_record(f"agent-{n}") for n in range(500)])
    old.database.backup(tmp_path / "backup.db")
    old.database.close()
    new = create_storage_backend(f"sqlite:///{place}")
    new.database.restore(tmp_path / "backup.db")
    subprocess.run([sys.executable, "-c", DIE_AMID_A_COMMIT, place], check=True)
    assert Path(f"{path}-journal").stat().st_size

    new.database.check()

    rearms = {agent.rearms for agent in new.agents.list_all(include_dead=True)}
    new.database.close()
    assert rearms == {0}


def test_a_link_to_a_database_that_cannot_be_made_is_left_alone(tmp_path: Path) -> None:
    """The next start would make the database in the link's own place."""
    link = tmp_path / "link.db"
    link.symlink_to("/proc/registry.db")

    with pytest.raises(StoreUnusable, match="cannot be opened"):
        create_storage_backend(f"sqlite:///{link}").database.open()

    assert link.is_symlink()


def test_a_store_that_was_refused_opens_once_the_cause_is_gone(
    storage: Storage, path: Path
) -> None:
    """A failed opening leaves nothing behind."""
    _text(path)
    with pytest.raises(StoreUnusable):
        storage.agents.list_all()
    path.unlink()

    assert storage.agents.list_all() == []
    storage.database.close()


def test_a_newer_schema_is_refused_where_only_the_log_shows_it(
    storage: Storage, path: Path
) -> None:
    """The header of the file may be older than what was committed last."""
    first = create_storage_backend(f"sqlite:///{path}")
    first.database.open()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {NEWER}")
        storage.database.check()

        with pytest.raises(StoreUnusable, match=f"has schema {NEWER}, of a newer"):
            storage.database.open()
    first.database.close()


def test_checking_makes_nothing(storage: Storage, path: Path) -> None:
    """Where no file is yet, one may be made; looking does not make it."""
    storage.database.check()

    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [None, b""])
def test_a_new_file_is_marked_as_ours(
    storage: Storage, path: Path, content: bytes | None
) -> None:
    """From the first commit on, also where an empty file was waiting."""
    if content is not None:
        path.write_bytes(content)
    storage.database.open()
    storage.database.close()

    with closing(sqlite3.connect(path)) as database:
        marks = [
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode")
        ]
    assert marks == [APPLICATION_ID, SCHEMA_VERSION, "wal"]
    storage.database.check()


def test_the_questions_asked_most_are_answered_by_an_index(
    storage: Storage, path: Path
) -> None:
    """A sweep reads what it removes, a name what it lists, an id one row."""
    storage.database.open()
    storage.database.close()
    questions = {
        "expires_at <= 0 ORDER BY expires_at": "expires_at<?",
        "last_heartbeat < 0": "last_heartbeat<?",
        "agent_name = 'x'": "agent_name=?",
        "agent_id = 'x'": "agent_id=?",
    }

    with closing(sqlite3.connect(path)) as database:
        for question, index in questions.items():
            select = f"EXPLAIN QUERY PLAN SELECT * FROM agents WHERE {question}"  # noqa: S608
            plan = " ".join(row[3] for row in database.execute(select))

            assert plan.startswith("SEARCH agents USING INDEX")
            assert index in plan
            assert "TEMP B-TREE" not in plan


def test_the_ids_of_a_name_are_told_by_its_index(storage: Storage, path: Path) -> None:
    """They are sorted for a page, of which only so many rows are read."""
    storage.database.open()
    storage.database.close()
    agents, now = AgentFilter(name="x"), datetime(2026, 3, 1, tzinfo=UTC)
    sql, values = page(agents, Judged(now, now), after="a", limit=100)

    with closing(sqlite3.connect(path)) as database:
        plan = database.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        steps = [row[3] for row in plan]

    named = "SEARCH agents USING COVERING INDEX agents_agent_name"
    assert any(step.startswith(named) for step in steps)
    assert "SEARCH agents USING INTEGER PRIMARY KEY (rowid=?)" in steps
