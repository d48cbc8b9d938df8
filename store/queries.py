"""The SQL that every database shares, built on the unbound model."""

from datetime import datetime

from peewee import SQL, Expression, ModelDelete, ModelSelect, ModelUpdate, Value, fn

from store.base import AgentFilter
from store.leases import BEATS_PER_TTL, Status
from store.models import AgentRecord, to_micros

_SECOND = 1_000_000  # microseconds, as instants are stored


def find(agent_id: str) -> "ModelSelect[AgentRecord]":
    """Select one agent."""
    return AgentRecord.select().where(AgentRecord.agent_id == agent_id)


def replace(record: AgentRecord) -> ModelUpdate:
    """Put a whole row in the place of the one with its id, returning it."""
    return (
        AgentRecord.update(record.__data__)
        .where(AgentRecord.agent_id == record.agent_id)
        .returning(AgentRecord)
    )


def delete(agent_id: str) -> ModelDelete:
    """Delete one agent, returning its row."""
    return (
        AgentRecord.delete()
        .where(AgentRecord.agent_id == agent_id)
        .returning(AgentRecord)
    )


def expired(now: datetime) -> Expression:
    """`leases.is_expired` in SQL: the one boundary that reads and sweeps share."""
    return AgentRecord.expires_at <= now


def select(agents: AgentFilter, now: datetime) -> "ModelSelect[AgentRecord]":
    """Select the matching agents by id; metadata is left to the database's own."""
    query = AgentRecord.select().order_by(AgentRecord.agent_id)
    if not agents.include_dead:
        query = query.where(~expired(now))
    if agents.name is not None:
        query = query.where(AgentRecord.agent_name == agents.name)
    if agents.host is not None:
        query = query.where(AgentRecord.host == agents.host)
    return query


def page(
    query: "ModelSelect[AgentRecord]", after: str | None, limit: int | None
) -> "ModelSelect[AgentRecord]":
    """Cut one keyset page from a query ordered by id."""
    if after is not None:
        query = query.where(AgentRecord.agent_id > after)
    return query if limit is None else query.limit(limit)


def renew(now: datetime) -> ModelUpdate:
    """Renew leases as `leases.renewed` and `leases.deadline` say, returning rows."""
    micros = to_micros(now)
    heard = fn.MAX(AgentRecord.last_heartbeat, micros)
    return AgentRecord.update(
        last_heartbeat=heard,
        expires_at=heard + AgentRecord.ttl_seconds * _SECOND,
    ).returning(AgentRecord)


def count_by_status(now: datetime) -> "ModelSelect[AgentRecord]":
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
        fn.COUNT(SQL("*")).filter(late).alias(Status.LATE),
    )


def delete_expired_chunk(now: datetime, size: int) -> ModelDelete:
    """Delete up to `size` dead agents, longest dead first, and return their rows.

    The deadline is checked again by the DELETE itself: on a database with
    concurrent writers a beat may be committed between its two halves.
    """
    oldest = (
        AgentRecord.select(AgentRecord.agent_id)
        .where(expired(now))
        .order_by(AgentRecord.expires_at)
        .limit(size)
    )
    return (
        AgentRecord.delete()
        .where(AgentRecord.agent_id.in_(oldest) & expired(now))
        .returning(AgentRecord)
    )
