"""Copies of the database, taken while it is written, and put back.

A backup is one file that says in a table of its own what it holds; it has been
looked at before it got its name. Copied by hand, a database may lack what only its
log held, and looks whole all the same: so only a backup with its manifest is put
back.
"""

import glob
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from store import failpoints, schema, soundness
from store.clock import FILE_STAMP, utcnow
from store.database import Manifest, Restored
from store.errors import StoreUnavailable, StoreUnusable
from store.models import from_micros, to_micros

#: Pages copied at a time, 1 MB, and the pause after them.
_STEP_PAGES = 512
_STEP_PAUSE_SECONDS = 0.005

#: What SQLite keeps beside a database that holds some of what is committed, or of what
#: is to be undone.
_LOGS = ("-wal", "-journal")

_COUNT = "SELECT count(*) FROM agents"
_MAKE_MANIFEST = """
    CREATE TABLE manifest (taken_at INTEGER, agents INTEGER, schema_version INTEGER)
"""
_WRITE_MANIFEST = "INSERT INTO manifest VALUES (?, ?, ?)"
_READ_MANIFEST = "SELECT taken_at, agents, schema_version FROM manifest"


def backup(
    database: Path, target: Path, keep_on: Callable[[], bool] = lambda: True
) -> Manifest:
    """Copy `database` to `target`, which appears whole or not at all.

    Whatever was committed before the call is in it. The copy is taken from one
    snapshot, in small steps: writers go on, and only the log grows meanwhile.

    Raises:
        StoreUnusable: `database` is none of ours, or damaged; or `target` is a
            database that is served, or anything else but an older backup.
        StoreUnavailable: it cannot be read, or `target` not be written, now; or
            `keep_on()` was false between two steps.
    """
    schema.check(database)
    if not database.exists():
        raise StoreUnusable(f"{database} does not exist")
    _refuse_others(target, database)
    partial = Path(f"{target}.partial")
    with _undone(partial), _told(f"{database} was not backed up to {target}"):
        partial.unlink(missing_ok=True)
        manifest = _copy(database, partial, keep_on)
        _require_whole(partial)
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    return manifest


def restore(source: Path, database: Path) -> Restored:
    """Put the backup `source` in the place of `database`, which is put aside.

    Call it with the daemon's lock held. Agents get a full TTL at the next start:
    the backup carries until when its registry listened.

    Raises:
        StoreUnusable: `source` is no whole backup of ours.
        StoreUnavailable: a file cannot be read or written now.
    """
    manifest = verify(source)
    fresh = schema.restoring(database)
    partial = Path(f"{fresh}.partial")
    with _told(f"{source} was not restored to {database}"):
        place = _place_aside(database, cut_short=fresh.exists())
        with _undone(partial):
            partial.unlink(missing_ok=True)
            _copy_file(source, partial)
            partial.replace(fresh)
        # From here on `schema.check` refuses to serve until this is done again:
        # at no moment may an empty registry be made in the place.
        _sync(database.parent)
        aside = _put_aside(database, place)
        fresh.replace(database)
        _sync(database.parent)
    return Restored(manifest, aside)


def verify(source: Path) -> Manifest:
    """Return the manifest of a backup that is whole.

    Raises:
        StoreUnusable: it is not, or not ours, or of a newer program.
    """
    if not source.exists():
        raise StoreUnusable(f"{source} does not exist")
    schema.check(source)
    _require_whole(source)
    try:
        with closing(_connect(source, "ro")) as copy:
            taken_at, agents, version = copy.execute(_READ_MANIFEST).fetchone()
            (found,) = copy.execute(_COUNT).fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise StoreUnusable(
            f"{source} has no manifest: it was not made by agent-registryd backup, "
            "and may lack what was in the -wal beside it"
        ) from error
    if found != agents:
        raise StoreUnusable(
            f"{source} holds {found} agents, and its manifest says {agents}"
        )
    return Manifest(from_micros(taken_at), agents, version)


