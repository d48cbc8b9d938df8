"""When the registry listened, as its one row in the database says."""

from datetime import datetime
from typing import NamedTuple

from peewee import SqliteDatabase

from store.models import from_micros, to_micros
from store.queries import execute

_LISTENING = "SELECT resumed_at, listened_at FROM listening"
_FORGET = "DELETE FROM listening"
_KEEP = "INSERT INTO listening (resumed_at, listened_at) VALUES (:resumed, :listened)"
_LAST_HEARD = "SELECT max(last_heartbeat) FROM agents"


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


def kept(database: SqliteDatabase, now: datetime) -> Listening | None:
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
