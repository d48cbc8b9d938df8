"""The shapes that go over the wire: what is asked, and what is told."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Self

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    model_validator,
)
from starlette.responses import Response

from api.grammar import (
    AGENT_ID_PATTERN,
    HOST_SCHEMA,
    MAX_BULK_HEARTBEATS,
    MAX_HOST_LENGTH,
    MAX_METADATA_BYTES,
    MAX_METADATA_KEYS,
    METADATA_SCHEMA,
    NAME_SCHEMA,
    AgentId,
    Instant,
    check_host,
    check_members,
    check_metadata,
    check_name,
    wire_instant,
)
from store import AgentView, Lease, Outcome, Registration
from store.leases import Status, heartbeat_interval_seconds


def json_response(
    body: bytes | str, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Answer with a body that is JSON already."""
    return Response(body, status, headers, media_type="application/json")


class TtlLimits(NamedTuple):
    """What TTLs a registry grants, in seconds; both bounds are allowed."""

    default_seconds: int = 60
    min_seconds: int = 1
    max_seconds: int = 86_400


class AgentRegistrationRequest(BaseModel):
    """The complete description of an agent that registers."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "agent_id": "summariser-1",
                    "agent_name": "Summariser",
                    "host": "10.0.0.7",
                    "port": 8001,
                    "ttl_seconds": 60,
                    "metadata": {"skills": ["summarise", "translate"]},
                }
            ]
        },
    )

    agent_id: Annotated[AgentId, Field(pattern=AGENT_ID_PATTERN)]
    agent_name: Annotated[str, AfterValidator(check_name)] = Field(
        min_length=1,
        max_length=256,
        description="What: shared by all agents that do the same work.",
        json_schema_extra=NAME_SCHEMA,
    )
    host: Annotated[str, AfterValidator(check_host)] = Field(
        min_length=1,
        max_length=MAX_HOST_LENGTH,
        description="Where: a DNS name or an IP address. Never connected to.",
        json_schema_extra=HOST_SCHEMA,
    )
    port: int = Field(ge=1, le=65535)
    ttl_seconds: int = Field(
        default=60,
        # The registry's own bounds are checked, and told, where they are known.
        description="Seconds the lease lasts after each heartbeat. The registry's "
        "configuration sets the default and the bounds.",
    )
    metadata: Annotated[dict[str, Any], AfterValidator(check_metadata)] = Field(
        default={},
        description="Whatever the agent says of itself: at most "
        f"{MAX_METADATA_BYTES} bytes, {MAX_METADATA_KEYS} keys, 20 levels.",
        json_schema_extra=METADATA_SCHEMA,
    )

    _few_members = model_validator(mode="before")(check_members)


class AgentInfo(BaseModel):
    """What the registry tells of one agent, judged at the moment of the answer."""

    agent_id: AgentId
    agent_name: str
    host: str
    port: int
    ttl_seconds: int
    metadata: dict[str, Any]
    is_alive: bool = Field(description="True for alive and late.")
    status: Status = Field(
        description="alive; late: the lease is valid, but two beat intervals passed "
        "without a beat; held: it has run out, with suspiciously many others, and "
        "the agent is not removed yet; dead: it has run out."
    )
    last_heartbeat: Instant
    expires_at: Instant = Field(description="When the lease runs out.")
    registered_at: Instant = Field(description="When the agent's present life began.")
    age_seconds: float = Field(description="Seconds since the last heartbeat.")

    @classmethod
    def of(cls, view: AgentView) -> Self:
        """Tell of an agent as it was judged."""
        return cls.model_construct(**_told(view))


class RegistrationAnswer(AgentInfo):
    """The agent as it now stands, and what registering it did."""

    outcome: Outcome
    heartbeat_interval_seconds: float = Field(
        description="Seconds to wait between two heartbeats: a third of the TTL."
    )

    @staticmethod
    def render(registration: Registration, now: datetime) -> bytes:
        """Return the answer as JSON, byte for byte as the model's own dump."""
        record = registration.record
        told = _told(AgentView(record, Status.ALIVE, now))
        told["outcome"] = registration.outcome
        told["heartbeat_interval_seconds"] = heartbeat_interval_seconds(
            record.ttl_seconds
        )
        return orjson.dumps(
            told, default=wire_instant, option=orjson.OPT_PASSTHROUGH_DATETIME
        )


def _told(view: AgentView) -> dict[str, Any]:
    """Return the fields of AgentInfo, in their order."""
    record, judged, now = view
    values = record.values()
    age = (now - values["last_heartbeat"]).total_seconds()
    return {
        "agent_id": values["agent_id"],
        "agent_name": values["agent_name"],
        "host": values["host"],
        "port": values["port"],
        "ttl_seconds": values["ttl_seconds"],
        "metadata": values["metadata"],
        "is_alive": judged in (Status.ALIVE, Status.LATE),
        "status": judged,
        "last_heartbeat": values["last_heartbeat"],
        "expires_at": values["expires_at"],
        "registered_at": values["registered_at"],
        "age_seconds": max(0.0, age),
    }


class HeartbeatAnswer(BaseModel):
    """The lease as the heartbeat renewed it."""

    agent_id: AgentId
    expires_at: Instant = Field(description="When the renewed lease runs out.")
    ttl_seconds: int
    heartbeat_interval_seconds: float = Field(
        description="Seconds to wait before the next heartbeat."
    )

    @staticmethod
    def render(agent_id: str, lease: Lease) -> bytes:
        """Return the answer as JSON; the grammar of ids needs no escaping."""
        return b'{"agent_id":"%b",%b' % (agent_id.encode(), _rendered(lease))


@lru_cache(maxsize=1024)
def _rendered(lease: Lease) -> bytes:
    # Agents of one TTL that beat in one batch share their deadline.
    interval = heartbeat_interval_seconds(lease.ttl_seconds)
    return (
        f'"expires_at":"{wire_instant(lease.expires_at)}",'
        f'"ttl_seconds":{lease.ttl_seconds},"heartbeat_interval_seconds":{interval}}}'
    ).encode()


class BulkHeartbeat(BaseModel):
    """The agents that one node beats for."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"agent_ids": ["summariser-1", "gone-7"]}]},
    )

    # The first wrong one is told: each of 10,000 would be an error of its own.
    agent_ids: Annotated[
        list[Annotated[AgentId, Field(pattern=AGENT_ID_PATTERN)]], FailFast()
    ] = Field(
        max_length=MAX_BULK_HEARTBEATS,
        description="Whose leases to renew; one named twice counts once.",
    )

    _few_members = model_validator(mode="before")(check_members)


class BulkHeartbeatAnswer(BaseModel):
    """What a bulk heartbeat renewed."""

    renewed: int = Field(description="Number of agents whose lease was renewed.")
    unknown: list[str] = Field(description="Ids that must register again.")
