"""Re-arming leases after lease time stood still.

`leases.rearmed` in SQL, in chunks, so that beats go on being written between them.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from store import guarding, listening
from store.clock import Clock
from store.connections import SqliteRegistryDatabase
from store.leases import BEATS_PER_TTL, MAX_REARMS
from store.listening import Listening
from store.models import to_micros
from store.pacing import ChunkSize
from store.queries import HAS_BEATEN, execute
from store.threads import writes
from store.writer import Priority

# Instants to come, after a step backwards, become past ones; who has beaten keeps
# having beaten after it registered.
_STAMPS = f"""
    last_heartbeat = min(last_heartbeat, :now),
    registered_at = min(registered_at, :now - ({HAS_BEATEN}))
"""
_BURY = f"""
    UPDATE agents
    SET expires_at = :now, {_STAMPS}
    WHERE expires_at > :now AND expires_at <= :stopped
"""  # noqa: S608 - constants only
_LAST_OF_CHUNK = """
    SELECT max(row) FROM (
        SELECT rowid AS row FROM agents WHERE rowid > :after ORDER BY rowid LIMIT :rows)
"""
_RAN = "(ttl_seconds * 1000000 - (expires_at - :heard)) / 1e6"
_MISSED = f"min(max({_RAN} / (ttl_seconds / {BEATS_PER_TTL}.0), 0.0), 1.0)"
_COUNTED = f"(rearms + iif(rearms > 0, {_MISSED}, 1))"
_IN_CHUNK = "rowid > :after AND rowid <= :last AND expires_at > :stopped"
# Apart from the re-arm: what a statement sets it writes anew in its indexes, even as it
# was; 900,000 leases took 32 s, not 12. Only a step backwards leaves stamps to come.
_RESTAMP = f"""
    UPDATE agents SET {_STAMPS} WHERE {_IN_CHUNK} AND last_heartbeat > :now
"""  # noqa: S608 - constants only
_REARM = f"""
    UPDATE agents
    SET expires_at = iif(
            {_COUNTED} >= {MAX_REARMS + 1},
            :stopped,
            :now + ttl_seconds * 1000000),
        rearms = {_COUNTED}
    WHERE {_IN_CHUNK}
"""  # noqa: S608 - constants only


class Chunk(NamedTuple):
    """What one statement of a re-arm did."""

    #: The last row it looked at; None when there are no further ones.
    last: int | None
    rearmed: int
    seconds: float


class Rearming:
    """Re-arms one database; each step is a job of its writer's thread.

    Args:
        database: whose leases are re-armed.
        clock: when they run anew.
    """

    def __init__(self, database: SqliteRegistryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @writes(Priority.CHANGE)
    def move_lease_time(self, stopped_at: datetime, to: datetime) -> None:
        """State lease time that stood still at `stopped_at` as `to`.

        A hold moves along until it is over. When `to` is earlier, after a step of the
        wall clock, who was dead stays dead: their deadlines move back with it.
        """
        database = self._database.writing
        if to < stopped_at:
            values = {"now": to_micros(to), "stopped": to_micros(stopped_at)}
            execute(database, _BURY, values)
        hold = guarding.current(database)
        if hold is not None:
            guarding.keep(database, hold.moved(stopped_at, to))
        listening.keep(database, Listening(to, to))

    def rearm(
        self, stopped_at: datetime, heard_at: datetime, keep_on: Callable[[], bool]
    ) -> int | None:
        """Re-arm the leases that were valid at `stopped_at`, as long as `keep_on()`.

        Return how many; None when it was ended before it was done.
        """
        size = ChunkSize()
        reached: int | None = -1
        rearmed = 0
        while reached is not None:
            if not keep_on():
                return None
            chunk = self._rearm_next(stopped_at, heard_at, reached, size.rows)
            size.learn(size.rows, chunk.seconds)
            reached = chunk.last
            rearmed += chunk.rearmed
        return rearmed

    @writes(Priority.SWEEP)
    def _rearm_next(
        self, stopped_at: datetime, heard_at: datetime, after: int, rows: int
    ) -> Chunk:
        """Re-arm those of the next `rows` rows whose leases were valid."""
        database = self._database.writing
        now = self._clock()
        started = time.perf_counter()
        span = {"after": after, "rows": rows}
        (last,) = execute(database, _LAST_OF_CHUNK, span).fetchone()
        values = {
            "now": to_micros(max(now, stopped_at)),
            "stopped": to_micros(stopped_at),
            "heard": to_micros(heard_at),
            "after": after,
            "last": last,
        }
        # Without a last row there is none, and the comparison with NULL finds none.
        execute(database, _RESTAMP, values)
        rearmed = execute(database, _REARM, values).rowcount
        return Chunk(last, rearmed, time.perf_counter() - started)
