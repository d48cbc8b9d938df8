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

#: To sort the ids of so many agents of a name takes a page 12 ms. Of more, among a
#: million, 100 are found about as soon in the order of ids, and sooner among fewer.
_SORTED_AT_MOST = 10_000
_IS_COMMON = """
    SELECT 1 FROM agents WHERE agent_name = :name LIMIT 1 OFFSET :sorted_at_most
"""

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
    agents: AgentFilter,
    at: Judged,
    after: str | None,
    limit: int | None,
    *,
    walking: bool = False,
) -> Statement:
    """Select one row: the page's objects, their number, and its last id.

    The objects have commas between them, and no brackets around: to add them here
    would copy megabytes twice. They are null where there are none.

    Args:
        agents: who is listed.
        at: how they are judged.
        after: begin behind this id.
        limit: how many at most; None: all.
        walking: find those of a name among all ids, for a name that `is_common`.
    """
    where, values = _where(agents, at)
    place, placed = _place(agents, after, walking=walking)
    # Rendered where the row is read: columns passed outwards would be copied.
    rendered = f"SELECT agent_id, {_OBJECT} AS agent"
    if agents.name is None or walking:
        found = f"FROM agents WHERE {place} AND {where} ORDER BY agent_id"
    else:
        # The index tells the ids, which are sorted; only so many rows are read as are
        # wanted. A LIMIT of its own, for else SQLite may leave a join's parts unsorted.
        named = f"SELECT rowid AS named FROM agents WHERE {place} ORDER BY agent_id"  # noqa: S608
        found = (
            f"FROM ({named} LIMIT -1) CROSS JOIN agents ON agents.rowid = named"
            f" WHERE {where}"
        )
    rows = f"{rendered} {found} LIMIT :limit"
    sql = f"""
        SELECT CAST(group_concat(agent) AS BLOB), count(*), max(agent_id) FROM ({rows})
    """  # noqa: S608
    shown = {
        "today": to_micros(at.now) // _DAY_MICROS,
        "date": f"{at.now:%Y-%m-%d}",
    }
    return sql, values | placed | shown | {"limit": -1 if limit is None else limit}


def is_common(name: str) -> Statement:
    """Select a row if a name is that of too many to sort them for a page."""
    return _IS_COMMON, {"name": name, "sorted_at_most": _SORTED_AT_MOST}


def follows(
    agents: AgentFilter, at: Judged, after: str, *, walking: bool = False
) -> Statement:
    """Select a row if any agent that matches stands behind `after`."""
    where, values = _where(agents, at)
    place, placed = _place(agents, after, walking=walking)
    sql = f"SELECT 1 FROM agents WHERE {place} AND {where} LIMIT 1"  # noqa: S608
    return sql, values | placed


def _place(agents: AgentFilter, after: str | None, *, walking: bool) -> Statement:
    """Say where in the order of a name, or of all, the rows stand."""
    conditions = ["TRUE"]
    values = {}
    if agents.name is not None:
        # An index is not asked for what an operator was applied to.
        conditions.append(f"{'+' if walking else ''}agent_name = :name")
        values["name"] = agents.name
    if after is not None:
        conditions.append("agent_id > :after")
        values["after"] = after
    return " AND ".join(conditions), values


def _where(agents: AgentFilter, at: Judged) -> Statement:
    """Say which rows match; every value is bound, none becomes part of the SQL."""
    conditions = ["TRUE"]
    values: dict[str, Any] = at.bound()
    if not agents.include_dead:
        conditions.append(LISTED)
    if agents.host is not None:
        conditions.append("host = :host")
        values["host"] = agents.host
    for number, (key, value) in enumerate(agents.metadata.items()):
        names = {"key": f":key{number}", "value": f":value{number}"}
        conditions.append(_METADATA_MATCHES.format(**names))
        values |= {f"key{number}": key, f"value{number}": value}
    return " AND ".join(conditions), values
