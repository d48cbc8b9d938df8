"""Removing who is dead, in chunks that hold the writer for about 5 ms."""

import json
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from store import failpoints, guarding
from store.base import Swept
from store.connections import SqliteRegistryDatabase
from store.guard import GuardRules, Hold, Verdict
from store.models import from_micros, to_micros
from store.pacing import ChunkSize
from store.queries import EXPIRED, HAS_BEATEN, execute
from store.snapshots import Snapshots
from store.threads import reads, writes
from store.writer import Priority

log = logging.getLogger(__name__)

#: Expiries told one by one in a sweep; of the rest the log gives the number.
_TOLD = 100
#: Rows of which a sweep takes note at a time, before it removes them in chunks. To
#: parse more of them would hold the interpreter from the event loop.
_NOTED_AT_ONCE = 10_000

# Oldest first: under a hold, only some of them go. And whose leases ended together lie
# together in both indexes of instants: in the order of rows, a chunk of a sweep among
# a million changes a fifth more pages.
_NOTE_DUE = """
    SELECT json_group_array(due) FROM (
        SELECT rowid AS due FROM agents WHERE {who}
        ORDER BY expires_at LIMIT :limit)
"""
_DUE = _NOTE_DUE.format(who=EXPIRED)
_DUE_BEATEN = _NOTE_DUE.format(who=f"{EXPIRED} AND {HAS_BEATEN}")
_DUE_UNBEATEN = _NOTE_DUE.format(who=f"{EXPIRED} AND NOT {HAS_BEATEN}")
# The deadline is checked again: since the rows were noted, a beat may have been
# committed.
_DELETE_DUE = f"""
    DELETE FROM agents
    WHERE rowid IN (SELECT value FROM json_each(:rows)) AND {EXPIRED}
"""  # noqa: S608 - constants only
_DELETE_DUE_TELLING = f"{_DELETE_DUE} RETURNING agent_id, last_heartbeat, ttl_seconds"


class Chunk(NamedTuple):
    """What one statement of a sweep removed."""

    removed: int
    #: Those to tell of: id, last heartbeat in epoch microseconds, TTL in seconds.
    expired: list[tuple[str, int, int]]
    #: The instant it was judged by.
    now: datetime
    seconds: float


class Sweep:
    """Sweeps one database; each step is a job of its reader's or its writer's thread.

    Args:
        database: what is swept.
        snapshots: the instants by which it is judged who is dead.
    """

    def __init__(self, database: SqliteRegistryDatabase, snapshots: Snapshots) -> None:
        self._database = database
        self._snapshots = snapshots

    def remove_all(self, keep_on: Callable[[], bool] = lambda: True) -> int:
        """Remove whoever is dead, as long as `keep_on()`; return how many."""
        return self._remove(_DUE, keep_on=keep_on)

    def run(self, guard: GuardRules, keep_on: Callable[[], bool]) -> Swept:
        """Remove whom the guard lets go, as long as `keep_on()`."""
        with self._snapshots.still:
            before, (take, hold, follows) = self._begin(guard)
        removed = self._remove(_DUE_UNBEATEN, keep_on=keep_on)
        # While a hold goes on, or another follows, only its own go: also when some of
        # them beat meanwhile.
        until = before.until if before and hold else None
        removed += self._remove(
            _DUE_BEATEN, most=take, until=until, told=removed, keep_on=keep_on
        )
        if not keep_on():
            return Swept(removed, self._count_due(), hold, whole=False)
        if before and (hold is None or follows):
            self._replace_hold(before, None)
        if follows:
            # Only now: one that began before its own were gone would hold them again.
            with self._snapshots.still:
                _, (_, hold, _) = self._begin(guard)
        return Swept(removed, self._count_due() if hold else 0, hold)

    def _begin(self, rules: GuardRules) -> tuple[Hold | None, Verdict]:
        """Judge, and keep the hold there is.

        Judged by a reader: to count a tenth of a million takes 0.2 s, for which no
        beat should wait. So what is kept is kept only if the hold is still the one
        that was judged by: an operator may have ended it, or lease time moved it.
        """
        while True:
            before, found = self._judge(rules)
            if found.follows or found.hold in (None, before):
                break
            if self._replace_hold(before, found.hold):
                break
        if found.hold is not None and before is None:
            self._database.ledger.hold_began()
        return before, found

    @reads
    def _judge(self, rules: GuardRules) -> tuple[Hold | None, Verdict]:
        """Judge who is due; return the hold that had begun before as well."""
        database = self._database.reading
        return self._snapshots.judged(
            lambda now: (
                guarding.current(database),
                guarding.judge(database, now, rules),
            )
        )

    @writes(Priority.SWEEP)
    def _replace_hold(self, before: Hold | None, hold: Hold | None) -> bool:
        database = self._database.writing
        unchanged = guarding.current(database) == before
        if unchanged:
            guarding.keep(database, hold)
        return unchanged

    def _remove(
        self,
        which: str,
        most: float = math.inf,
        until: datetime | None = None,
        told: int = 0,
        keep_on: Callable[[], bool] = lambda: True,
    ) -> int:
        """Remove who is dead, in chunks, and at most so many; return how many.

        With `until`, only whose lease ran out by then.
        """
        size = ChunkSize()
        removed = 0
        while removed < most:
            at_once = int(min(most - removed, _NOTED_AT_ONCE))
            noted = self._note_due(which, at_once, until)
            for rows in size.cut(noted):
                if not keep_on():
                    return removed
                untold = max(0, _TOLD - told - removed)
                chunk = self._delete_due(rows, tell=untold > 0)
                size.learn(len(rows), chunk.seconds)
                _tell(chunk, most=untold)
                removed += chunk.removed
                self._database.ledger.expired(chunk.removed)
                failpoints.reach("mid_sweep")
            if len(noted) < at_once:
                break
        return removed

    @reads
    def _note_due(self, which: str, limit: int, until: datetime | None) -> list[int]:
        """Note rows that are dead, the oldest first."""
        now = self._snapshots.now()
        values = {"now": to_micros(min(now, until or now)), "limit": limit}
        (noted,) = execute(self._database.reading, which, values).fetchone()
        rows: list[int] = json.loads(noted)
        return rows

    @reads
    def _count_due(self) -> int:
        return guarding.due(self._database.reading, self._snapshots.now())

    @writes(Priority.SWEEP)
    def _delete_due(self, rows: list[int], *, tell: bool) -> Chunk:
        # Judged in each chunk: lease time may have jumped since the rows were noted.
        now = self._snapshots.now()
        database = self._database.writing
        started = time.perf_counter()
        values = {"rows": json.dumps(rows), "now": to_micros(now)}
        if tell:
            expired = execute(database, _DELETE_DUE_TELLING, values).fetchall()
            removed = len(expired)
        else:  # to return what nobody reads takes 7 % of a sweep
            expired = []
            removed = execute(database, _DELETE_DUE, values).rowcount
        return Chunk(removed, expired, now, time.perf_counter() - started)


def _tell(chunk: Chunk, *, most: int) -> None:
    """Log of each agent why it was removed, but of `most` of them only."""
    for agent_id, last_heartbeat, ttl_seconds in chunk.expired[:most]:
        log.info(
            "Agent %s expired: silent for %.1f s, its TTL is %d s",
            agent_id,
            (chunk.now - from_micros(last_heartbeat)).total_seconds(),
            ttl_seconds,
            extra={"action": "agent_expired", "agent_id": agent_id},
        )
