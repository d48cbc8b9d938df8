"""Agents and their leases, kept in a database.

The store knows no HTTP and no schedule. It works synchronously, in threads of
its own: one that writes and a few that read.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from store.base import (
    AgentAlreadyExists,
    AgentFilter,
    AgentNotFound,
    AgentPage,
    AgentRegistryRepository,
    Lease,
    RegistryDatabase,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
)
from store.clock import Clock, utcnow
from store.connections import SqliteRegistryDatabase
from store.models import AgentRecord
from store.registration import Outcome, Registration
from store.sqlite import SqliteAgentRegistryRepository

__all__ = [
    "AgentAlreadyExists",
    "AgentFilter",
    "AgentNotFound",
    "AgentPage",
    "AgentRecord",
    "AgentRegistryRepository",
    "Lease",
    "Outcome",
    "Registration",
    "RegistryDatabase",
    "SqliteAgentRegistryRepository",
    "SqliteRegistryDatabase",
    "Storage",
    "StoreError",
    "StoreUnavailable",
    "StoreUnusable",
    "create_storage_backend",
]

_SQLITE = "sqlite:///"


class Storage(NamedTuple):
    """A repository, and what opens, checkpoints and closes it."""

    agents: AgentRegistryRepository
    database: RegistryDatabase


def create_storage_backend(
    url: str = "sqlite:///agent-registry.db",
    *,
    synchronous: Literal["full", "normal"] = "full",
    reader_threads: int = 4,
    wal_limit_bytes: int = 64 * 1024 * 1024,
    clock: Clock = utcnow,
) -> Storage:
    """Return the store that `url` names; nothing is opened before its first use.

    Args:
        url: `sqlite:///relative.db` or `sqlite:////absolute.db`.
        synchronous: "full" keeps what was acknowledged through a power cut,
            "normal" through a crash of the process only.
        reader_threads: how many calls may read at the same time.
        wal_limit_bytes: at this size of SQLite's log, reads wait until it is empty.
        clock: stamps and judges every lease.

    Raises:
        StoreUnusable: no store can be made of this URL.
    """
    path = url.removeprefix(_SQLITE)
    if path == url or path in ("", ":memory:") or "\x00" in path:
        raise StoreUnusable(
            f"{url!r} names no store: write sqlite:///relative.db "
            "or sqlite:////absolute/path.db"
        )
    database = SqliteRegistryDatabase(
        Path(path),
        synchronous=synchronous,
        reader_threads=reader_threads,
        wal_limit_bytes=wal_limit_bytes,
    )
    return Storage(SqliteAgentRegistryRepository(database, clock=clock), database)
