"""`agent-registryd backup` and `agent-registryd restore`."""

from pathlib import Path

from daemon.config import Config
from daemon.lock import DaemonLock, LockHeld
from store import RegistryDatabase, StoreUnusable, create_storage_backend
from store.clock import to_the_second


def back_up(config: Config, file: Path) -> str:
    """Back up the configured database, served or not; return what was done.

    Raises:
        StoreError: it cannot be read, or `file` cannot be written.
    """
    database = _database(config)
    manifest = database.backup(file)
    return (
        f"{manifest.agents} agents of {database.location} are in {file}, "
        f"as of {to_the_second(manifest.taken_at)}"
    )


def restore(config: Config, file: Path) -> str:
    """Put a backup in the place of the configured database; return what was done.

    Raises:
        StoreError: the backup is not whole, or cannot be put in the place.
    """
    database = _database(config)
    lock = DaemonLock(database.lock_path)
    try:
        lock.acquire()
    except LockHeld as holder:
        raise StoreUnusable(
            f"{database.location} is served by {holder}: stop it first"
        ) from holder
    try:
        restored = database.restore(file)
    finally:
        lock.release()
    aside = restored.put_aside
    return (
        f"{restored.manifest.agents} agents of {file}, "
        f"as of {to_the_second(restored.manifest.taken_at)}, "
        f"are in {database.location}; "
        + (f"what was there is in {aside}" if aside else "nothing was there")
    )


def _database(config: Config) -> RegistryDatabase:
    return create_storage_backend(config.store.url).database
