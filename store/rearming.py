"""Re-arming leases in the database, and the one row that says when it listened.

`leases.rearmed` in SQL, in chunks, so that beats go on being written between them.
"""

import time
from datetime import datetime
from typing import NamedTuple

from peewee import SqliteDatabase

from store import guarding
from store.leases import BEATS_PER_TTL, MAX_REARMS
from store.models import from_micros, to_micros
from store.queries import HAS_BEATEN, execute

_LISTENING = "SELECT resumed_at, listened_at FROM listening"
_FORGET = "DELETE FROM listening"
_KEEP = "INSERT INTO listening (resumed_at, listened_at) VALUES (:resumed, :listened)"
_LAST_HEARD = "SELECT max(last_heartbeat) FROM agents"

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
_REARM = f"""
    UPDATE agents
    SET {_STAMPS},
        expires_at = iif(
            {_COUNTED} >= {MAX_REARMS + 1},
            :stopped,
            :now + ttl_seconds * 1000000),
        rearms = {_COUNTED}
    WHERE rowid > :after AND rowid <= :last AND expires_at > :stopped
"""  # noqa: S608 - constants only


class Listening(NamedTuple):
    """When the registry could receive heartbeats, as far as is known."""

    #: Since when without a gap.
    resumed_at: datetime
    #: Until when.
    listened_at: datetime

    @property
    def seconds(self) -> float:
        """How long that was."""
        return max(0.0, (self.listened_at - self.resumed_at).total_seconds())


class RearmedChunk(NamedTuple):
    """What one statement of a re-arm did."""

    #: The last row it looked at; None when there are no further ones.
    last: int | None
    rearmed: int
    seconds: float


def listening(database: SqliteDatabase, now: datetime) -> Listening | None:
    """Return what was stored; of a database without it, when it last heard anyone."""
    row = execute(database, _LISTENING).fetchone()
    if row is not None:
        return Listening(*map(from_micros, row))
    (heard,) = execute(database, _LAST_HEARD).fetchone()
    if heard is None:
        return None
    # A row may have been added with an instant to come.
    at = min(from_micros(heard), now)
    return Listening(at, at)


def keep(database: SqliteDatabase, known: Listening) -> None:
    """Store until when the registry listened."""
    execute(database, _FORGET)
    row = {
        "resumed": to_micros(known.resumed_at),
        "listened": to_micros(known.listened_at),
    }
    execute(database, _KEEP, row)


def move(database: SqliteDatabase, stopped_at: datetime, to: datetime) -> None:
    """State lease time that stood still at `stopped_at` as `to`.

    A hold moves along until it is over. When `to` is earlier, after a step of the
    wall clock, who was dead stays dead: their deadlines move back with it.
    """
    if to < stopped_at:
        values = {"now": to_micros(to), "stopped": to_micros(stopped_at)}
        execute(database, _BURY, values)
    hold = guarding.current(database)
    if hold is not None:
        guarding.keep(database, hold.moved(stopped_at, to))
    keep(database, Listening(to, to))


def chunk(
    database: SqliteDatabase,
    stopped_at: datetime,
    now: datetime,
    *,
    heard_at: datetime,
    after: int,
    rows: int,
) -> RearmedChunk:
    """Re-arm those of the next `rows` rows whose leases were valid."""
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
    rearmed = execute(database, _REARM, values).rowcount
    return RearmedChunk(last, rearmed, time.perf_counter() - started)
