"""Rows to bytes: SQL with which SQLite renders a listing itself.

Rendered in Python, 10,000 agents take the interpreter's lock for 60 ms, and every
heartbeat waits; SQLite renders them without it. The shape is the HTTP facade's
`AgentInfo`, whose tests hold the two together.
"""

from datetime import datetime
from typing import Any, NamedTuple

from store.base import AgentFilter
from store.leases import Status
from store.models import to_micros
from store.queries import EXPIRED, HELD, LATE, LISTED

_STATUS = (
    f"CASE WHEN {HELD} THEN '{Status.HELD}'"
    f" WHEN {EXPIRED} THEN '{Status.DEAD}'"
    f" WHEN {LATE} THEN '{Status.LATE}' ELSE '{Status.ALIVE}' END"
)
_DAY_MICROS = 86_400_000_000


def _instant(column: str) -> tuple[str, str]:
    """Show an instant: the time of day by arithmetic, and the date of today as given.

    Three times strftime() took as long as all the rest of a row.
    """
    return (
        '"%sT%02d:%02d:%02d.%06dZ"',
        (
            f"iif({column} / {_DAY_MICROS} = :today, :date,"
            f" date({column} / 1000000, 'unixepoch')),"
            f" {column} / 3600000000 % 24, {column} / 60000000 % 60,"
            f" {column} / 1000000 % 60, {column} % 1000000"
        ),
    )


_AGE = "max(0, :now - last_heartbeat)"

#: Each member of an agent: how printf() shows it, and of what. One printf() for a
#: row takes a third less than json_object() and its like.
_MEMBERS = {
    "agent_id": ("%s", "json_quote(agent_id)"),
    "agent_name": ("%s", "json_quote(agent_name)"),
    "host": ("%s", "json_quote(host)"),
    "port": ("%d", "port"),
    "ttl_seconds": ("%d", "ttl_seconds"),
    "metadata": ("%s", "metadata"),
    "is_alive": ("%s", f"iif({EXPIRED}, 'false', 'true')"),
    "status": ('"%s"', _STATUS),
    "last_heartbeat": _instant("last_heartbeat"),
    "expires_at": _instant("expires_at"),
    "registered_at": _instant("registered_at"),
    "age_seconds": ("%d.%06d", f"{_AGE} / 1000000, {_AGE} % 1000000"),
}
_SHAPE = ",".join(f'"{name}":{shown}' for name, (shown, _) in _MEMBERS.items())
_VALUES = ", ".join(values for _, values in _MEMBERS.values())
_OBJECT = f"printf('{{{_SHAPE}}}', {_VALUES})"

#: One JSON value as the text that a filter compares; null where it is a container.
#: A real is taken from the JSON it stands in, as it was told: a cast has 15 digits, and
#: 0.1 + 0.2 would be 0.3. Only where a key has a quote, no path leads to it.
_AS_TEXT = (
    "CASE {0}.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
    " WHEN 'null' THEN 'null'"
    " WHEN 'real' THEN coalesce({1} -> {0}.fullkey, CAST({0}.atom AS TEXT))"
    " ELSE CAST({0}.atom AS TEXT) END"
)
_METADATA_MATCHES = (
    "EXISTS (SELECT 1 FROM json_each(metadata) AS entry"  # noqa: S608 - constants only
    " WHERE entry.key = {key} AND"
    f" ({_AS_TEXT.format('entry', 'metadata')} = {{value}}"
    " OR entry.type = 'array' AND EXISTS (SELECT 1 FROM json_each(entry.value) AS item"
    f" WHERE {_AS_TEXT.format('item', 'entry.value')} = {{value}})))"
)

Statement = tuple[str, dict[str, Any]]


class Judged(NamedTuple):
    """At which instant agents are judged, and which of the expired the guard holds."""

    now: datetime
    #: Those whose lease ran out after it.
    held_after: datetime

    def bound(self) -> dict[str, int]:
        """Return the values that the rules in `queries` bind."""
        return {"now": to_micros(self.now), "held_after": to_micros(self.held_after)}


def page(
    agents: AgentFilter, at: Judged, after: str | None, limit: int | None
) -> Statement:
    """Select one row: the page's objects, their number, and its last id.

    The objects have commas between them, and no brackets around: to add them here
    would copy megabytes twice. They are null where there are none.
    """
    where, values = _where(agents, at, after)
    # Rendered where the row is read: columns passed outwards would be copied.
    rows = (
        f"SELECT agent_id, {_OBJECT} AS agent"  # noqa: S608 - constants only
        f" FROM agents WHERE {where} ORDER BY agent_id LIMIT :limit"
    )
    sql = f"""
        SELECT CAST(group_concat(agent) AS BLOB), count(*), max(agent_id) FROM ({rows})
    """  # noqa: S608
    shown = {
        "today": to_micros(at.now) // _DAY_MICROS,
        "date": f"{at.now:%Y-%m-%d}",
    }
    return sql, values | shown | {"limit": -1 if limit is None else limit}


def follows(agents: AgentFilter, at: Judged, after: str) -> Statement:
    """Select a row if any agent that matches stands behind `after`."""
    where, values = _where(agents, at, after)
    return f"SELECT 1 FROM agents WHERE {where} LIMIT 1", values  # noqa: S608


def _where(agents: AgentFilter, at: Judged, after: str | None) -> Statement:
    """Say which rows match; every value is bound, none becomes part of the SQL."""
    conditions = ["TRUE"]
    values: dict[str, Any] = at.bound()
    if not agents.include_dead:
        conditions.append(LISTED)
    for column, wanted in (
        ("agent_name = :name", agents.name),
        ("host = :host", agents.host),
        ("agent_id > :after", after),
    ):
        if wanted is not None:
            conditions.append(column)
            values[column.partition(":")[2]] = wanted
    for number, (key, value) in enumerate(agents.metadata.items()):
        names = {"key": f":key{number}", "value": f":value{number}"}
        conditions.append(_METADATA_MATCHES.format(**names))
        values |= {f"key{number}": key, f"value{number}": value}
    return " AND ".join(conditions), values
