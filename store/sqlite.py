"""The repository on SQLite."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from peewee import IntegrityError, SqliteDatabase

from store import listing, queries, threads
from store import registration as registering
from store.base import (
    AgentAlreadyExists,
    AgentFilter,
    AgentNotFound,
    AgentPage,
    AgentRegistryRepository,
    Lease,
)
from store.clock import Clock, utcnow
from store.connections import SqliteRegistryDatabase
from store.leases import Status
from store.models import FIELDS, AgentRecord, from_micros, from_row, to_micros, to_row
from store.queries import execute
from store.registration import Registration
from store.sweep import TOLD, Chunk, ChunkSize, tell
from store.threads import reads, writes
from store.writer import Lane

P = ParamSpec("P")
T = TypeVar("T")

#: Rows of which a sweep takes note at a time, before it removes them in chunks.
_DUE_AT_ONCE = 100_000

# `leases.renewed` and `leases.deadline`.
_RENEW = """
    UPDATE agents
    SET last_heartbeat = max(last_heartbeat, :now),
        expires_at = max(last_heartbeat, :now) + ttl_seconds * 1000000
    WHERE agent_id IN (SELECT value FROM json_each(:ids))
"""
_REGISTERED = f"""
    SELECT {", ".join(FIELDS)}
    FROM agents WHERE agent_id IN (SELECT value FROM json_each(:ids))
"""  # noqa: S608 - constants only
_RENEW_RETURNING = f"{_RENEW} RETURNING agent_id, expires_at, ttl_seconds"
_KNOWN = """
    SELECT json_group_array(agent_id)
    FROM agents WHERE agent_id IN (SELECT value FROM json_each(:ids))
"""
_DUE = """
    SELECT json_group_array(due) FROM (
        SELECT rowid AS due FROM agents WHERE expires_at <= :now LIMIT :limit)
"""
_DELETE = "DELETE FROM agents WHERE agent_id = :id"
# The deadline is checked again: since the rows were noted, a beat may have been
# committed.
_DELETE_DUE = """
    DELETE FROM agents
    WHERE rowid IN (SELECT value FROM json_each(:rows)) AND expires_at <= :now
    RETURNING agent_id, last_heartbeat, ttl_seconds
