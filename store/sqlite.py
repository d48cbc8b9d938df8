"""The repository on SQLite."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from peewee import IntegrityError, SqliteDatabase

from store import guarding, listening, listing, queries, threads
from store import registration as registering
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
from store.errors import (
    AgentAlreadyExists,
    AgentNotFound,
    NotOwner,
    QuotaExceeded,
    StoreError,
)
from store.figures import Figures
from store.guard import GuardRules, Hold, released
from store.heartbeats import Heartbeats
from store.leases import Status, status
from store.listening import Listening
from store.models import AgentRecord, from_row, to_row
from store.ownership import TOUCHES, may_touch
from store.queries import (
    COUNT_BY_STATUS,
    EVERYONE,
    LISTED,
    execute,
    execute_many,
)
from store.quota import Admissions, Quota
from store.rearming import Rearming
from store.registration import Outcome, Registration
from store.snapshots import Snapshots
from store.sweep import Sweep
from store.threads import reads, reads_long, writes
from store.writer import Priority

P = ParamSpec("P")
T = TypeVar("T")

_REGISTERED = f"{EVERYONE} WHERE agent_id IN (SELECT value FROM json_each(:ids))"  # noqa: S608
_DATABASE_BYTES = """
    SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()
"""
_DELETE = f"DELETE FROM agents WHERE agent_id = :id AND {TOUCHES}"  # noqa: S608
_IS_THERE = "SELECT 1 FROM agents WHERE agent_id = :id"


class SqliteAgentRegistryRepository(AgentRegistryRepository):
    """Agent records in the one table of a SQLite database."""

    def __init__(
        self,
        database: SqliteRegistryDatabase,
        *,
        clock: Clock = utcnow,
        lease_time: LeaseTime | None = None,
        guard: GuardRules | None = None,
        quota: Quota = Quota(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(clock, lease_time=lease_time, guard=guard)
        self._database = database
        self._admissions = Admissions(database.writing, quota)
        self._snapshots = Snapshots(database.reading, self._times)
        self._sweep = Sweep(database, self._snapshots)
        self._heartbeats = Heartbeats(database, self._times)
        self._rearming = Rearming(database, clock)
        self._one = queries.text(queries.one(), database.reading)
        self._insert = queries.text(queries.insert(), database.writing)
        self._upsert = queries.text(queries.upsert(), database.writing)

    def submit(
        self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[T]":
        """See `AgentRegistryRepository`; here nothing runs in the caller's thread."""
        return threads.submit(method, *args, **kwargs)

    def write_lag_seconds(self) -> float:
        """See `AgentRegistryRepository`."""
        return self._database.write_lag_seconds()

    def figures(self) -> Figures:
        """See `AgentRegistryRepository`."""
        return self._database.figures()

    @writes(Priority.CHANGE)
    def add(self, record: AgentRecord) -> AgentRecord:
        """See `AgentRegistryRepository`."""
        try:
            self._write(self._insert, to_row(record))
        except IntegrityError as error:
            raise AgentAlreadyExists(
                f"an agent is already stored as {record.agent_id!r}"
            ) from error
        self._claim_room()
        return record

    @writes(Priority.CHANGE)
    def register(self, record: AgentRecord) -> Registration:
        """See `AgentRegistryRepository`."""
        (registration,) = self._register([record])
        if isinstance(registration, StoreError):
            raise registration
        return registration

    @writes(Priority.CHANGE)
    def register_all(
        self, records: Sequence[AgentRecord]
    ) -> list[Registration | StoreError]:
        """See `AgentRegistryRepository`."""
        return self._register(records)

    @reads
    def get(self, agent_id: str) -> AgentRecord | None:
        """See `AgentRegistryRepository`."""
        return self._find(self._database.reading, agent_id)

    @reads
    def view(self, agent_id: str) -> AgentView | None:
        """See `AgentRegistryRepository`."""

        def look(now: datetime) -> AgentView | None:
            found = self._find(self._database.reading, agent_id)
            if found is None:
                return None
            judged = status(
                last_heartbeat=found.last_heartbeat,
                ttl_seconds=found.ttl_seconds,
                expires_at=found.expires_at,
                now=now,
                held=found.has_beaten and found.expires_at > self._held_after(now),
            )
            return AgentView(found, judged, now)

        return self._snapshots.judged(look)

    @reads_long
    def list_all(
        self,
        include_dead: bool = False,  # noqa: FBT001, FBT002 - fixed by the contract
    ) -> list[AgentRecord]:
        """See `AgentRegistryRepository`."""

        def listed(now: datetime) -> list[AgentRecord]:
            which = "TRUE" if include_dead else LISTED
            sql = f"{EVERYONE} WHERE {which} ORDER BY agent_id"
            values = self._judging(now).bound()
            return [*map(from_row, execute(self._database.reading, sql, values))]

        return self._snapshots.judged(listed)

    @reads_long
    def list_page(
        self,
        agents: AgentFilter,
        *,
        now: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> AgentPage:
        """See `AgentRegistryRepository`."""
        database = self._database.reading

        def page(now: datetime) -> AgentPage:
            at = self._judging(now)
            walking = limit is not None and self._is_common(agents.name)
            statement = listing.page(agents, at, after, limit, walking=walking)
            objects, count, last = execute(database, *statement).fetchone()
            body = b"[%b]" % (objects or b"")
            if limit is None or count < limit:
                return AgentPage(body, None)
            follows = listing.follows(agents, at, last, walking=walking)
            more = execute(database, *follows).fetchone()
            return AgentPage(body, last if more else None)

        return self._snapshots.judged(page, now)

    @reads
    def count_by_status(self, now: datetime | None = None) -> dict[Status, int]:
        """See `AgentRegistryRepository`."""

        def count(now: datetime) -> dict[Status, int]:
            values = self._judging(now).bound()
            counting = execute(self._database.reading, COUNT_BY_STATUS, values)
            total, dead, held, late = counting.fetchone()
            return {
                Status.ALIVE: total - dead - late,
                Status.LATE: late,
                Status.HELD: held,
                Status.DEAD: dead - held,
            }

        return self._snapshots.judged(count, now)

    @writes(Priority.HEARTBEAT)
    def update_heartbeat(self, agent_id: str) -> AgentRecord:
        """See `AgentRegistryRepository`."""
        self._heartbeats.renew([agent_id])
        renewed = self._find(self._database.writing, agent_id)
        if renewed is None:
            raise AgentNotFound(f"no agent is registered as {agent_id!r}")
        return renewed

    @writes(Priority.HEARTBEAT)
    def update_heartbeats(self, agent_ids: Sequence[str]) -> dict[str, Lease]:
        """See `AgentRegistryRepository`."""
        return self._heartbeats.renew(list(agent_ids))

    @writes(Priority.HEARTBEAT)
    def update_heartbeats_of(self, beats: Sequence[OwnedBeat]) -> dict[str, Renewal]:
        """See `AgentRegistryRepository`."""
        return self._heartbeats.renew_by_owner(beats)

    @writes(Priority.BULK)
    def renew_all(self, agent_ids: Sequence[str], owner: str = "") -> list[str]:
        """See `AgentRegistryRepository`."""
        return self._heartbeats.renew_all(agent_ids, owner)

    @writes(Priority.CHANGE)
    def delete(self, agent_id: str, owner: str = "") -> bool:
        """See `AgentRegistryRepository`."""
        if self._write(_DELETE, {"id": agent_id, "owner": owner}).rowcount:
            return True
        if owner and self._write(_IS_THERE, {"id": agent_id}).fetchone():
            raise NotOwner(f"{agent_id!r} belongs to somebody else")
        return False

    def delete_expired(self) -> int:
        """See `AgentRegistryRepository`."""
        return self._sweep.remove_all()

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """See `AgentRegistryRepository`."""
        if self.guard is None:
            return Swept(self._sweep.remove_all(keep_on), whole=keep_on())
        return self._sweep.run(self.guard, keep_on)

    @reads
    def hold(self) -> Hold | None:
        """See `AgentRegistryRepository`."""
        if self.guard is None:
            return None
        rules = self.guard
        return self._snapshots.judged(
            lambda now: guarding.judge(self._database.reading, now, rules).hold
        )

    @writes(Priority.CHANGE)
    def release_hold(self) -> int:
        """See `AgentRegistryRepository`."""
        now = self.lease_now()
        database = self._database.writing
        if self.guard is None:
            return 0
        judged = guarding.judge(database, now, self.guard)
        if judged.hold is None:
            return 0
        guarding.keep(database, released(guarding.due(database, now), now))
        return guarding.due(database, now, after=judged.held_after(now))

    @reads
    def listening(self) -> Listening | None:
        """See `AgentRegistryRepository`."""
        return listening.kept(self._database.reading, self._times.now())

    @writes(Priority.CHANGE)
    def record_listening(self, known: Listening) -> None:
        """See `AgentRegistryRepository`."""
        listening.keep(self._database.writing, known)

    def move_lease_time(
        self,
        stopped_at: datetime,
        to: datetime,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        """See `AgentRegistryRepository`."""
        with self._snapshots.still:
            self._rearming.move_lease_time(stopped_at, to)
            moved()

    def rearm(
        self,
        stopped_at: datetime,
        keep_on: Callable[[], bool],
        heard_at: datetime | None = None,
    ) -> int | None:
        """See `AgentRegistryRepository`."""
        return self._rearming.rearm(stopped_at, heard_at or stopped_at, keep_on)

    def _is_common(self, name: str | None) -> bool:
        if name is None:
            return False
        found = execute(self._database.reading, *listing.is_common(name)).fetchone()
        return found is not None

    def _judging(self, now: datetime) -> listing.Judged:
        return listing.Judged(now, self._held_after(now))

    def _held_after(self, now: datetime) -> datetime:
        if self.guard is None:
            return now
        return guarding.held_after(self._database.reading, now, self.guard)

    def _register(
        self, records: Sequence[AgentRecord]
    ) -> list[Registration | StoreError]:
        ids = json.dumps([record.agent_id for record in records])
        rows = self._write(_REGISTERED, {"ids": ids}).fetchall()
        standing = {record.agent_id: record for record in map(from_row, rows)}
        now, lease_now = self._times.hear()
        self._admissions.begin()
        registrations: list[Registration | StoreError] = []
        changed: dict[str, AgentRecord] = {}
        for wanted in records:
            known = standing.get(wanted.agent_id)
            refusal = self._refusal(known, wanted.owner)
            if refusal is not None:
                registrations.append(refusal)
                continue
            registration = registering.register(known, wanted, now, lease_now=lease_now)
            standing[wanted.agent_id] = changed[wanted.agent_id] = registration.record
            registrations.append(registration)
        if changed:
            rows = map(to_row, changed.values())
            execute_many(self._database.writing, self._upsert, rows)
            self._claim_room()
            revived = [
                one.outcome for one in registrations if isinstance(one, Registration)
            ].count(Outcome.REVIVED)
            self._database.ledger.revived(revived)
        return registrations

    def _refusal(self, known: AgentRecord | None, owner: str) -> StoreError | None:
        """Return why `owner` may not register an agent, if so."""
        if known is not None and not may_touch(known.owner, owner):
            return NotOwner(f"{known.agent_id!r} belongs to somebody else")
        try:
            if known is None:
                self._admissions.admit(owner)
            elif not known.owner:
                self._admissions.take_over(owner)
        except QuotaExceeded as error:
            return error
        return None

    def _claim_room(self) -> None:
        """Refuse what was added, if there is no room for it."""
        room = self._database.room
        if room.kept:
            room.claim(*self._write(_DATABASE_BYTES).fetchone())

    def _find(self, database: SqliteDatabase, agent_id: str) -> AgentRecord | None:
        row = execute(database, self._one, (agent_id,)).fetchone()
        return from_row(row) if row else None

    def _write(self, sql: str, values: Any = ()) -> Any:  # noqa: ANN401 - SQLite's cursor
        return execute(self._database.writing, sql, values)
