"""The SQL that every database shares, built on the unbound model.

Peewee takes 0.1 ms to build a statement, longer than SQLite takes to run it. So
what is run for every call is built once, and executed with other values.
"""

from collections.abc import Iterable
from typing import Any

from peewee import Database, ModelInsert, ModelSelect, Node
from peewee import __exception_wrapper__ as peewee_errors  # type: ignore[attr-defined]

from store.leases import BEATS_PER_TTL
from store.models import FIELDS, AgentRecord

#: The rules of `leases` in SQL, each once. Bind: the instant they are judged at, and
#: after which one a lease must have run out for the guard to hold its agent.
EXPIRED = "expires_at <= :now"  # `is_expired`
HAS_BEATEN = "last_heartbeat > registered_at"  # `AgentRecord.has_beaten`
HELD = f"{EXPIRED} AND expires_at > :held_after AND {HAS_BEATEN}"
LATE = f"last_heartbeat + ttl_seconds * 2000000 / {BEATS_PER_TTL} <= :now"  # `late_at`
LISTED = f"(NOT {EXPIRED} OR {HELD})"

#: By `leases.status`, in one row: all, the dead, those of them who are held, the late.
COUNT_BY_STATUS = f"""
    SELECT
        count(*),
        count(*) FILTER (WHERE {EXPIRED}),
        count(*) FILTER (WHERE {HELD}),
        count(*) FILTER (WHERE NOT {EXPIRED} AND {LATE})
    FROM agents
"""  # noqa: S608 - constants only
EVERYONE = f"SELECT {', '.join(FIELDS)} FROM agents"  # noqa: S608


def text(query: Node, database: Database) -> str:
    """Return a statement as text for `database`, its values left to be bound."""
    sql: str = database.get_sql_context().sql(query).query()[0]  # type: ignore[no-untyped-call] # Peewee's
    return sql


def execute(database: Database, sql: str, values: Any = ()) -> Any:  # noqa: ANN401 - DB-API
    """Execute a text on the calling thread's connection; return the cursor."""
    return database.execute_sql(sql, values)  # type: ignore[no-untyped-call] # Peewee's


def execute_many(database: Database, sql: str, rows: Iterable[Any]) -> None:
    """Execute a text for each row of values: 2 us a row less than one by one."""
    with peewee_errors:
        database.connection().executemany(sql, rows)  # type: ignore[no-untyped-call] # Peewee's


def one() -> "ModelSelect[AgentRecord]":
    """Select one agent. Bind: its id."""
    return AgentRecord.select().where(AgentRecord.agent_id == "")


def insert() -> ModelInsert:
    """Insert a row. Bind: its values, in the order of the model's fields."""
    return AgentRecord.insert(dict.fromkeys(FIELDS, 0))


def upsert() -> ModelInsert:
    """Insert a row, or put it in the place of the one with its id. Bind: as insert."""
    others = [field for name, field in FIELDS.items() if name != "agent_id"]
    return insert().on_conflict(conflict_target=[AgentRecord.agent_id], preserve=others)
