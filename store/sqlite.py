"""The repository on SQLite."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import ParamSpec, TypeVar

from peewee import SQL, IntegrityError, ModelDelete, ModelUpdate, SqliteDatabase

from store import queries, threads
from store import registration as registering
from store.base import (
    AgentAlreadyExists,
    AgentFilter,
    AgentNotFound,
    AgentRegistryRepository,
)
from store.clock import Clock, utcnow
from store.connections import SqliteRegistryDatabase
from store.leases import Status
from store.models import AgentRecord
from store.registration import Registration
from store.threads import reads, writes
from store.writer import Lane

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: Rows one sweep statement removes at most: the writer is never held for long.
_SWEEP_CHUNK = 500
#: Expiries told one by one in a sweep; of the rest the log gives the number.
_TOLD_ONE_BY_ONE = 100


class SqliteAgentRegistryRepository(AgentRegistryRepository):
    """Agent records in the one table of a SQLite database."""

    def __init__(
        self, database: SqliteRegistryDatabase, *, clock: Clock = utcnow
    ) -> None:
        super().__init__(clock)
        self._database = database

    def submit(
        self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[T]":
        """See `AgentRegistryRepository`; here nothing runs in the caller's thread."""
        return threads.submit(method, *args, **kwargs)

    @writes(Lane.CHANGE)
    def add(self, record: AgentRecord) -> AgentRecord:
        """See `AgentRegistryRepository`."""
        self._insert(record)
        return record

    @writes(Lane.CHANGE)
    def register(self, record: AgentRecord) -> Registration:
        """See `AgentRegistryRepository`."""
        known = self._find(self._database.writing, record.agent_id)
        registration = registering.register(known, record, self._clock())
        if known is None:
            self._insert(registration.record)
        else:
            self._write(queries.replace(registration.record))
        return registration

    @reads
    def get(self, agent_id: str) -> AgentRecord | None:
        """See `AgentRegistryRepository`."""
        return self._find(self._database.reading, agent_id)

    def list_all(
        self,
        include_dead: bool = False,  # noqa: FBT001, FBT002 - fixed by the contract
    ) -> list[AgentRecord]:
        """See `AgentRegistryRepository`."""
        return self.list_page(AgentFilter(include_dead), now=self.now())

    @reads
    def list_page(
        self,
        agents: AgentFilter,
        *,
        now: datetime,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[AgentRecord]:
        """See `AgentRegistryRepository`."""
        query = queries.select(agents, now)
        for key, value in agents.metadata.items():
            query = query.where(_metadata_matches(key, value))
        page = queries.page(query, after, limit)
        return list(page.execute(self._database.reading))

    @reads
    def count_by_status(self, now: datetime) -> dict[Status, int]:
        """See `AgentRegistryRepository`."""
        query = queries.count_by_status(now).dicts()
        (counted,) = query.execute(self._database.reading)
        alive = counted["total"] - counted[Status.DEAD] - counted[Status.LATE]
        return {
            Status.ALIVE: alive,
            Status.LATE: counted[Status.LATE],
            Status.DEAD: counted[Status.DEAD],
        }

    @writes(Lane.HEARTBEAT)
    def update_heartbeat(self, agent_id: str) -> AgentRecord:
        """See `AgentRegistryRepository`."""
        renewed = self._write(
            queries.renew(self._clock()).where(AgentRecord.agent_id == agent_id)
        )
        if not renewed:
            raise AgentNotFound(f"no agent is registered as {agent_id!r}")
        return renewed[0]

    @writes(Lane.CHANGE)
    def delete(self, agent_id: str) -> bool:
        """See `AgentRegistryRepository`."""
        return bool(self._write(queries.delete(agent_id)))

    def delete_expired(self) -> int:
        """See `AgentRegistryRepository`."""
        now = self._clock()
        removed = 0
        while chunk := self._delete_expired_chunk(now):
            _tell(chunk[: max(0, _TOLD_ONE_BY_ONE - removed)], now)
            removed += len(chunk)
        return removed

    @writes(Lane.SWEEP)
    def _delete_expired_chunk(self, now: datetime) -> list[AgentRecord]:
        return self._write(queries.delete_expired_chunk(now, _SWEEP_CHUNK))

    def _find(self, database: SqliteDatabase, agent_id: str) -> AgentRecord | None:
        found = list(queries.find(agent_id).execute(database))
        return found[0] if found else None

    def _insert(self, record: AgentRecord) -> None:
        try:
            AgentRecord.insert(record.__data__).execute(self._database.writing)
        except IntegrityError as error:
            raise AgentAlreadyExists(
                f"an agent is already stored as {record.agent_id!r}"
            ) from error

    def _write(self, query: ModelUpdate | ModelDelete) -> list[AgentRecord]:
        """Execute a writing query to its end, and return the rows it returns."""
        return list(query.execute(self._database.writing))


#: One JSON value as the text that a filter compares; null where it is a container.
_AS_TEXT = (
    "CASE {0}.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
    " WHEN 'null' THEN 'null' ELSE CAST({0}.atom AS TEXT) END"
)
_METADATA_MATCHES = (
    "EXISTS (SELECT 1 FROM json_each(metadata) AS entry WHERE entry.key = ? AND"  # noqa: S608 - constants only
    f" ({_AS_TEXT.format('entry')} = ? OR entry.type = 'array' AND EXISTS"
    " (SELECT 1 FROM json_each(entry.value) AS item"
    f" WHERE {_AS_TEXT.format('item')} = ?)))"
)


def _metadata_matches(key: str, value: str) -> SQL:
    return SQL(_METADATA_MATCHES, (key, value, value))


def _tell(expired: list[AgentRecord], now: datetime) -> None:
    """Say of each agent why it was removed."""
    for record in expired:
        log.info(
            "Agent %s expired: silent for %.1f s, its TTL is %d s",
            record.agent_id,
            (now - record.last_heartbeat).total_seconds(),
            record.ttl_seconds,
            extra={"action": "agent_expired", "agent_id": record.agent_id},
        )