def _copy(database: Path, partial: Path, keep_on: Callable[[], bool]) -> Manifest:
    def pause(*_progress: int) -> None:
        failpoints.reach("mid_backup")
        if not keep_on():
            raise StoreUnavailable("the backup was ended")
        # `sleep` of Connection.backup() is for a source that is locked.
        time.sleep(_STEP_PAUSE_SECONDS)

    with (
        closing(_connect(database, "rw")) as live,
        closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        # Only the daemon's writer may checkpoint.
        live.execute("PRAGMA wal_autocheckpoint = 0")
        live.execute("PRAGMA query_only = 1")
        # Held to the end: a copy whose source changes between two steps would
        # begin anew, and never end.
        live.execute("BEGIN")
        (agents,) = live.execute(_COUNT).fetchone()
        (version,) = live.execute("PRAGMA user_version").fetchone()
        manifest = Manifest(utcnow(), agents, version)
        live.backup(copy, pages=_STEP_PAGES, progress=pause)
        live.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode = delete")  # one file, without a log
        # A backup that was put in the place by hand has one already.
        copy.execute("DROP TABLE IF EXISTS manifest")
        copy.execute(_MAKE_MANIFEST)
        values = (to_micros(manifest.taken_at), agents, version)
        copy.execute(_WRITE_MANIFEST, values)
    return manifest


def _refuse_others(target: Path, database: Path) -> None:
    """Refuse to put a backup in the place of anything but an older one.

    Of a database that is served, what is committed from now on would be lost too.
    """
    if not target.exists():
        return
    if database.samefile(target):
        raise StoreUnusable(f"{target} is the database itself")
    if schema.beside(target, "-wal").exists():
        raise StoreUnusable(f"{target} is a database that is in use: it has a log")
    if not _is_backup(target):
        raise StoreUnusable(f"{target} is no backup, and is not replaced")


def _is_backup(path: Path) -> bool:
    """Tell whether a file is empty or a backup, looking no further."""
    if not path.is_file():
        return False
    try:
        schema.check(path)
        with closing(_connect(path, "ro&immutable=1")) as kept:
            kept.execute(_READ_MANIFEST)
    except (StoreUnusable, sqlite3.Error):
        return not path.stat().st_size
    return True


def _copy_file(source: Path, fresh: Path) -> None:
    """Copy a backup, without its manifest."""
    with (
        closing(_connect(source, "ro")) as kept,
        closing(sqlite3.connect(fresh, isolation_level=None)) as copy,
    ):
        kept.backup(copy)
        copy.execute("DROP TABLE manifest")
    fresh.chmod(0o600)
    _sync(fresh)


def _place_aside(database: Path, *, cut_short: bool) -> Path:
    """Name the place for what stands in the way of a backup.

    It is that of a log without its database, where a restore was cut short between
    the two: apart, what only the log has would be lost.
    """
    name = glob.escape(database.name)
    for suffix in _LOGS if cut_short else ():
        for log in database.parent.glob(f"{name}.before-*{suffix}"):
            place = Path(str(log).removesuffix(suffix))
            if not place.exists():
                return place
    return Path(f"{database}.before-{utcnow():{FILE_STAMP}}")


def _put_aside(database: Path, place: Path) -> Path | None:
    """Rename the database and its logs, so that they still belong together.

    The journal, too, which a database has until its first start is done: whatever is
    put in the place would be rolled back by it.
    """
    for suffix in _LOGS:
        log = Path(f"{database}{suffix}")
        if log.exists():
            log.replace(f"{place}{suffix}")
    Path(f"{database}-shm").unlink(missing_ok=True)  # made anew from the log
    if not database.exists():
        return None
    database.replace(place)
    return place


def _require_whole(path: Path) -> None:
    found = soundness.quick_check(path)
    if found is not None:
        raise StoreUnusable(f"{path} is damaged: {found}")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _undone(path: Path) -> Iterator[None]:
    """Remove what was made at `path`, unless all goes well."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _told(sentence: str) -> Iterator[None]:
    """Tell what files and databases raise as the store does."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"{sentence}: {error}") from error
