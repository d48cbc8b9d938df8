"""Agents and their leases, kept in a database.

The store knows no HTTP and no schedule. It works synchronously, in threads of
its own: one that writes and a few that read.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from store.base import (
    AgentFilter,
    AgentPage,
    AgentRegistryRepository,
    AgentView,
    Lease,
    OwnedBeat,
    Renewal,
    Swept,
)
from store.clock import Clock, LeaseTime, utcnow
from store.connections import SqliteRegistryDatabase
from store.database import RegistryDatabase
from store.errors import (
    AgentAlreadyExists,
    AgentNotFound,
    NotOwner,
    QuotaExceeded,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreUnusable,
)
from store.figures import Distribution, Figures
from store.guard import GuardRules, Hold
from store.listening import Listening
from store.models import AgentRecord
from store.quota import Quota
from store.registration import Outcome, Registration
from store.sqlite import SqliteAgentRegistryRepository

__all__ = [
    "AgentAlreadyExists",
    "AgentFilter",
    "AgentNotFound",
    "AgentPage",
    "AgentRecord",
    "AgentRegistryRepository",
    "AgentView",
    "Distribution",
    "Figures",
    "GuardRules",
    "Hold",
    "Lease",
    "LeaseTime",
    "Listening",
    "NotOwner",
    "Outcome",
    "OwnedBeat",
    "Quota",
    "QuotaExceeded",
    "Registration",
    "RegistryDatabase",
    "Renewal",
    "SqliteAgentRegistryRepository",
    "SqliteRegistryDatabase",
    "Storage",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StoreUnusable",
    "Swept",
    "create_storage_backend",
    "database_path",
]

_SQLITE = "sqlite:///"


class Storage(NamedTuple):
    """A repository, and what opens, checkpoints and closes it."""

    agents: AgentRegistryRepository
    database: RegistryDatabase


def create_storage_backend(  # noqa: PLR0913 - each a choice of its own
    url: str = "sqlite:///agent-registry.db",
    *,
    synchronous: Literal["full", "normal"] = "full",
    reader_threads: int = 4,
    wal_limit_bytes: int = 64 * 1024 * 1024,
    reserve_bytes: int = 0,
    clock: Clock = utcnow,
    lease_time: LeaseTime | None = None,
    guard: GuardRules | None = None,
    quota: Quota = Quota(),  # noqa: B008 - immutable
) -> Storage:
    """Return the store that `url` names; nothing is opened before its first use.

    Args:
        url: `sqlite:///relative.db` or `sqlite:////absolute.db`.
        synchronous: "full" keeps what was acknowledged through a power cut,
            "normal" through a crash of the process only.
        reader_threads: how many calls may read at the same time.
        wal_limit_bytes: at this size of SQLite's log, reads wait until it is empty.
        reserve_bytes: room on the disk that is held for heartbeats and removals.
        clock: stamps what happens.
        lease_time: judges leases; without it, `clock` does.
        guard: when to hold agents that expire together; without it, never.
        quota: how many agents there may be.

    Raises:
        StoreUnusable: no store can be made of this URL.
    """
    database = SqliteRegistryDatabase(
        database_path(url),
        synchronous=synchronous,
        reader_threads=reader_threads,
        wal_limit_bytes=wal_limit_bytes,
        reserve_bytes=reserve_bytes,
    )
    agents = SqliteAgentRegistryRepository(
        database, clock=clock, lease_time=lease_time, guard=guard, quota=quota
    )
    return Storage(agents, database)


def database_path(url: str) -> Path:
    """Return the file that `url` names.

    Raises:
        StoreUnusable: it names none. Of the URL only its scheme is told: in those of
            other programs stand passwords.
    """
    path = url.removeprefix(_SQLITE)
    if path == url or path in ("", ":memory:") or "\x00" in path:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)
        named = f"{scheme[0]}..." if scheme else "the URL"
        raise StoreUnusable(
            f"{named} names no store: write sqlite:///relative.db "
            "or sqlite:////absolute/path.db"
        )
    return Path(path)