"""


class SqliteAgentRegistryRepository(AgentRegistryRepository):
    """Agent records in the one table of a SQLite database."""

    def __init__(
        self, database: SqliteRegistryDatabase, *, clock: Clock = utcnow
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._one = queries.text(queries.one(), database.reading)
        self._insert = queries.text(queries.insert(), database.writing)
        self._upsert = queries.text(queries.upsert(), database.writing)

    def submit(
        self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[T]":
        """See `AgentRegistryRepository`; here nothing runs in the caller's thread."""
        return threads.submit(method, *args, **kwargs)

    @writes(Lane.CHANGE)
    def add(self, record: AgentRecord) -> AgentRecord:
        """See `AgentRegistryRepository`."""
        try:
            self._write(self._insert, to_row(record))
        except IntegrityError as error:
            raise AgentAlreadyExists(
                f"an agent is already stored as {record.agent_id!r}"
            ) from error
        return record

    @writes(Lane.CHANGE)
    def register(self, record: AgentRecord) -> Registration:
        """See `AgentRegistryRepository`."""
        (registration,) = self._register([record])
        return registration

    @writes(Lane.CHANGE)
    def register_all(self, records: Sequence[AgentRecord]) -> list[Registration]:
        """See `AgentRegistryRepository`."""
        return self._register(records)

    @reads
    def get(self, agent_id: str) -> AgentRecord | None:
        """See `AgentRegistryRepository`."""
        return self._find(self._database.reading, agent_id)

    @reads
    def list_all(
        self,
        include_dead: bool = False,  # noqa: FBT001, FBT002 - fixed by the contract
    ) -> list[AgentRecord]:
        """See `AgentRegistryRepository`."""
        query = queries.everyone()
        if not include_dead:
            query = query.where(~queries.expired(self._clock()))
        return list(query.execute(self._database.reading))

    @reads
    def list_page(
        self,
        agents: AgentFilter,
        *,
        now: datetime,
        after: str | None = None,
        limit: int | None = None,
    ) -> AgentPage:
        """See `AgentRegistryRepository`."""
        database = self._database.reading
        with database.atomic():  # one snapshot for both questions
            page = listing.page(agents, now, after, limit)
            objects, count, last = execute(database, *page).fetchone()
            body = b"[%b]" % (objects or b"")
            if limit is None or count < limit:
                return AgentPage(body, None)
            more = execute(database, *listing.follows(agents, now, last)).fetchone()
        return AgentPage(body, last if more else None)

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
        self._renew([agent_id])
        renewed = self._find(self._database.writing, agent_id)
        if renewed is None:
            raise AgentNotFound(f"no agent is registered as {agent_id!r}")
        return renewed

    @writes(Lane.HEARTBEAT)
    def update_heartbeats(self, agent_ids: Sequence[str]) -> dict[str, Lease]:
        """See `AgentRegistryRepository`."""
        return self._renew(agent_ids)

    @writes(Lane.HEARTBEAT)
    def renew_all(self, agent_ids: Sequence[str]) -> list[str]:
        """See `AgentRegistryRepository`."""
        different = list(dict.fromkeys(agent_ids))
        ids = json.dumps(different)
        renewing = self._write(_RENEW, {"now": to_micros(self._clock()), "ids": ids})
        if renewing.rowcount == len(different):
            return []
        (known,) = self._write(_KNOWN, {"ids": ids}).fetchone()
        found = set(json.loads(known))
        return [agent_id for agent_id in different if agent_id not in found]

    @writes(Lane.CHANGE)
    def delete(self, agent_id: str) -> bool:
        """See `AgentRegistryRepository`."""
        return bool(self._write(_DELETE, {"id": agent_id}).rowcount)

    def delete_expired(self) -> int:
        """See `AgentRegistryRepository`."""
        now = self._clock()
        removed = 0
        size = ChunkSize()
        while due := self._due(now):
            for rows in size.cut(due):
                chunk = self._delete_due(rows, now)
                size.learn(len(rows), chunk.seconds)
                tell(chunk, now, told=removed)
                removed += chunk.removed
        return removed

    @reads
    def _due(self, now: datetime) -> list[int]:
        """Note rows that are dead, in the order they are stored in."""
        values = {"now": to_micros(now), "limit": _DUE_AT_ONCE}
        (rows,) = execute(self._database.reading, _DUE, values).fetchone()
        return sorted(json.loads(rows))

    @writes(Lane.SWEEP)
    def _delete_due(self, rows: list[int], now: datetime) -> Chunk:
        started = time.perf_counter()
        values = {"rows": json.dumps(rows), "now": to_micros(now)}
        deleting = self._write(_DELETE_DUE, values)
        expired = deleting.fetchmany(TOLD)
        deleting.close()
        (removed,) = self._write("SELECT changes()").fetchone()
        return Chunk(removed, expired, time.perf_counter() - started)

    def _register(self, records: Sequence[AgentRecord]) -> list[Registration]:
        ids = json.dumps([record.agent_id for record in records])
        rows = self._write(_REGISTERED, {"ids": ids}).fetchall()
        standing = {record.agent_id: record for record in map(from_row, rows)}
        registrations = []
        now = self._clock()
        for wanted in records:
            known = standing.get(wanted.agent_id)
            registration = registering.register(known, wanted, now)
            standing[wanted.agent_id] = registration.record
            registrations.append(registration)
        for record in standing.values():
            self._write(self._upsert, to_row(record))
        return registrations

    def _renew(self, agent_ids: Sequence[str]) -> dict[str, Lease]:
        values = {"now": to_micros(self._clock()), "ids": json.dumps(agent_ids)}
        rows = self._write(_RENEW_RETURNING, values).fetchall()
        instants: dict[int, datetime] = {}  # a batch has few: one for each TTL
        renewed = {}
        for agent_id, micros, ttl_seconds in rows:
            if micros not in instants:
                instants[micros] = from_micros(micros)
            renewed[agent_id] = Lease(instants[micros], ttl_seconds)
        return renewed

    def _find(self, database: SqliteDatabase, agent_id: str) -> AgentRecord | None:
        row = execute(database, self._one, (agent_id,)).fetchone()
        return from_row(row) if row else None

    def _write(self, sql: str, values: Any = ()) -> Any:  # noqa: ANN401 - SQLite's cursor
        return execute(self._database.writing, sql, values)
