"""What the guard judges by, read from the database; and its one row there."""

from datetime import datetime

from peewee import SqliteDatabase

from store import guard
from store.guard import GuardRules, Hold, Level, Verdict
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
        SELECT 1 FROM agents WHERE {EXPIRED} AND {HAS_BEATEN} LIMIT :most)
"""  # noqa: S608 - constants only
_TOTAL = "SELECT count(*) FROM agents"


def judge(database: SqliteDatabase, now: datetime, rules: GuardRules) -> Verdict:
    """Judge who is due at `now`."""
    hold = current(database)
    if hold is None and _few_are_due(database, now, rules):
        return guard.verdict(due(database, now), 0, now, hold=None, rules=rules)
    total = _total(database)
    return guard.verdict(due(database, now), total, now, hold=hold, rules=rules)


def holds(database: SqliteDatabase, now: datetime, rules: GuardRules) -> bool:
    """Tell whether who is due at `now` is held: as `judge` does, counting less."""
    hold = current(database)
    if hold is None and _few_are_due(database, now, rules):
        return False
    total = _total(database)
    cap = max(hold.cap if hold else 0, rules.cap(total))
    counted = due(database, now, most=cap + 1)
    return guard.verdict(counted, total, now, hold=hold, rules=rules).holds


def due(database: SqliteDatabase, now: datetime, most: int = -1) -> int:
    """Count the agents whose lease has run out, of those that ever beat."""
    values = {"now": to_micros(now), "most": most}
    (counted,) = execute(database, _DUE, values).fetchone()
    return int(counted)


def _few_are_due(database: SqliteDatabase, now: datetime, rules: GuardRules) -> bool:
    """Tell what is true nearly always; then the size of the fleet does not matter."""
    return due(database, now, most=rules.min_agents + 1) <= rules.min_agents


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
