"""What the guard judges by, read from the database; and its one row there."""

from datetime import datetime

from peewee import SqliteDatabase

from store import guard
from store.guard import EVER, GuardRules, Hold, Level, Verdict
from store.models import from_micros, to_micros
from store.queries import EXPIRED, HAS_BEATEN, execute

_HOLD = "SELECT held_since, hold_until, level, cap FROM guard"
_FORGET = "DELETE FROM guard"
_KEEP = (
    "INSERT INTO guard (held_since, hold_until, level, cap)"
    " VALUES (:since, :until, :level, :cap)"
)
_DUE = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM agents
        WHERE {EXPIRED} AND expires_at > :after AND {HAS_BEATEN} LIMIT :most)
"""  # noqa: S608 - constants only
_TOTAL = "SELECT count(*) FROM agents"


def judge(
    database: SqliteDatabase, now: datetime, rules: GuardRules, *, briefly: bool = False
) -> Verdict:
    """Judge who is due at `now`.

    Args:
        database: where they are.
        now: lease time.
        rules: when to hold.
        briefly: count no further than it takes to tell who is held.
    """
    hold = current(database)
    if hold is None:
        # Nearly always few are due; then the size of the fleet does not matter.
        few = due(database, now, most=rules.min_agents + 1)
        if few <= rules.min_agents:
            return guard.verdict(few, 0, now, hold=None, rules=rules)
    total = _total(database)
    cap = guard.over_cap(hold, total, rules) if hold else rules.cap(total)
    most = cap + 1 if briefly else -1
    ended = now if hold is None else min(now, hold.until)
    own = due(database, ended, most=most)
    fresh = due(database, now, after=ended, most=most)
    return guard.verdict(own + fresh, total, now, hold=hold, rules=rules, fresh=fresh)


def held_after(database: SqliteDatabase, now: datetime, rules: GuardRules) -> datetime:
    """Tell who is held at `now`: whose lease ran out after this instant."""
    return judge(database, now, rules, briefly=True).held_after(now)


def due(
    database: SqliteDatabase, now: datetime, *, after: datetime = EVER, most: int = -1
) -> int:
    """Count the agents whose lease has run out, of those that ever beat.

    Args:
        database: where they are.
        now: by when it has.
        after: only those whose lease ran out after it.
        most: count no further; -1: count all.
    """
    values = {"now": to_micros(now), "after": to_micros(after), "most": most}
    (counted,) = execute(database, _DUE, values).fetchone()
    return int(counted)


def _total(database: SqliteDatabase) -> int:
    (total,) = execute(database, _TOTAL).fetchone()
    return int(total)


def current(database: SqliteDatabase) -> Hold | None:
    """Return the hold that has begun, if any."""
    row = execute(database, _HOLD).fetchone()
    if row is None:
        return None
    since, until, level, cap = row
    return Hold(from_micros(since), from_micros(until), Level(level), cap)


def keep(database: SqliteDatabase, hold: Hold | None) -> None:
    """Make `hold` the one that has begun; None ends it."""
    execute(database, _FORGET)
    if hold is not None:
        row = {
            "since": to_micros(hold.since),
            "until": to_micros(hold.until),
            "level": str(hold.level),
            "cap": hold.cap,
        }
        execute(database, _KEEP, row)
