"""The SQL that every database shares, built on the unbound model.

Peewee takes 0.1 ms to build a statement, longer than SQLite takes to run it. So
what is run for every call is built once, and executed with other values.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from peewee import (
    SQL,
    Database,
    Expression,
    ModelInsert,
    ModelSelect,
    Node,
    Value,
    fn,
)
from peewee import __exception_wrapper__ as peewee_errors  # type: ignore[attr-defined]

from store.leases import BEATS_PER_TTL, Status
from store.models import FIELDS, AgentRecord, to_micros

#: `AgentRecord.has_beaten` in SQL that is written by hand.
HAS_BEATEN = "last_heartbeat > registered_at"

_SECOND = 1_000_000  # microseconds, as instants are stored


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


def expired(now: datetime) -> Expression:
    """`leases.is_expired` in SQL: the one boundary that reads and sweeps share."""
    return AgentRecord.expires_at <= now


def everyone() -> "ModelSelect[AgentRecord]":
    """Select all agents, dead ones too, ordered by id."""
    return AgentRecord.select().order_by(AgentRecord.agent_id)


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


def has_beaten() -> Expression:
    """`AgentRecord.has_beaten` in SQL."""
    return AgentRecord.last_heartbeat > AgentRecord.registered_at


def listed(now: datetime, *, held: bool) -> Expression:
    """Match whom the default list shows; `held` says whether the guard holds."""
    living: Expression = ~expired(now)
    return living | has_beaten() if held else living


def count_by_status(now: datetime, *, held: bool) -> "ModelSelect[AgentRecord]":
    """Count the agents by `leases.status` in one row, columns named by status."""
    dead = expired(now)
    late_micros = (
        AgentRecord.last_heartbeat
        + AgentRecord.ttl_seconds * Value(2 * _SECOND, converter=False) / BEATS_PER_TTL
    )
    late = ~dead & (late_micros <= to_micros(now))
    return AgentRecord.select(
        fn.COUNT(SQL("*")).alias("total"),
        fn.COUNT(SQL("*")).filter(dead).alias(Status.DEAD),
        fn.COUNT(SQL("*"))
        .filter(dead & has_beaten() & Value(held, converter=False))
        .alias(Status.HELD),
        fn.COUNT(SQL("*")).filter(late).alias(Status.LATE),
    )
