"""The row: what the registry believes of one agent."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from peewee import (
    SQL,
    CharField,
    Field,
    FieldAccessor,
    FloatField,
    IntegerField,
    Model,
)

from store.clock import utcnow
from store.leases import deadline, is_expired

if TYPE_CHECKING:  # Peewee's fields are generic for type checkers only
    _Instants = Field[datetime]
    _JsonObjects = Field[dict[str, Any]]
else:
    _Instants = _JsonObjects = Field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


#: Writes JSON as it is stored. Made once: json.dumps() makes one for each text.
#: A NaN would pass otherwise, and make every listing that shows it no JSON.
compact_json = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def to_micros(instant: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970-01-01T00:00Z."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC instant of `to_micros`."""
    return _EPOCH + timedelta(microseconds=micros)


class _InstantAccessor(FieldAccessor):
    """Keep every instant on a record aware and in UTC; a naive one is UTC."""

    def __set__(self, instance: Model, value: datetime) -> None:
        if value.tzinfo is not UTC:
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            value = aware.astimezone(UTC)
        super().__set__(instance, value)


class InstantField(_Instants):
    """An instant: integer epoch microseconds in the row, aware UTC in Python.

    Integers compare alike on every database; text and session time zones do not.
    """

    field_type = "BIGINT"
    accessor_class = _InstantAccessor

    def db_value(self, value: datetime | int) -> int:
        """Return what the row stores; an integer is taken as stored already."""
        return to_micros(value) if isinstance(value, datetime) else value

    def python_value(self, value: int) -> datetime:
        """Return the instant of a stored integer."""
        return from_micros(value)


class JsonObjectField(_JsonObjects):
    """A JSON object, stored as compact text.

    Peewee's own JSONField needs its model bound to a database; ours never is.
    """

    field_type = "TEXT"

    def db_value(self, value: dict[str, Any]) -> str:
        """Return the object as compact JSON text.

        Raises:
            ValueError: it has a number that JSON cannot write.
        """
        return compact_json(value)

    def python_value(self, value: str) -> dict[str, Any]:
        """Return the object of the stored text."""
        loaded: dict[str, Any] = json.loads(value)
        return loaded


class AgentRecord(Model):
    """One registered agent and its lease.

    The model is bound to no database, so that several registries fit into one
    process: build queries on it and execute them on a repository's database.
    Built without instants, a record starts its lease now; built without
    `expires_at`, it expires one TTL after `last_heartbeat`.
    """

    #: Who: unique in the registry, chosen by the agent.
    agent_id = CharField(max_length=255, primary_key=True)
    #: What: shared by all agents that do the same work.
    agent_name = CharField(max_length=256)
    #: Where others reach it: a DNS name or an IP literal, and a port.
    host = CharField(max_length=256)
    port = IntegerField()
    #: Seconds a lease lasts after each renewal.
    ttl_seconds = IntegerField(default=60)
    #: Whatever the agent says of itself; at most 4,000 bytes of JSON.
    metadata = JsonObjectField(default=dict)
    #: When the registry last heard the agent.
    last_heartbeat = InstantField(index=True)
    #: When its present life began.
    registered_at = InstantField()
    #: When its lease runs out; indexed, so that a sweep reads what it removes.
    expires_at = InstantField(index=True)
    #: How often its lease was re-armed since the agent was last heard; a re-arm
    #: behind less than a beat interval of listening counts in part.
    rearms = FloatField(default=0)
    #: The principal whose agent it is; empty where nobody is known by name.
    owner = CharField(max_length=64, default="")

    class Meta:
        """The table."""

        table_name = "agents"
        legacy_table_names = False
        # Finding who does some work is the question asked most; an index that no
        # heartbeat touches tells the ids. Those who registered together lie together:
        # in the order of ids each removal changed a page of its own here.
        indexes = ((("agent_name", "registered_at", "agent_id"), False),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in peewee
        super().__init__(*args, **kwargs)
        missing = {"last_heartbeat", "registered_at", "expires_at"} - set(self.__data__)
        if "last_heartbeat" in missing:
            self.last_heartbeat = utcnow()
        if "registered_at" in missing:
            self.registered_at = self.last_heartbeat
        if "expires_at" in missing:
            self.expires_at = deadline(self.last_heartbeat, self.ttl_seconds)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Return a record of all its values, instants in UTC; it keeps the dictionary.

        Past Peewee's constructor, which sets them one by one: 1 us instead of 9.
        """
        record = cls.__new__(cls)
        Model.__init__(record, __no_default__=True)
        record.__data__ = values
        return record

    def values(self) -> dict[str, Any]:
        """Return its values by field, all at once: each attribute takes 0.5 us."""
        return {**self.__data__}

    @property
    def has_beaten(self) -> bool:
        """Whether the agent was heard after it registered."""
        return self.last_heartbeat > self.registered_at

    def is_alive(self, now: datetime | None = None) -> bool:
        """Tell whether the lease is valid at `now`, by default at this moment."""
        return not is_expired(self.expires_at, utcnow() if now is None else now)


# For counting what one owner has; where nobody has a name, it costs nothing.
AgentRecord.add_index(
    AgentRecord.index(AgentRecord.owner, where=AgentRecord.owner != SQL("''"))
)


class ListeningRecord(Model):
    """One row: until when the registry could receive heartbeats, as last stored."""

    #: Since when it listened without a gap.
    resumed_at = InstantField()
    #: When it last did; what happened later is not known.
    listened_at = InstantField()

    class Meta:
        """The table."""

        table_name = "listening"
        legacy_table_names = False


class HoldRecord(Model):
    """One row while the guard holds, and none otherwise."""

    held_since = InstantField()
    hold_until = InstantField()
    level = CharField(max_length=16)
    cap = IntegerField()

    class Meta:
        """The table."""

        table_name = "guard"
        legacy_table_names = False


#: The columns, by name, in the order of the table.
FIELDS: dict[str, Any] = AgentRecord._meta.fields  # noqa: SLF001 - as Peewee documents

#: The columns that are stored in another form than records have: their fields.
_CONVERTED = {
    name: field
    for name, field in FIELDS.items()
    if isinstance(field, InstantField | JsonObjectField)
}


def to_row(record: AgentRecord) -> tuple[Any, ...]:
    """Return the values of a record's row, in the order of the fields."""
    values = {name: record.__data__[name] for name in FIELDS}
    for name, field in _CONVERTED.items():
        values[name] = field.db_value(values[name])
    return tuple(values.values())


def from_row(row: tuple[Any, ...]) -> AgentRecord:
    """Return the record of a row that has every field, in their order."""
    values = dict(zip(FIELDS, row, strict=True))
    for name, field in _CONVERTED.items():
        values[name] = field.python_value(values[name])
    return AgentRecord.of(values)
