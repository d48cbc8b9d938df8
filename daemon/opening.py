"""Opening the store: for one daemon, from a sound file, with lease time as it stood."""

import logging

from daemon.cleanups import CleanUps
from daemon.config import Config
from daemon.exits import StartupFailed
from daemon.lease_clock import LeaseClock
from daemon.lock import DaemonLock, LockHeld
from daemon.security import quota_of
from store import (
    RegistryDatabase,
    Storage,
    StoreUnavailable,
    StoreUnusable,
    create_storage_backend,
)

log = logging.getLogger(__name__)


def make_storage(config: Config, lease_clock: LeaseClock) -> Storage:
    """Return the configured store; nothing is opened."""
    return create_storage_backend(
        config.store.url,
        synchronous=config.store.synchronous,
        reader_threads=config.store.reader_threads,
        wal_limit_bytes=config.store.wal_limit_bytes,
        reserve_bytes=config.store.reserve_bytes,
        clock=lease_clock.wall,
        lease_time=lease_clock,
        guard=config.guard.rules(),
        quota=quota_of(config),
    )


def open_store(storage: Storage, lease_clock: LeaseClock, cleanups: CleanUps) -> None:
    """Open the store, as its one daemon, and begin lease time; push the undoing.

    Raises:
        StartupFailed: another daemon has it, or it cannot be used, or not now.
    """
    database = storage.database
    try:
        database.check()
        lock = DaemonLock(database.lock_path)
        lock.acquire()
        cleanups.push("lock", lock.release)
        database.open()
        lock.sign()
        cleanups.push("store", database.close)
        # Before anyone may ask who is alive: what ran out while nobody listened has
        # not run out.
        lease_clock.begin(storage.agents.listening())
    except LockHeld as holder:
        raise StartupFailed(
            f"{database.location} is served by {holder} (store.url)", lasting=True
        ) from holder
    except (StoreUnusable, OSError) as error:
        raise StartupFailed(f"{error} (store.url)", lasting=True) from error
    except StoreUnavailable as error:
        raise StartupFailed(f"{error} (store.url)", lasting=False) from error
    cleanups.push("checkpoint", lambda: _checkpoint(database))


def _checkpoint(database: RegistryDatabase) -> None:
    try:
        database.checkpoint()
    except StoreUnavailable as error:
        # Nothing is lost: the next start finds it in the log.
        log.warning(
            "Not checkpointed: %s", error, extra={"action": "checkpoint_failed"}
        )
