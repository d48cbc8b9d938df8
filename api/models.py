"""What goes over the wire: the request that registers, and what is told of agents."""

import ipaddress
import json
import re
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from starlette.responses import Response

from store import AgentRecord, Outcome, Registration
from store.leases import Status, heartbeat_interval_seconds, status

#: Every id that can be registered can be reached by its path.
AGENT_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:~-]{0,254}$"
MAX_METADATA_BYTES = 4_000
MAX_METADATA_KEYS = 64
MAX_METADATA_KEY_LENGTH = 128
MAX_HOST_LENGTH = 253

_AGENT_ID = re.compile(AGENT_ID_PATTERN.rstrip("$") + r"\Z")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_agent_id(text: str) -> bool:
    """Tell whether `text` could be an agent's id."""
    return _AGENT_ID.match(text) is not None


def _printable(name: str) -> str:
    if _CONTROL.search(name):
        raise ValueError("must have no control characters")
    return name


def _host(host: str) -> str:
    if not _is_ip_literal(host) and not _is_dns_name(host):
        raise ValueError(
            f"must be a DNS name of at most {MAX_HOST_LENGTH} characters or an IP "
            "address, without scheme, port or brackets"
        )
    return host


def _is_ip_literal(host: str) -> bool:
    if "%" in host:  # a zone means something on one machine only
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_dns_name(host: str) -> bool:
    labels = host.split(".")
    return (
        len(host) <= MAX_HOST_LENGTH
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()  # 10.0.0.300 is a mistyped address
    )


def _metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(metadata) > MAX_METADATA_KEYS:
        raise ValueError(f"must have at most {MAX_METADATA_KEYS} keys")
    if any(len(key) > MAX_METADATA_KEY_LENGTH for key in metadata):
        raise ValueError(
            f"must have keys of at most {MAX_METADATA_KEY_LENGTH} characters"
        )
    compact = json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)
    if len(compact.encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES} bytes as JSON")
    return metadata


AgentId = Annotated[
    str,
    Field(
        description="Who: chosen by the agent, unique in the registry.",
        examples=["summariser-1"],
        json_schema_extra={"pattern": AGENT_ID_PATTERN},
    ),
]


def wire_instant(instant: datetime) -> str:
    """Return a UTC instant as RFC 3339 with Z, always to the microsecond."""
    return instant.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


Instant = Annotated[
    datetime,
    PlainSerializer(wire_instant, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "examples": ["2026-11-22T15:45:00.000000Z"],
        }
    ),
]


class TtlLimits(NamedTuple):
    """What TTLs a registry grants, in seconds; both bounds are allowed."""

    default_seconds: int = 60
    min_seconds: int = 1
    max_seconds: int = 86_400


def json_response(
    body: bytes | str, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Answer with a body that is JSON already."""
    return Response(body, status, headers, media_type="application/json")


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
    agent_name: Annotated[str, AfterValidator(_printable)] = Field(
        min_length=1,
        max_length=256,
        description="What: shared by all agents that do the same work.",
    )
    host: Annotated[str, AfterValidator(_host)] = Field(
        min_length=1,
        max_length=MAX_HOST_LENGTH,
        description="Where: a DNS name or an IP address. Never connected to.",
    )
    port: int = Field(ge=1, le=65535)
    ttl_seconds: int = Field(
        default=60,
        # The registry's own bounds are checked, and told, where they are known.
        json_schema_extra={"minimum": 1},
        description="Seconds the lease lasts after each heartbeat. The registry's "
        "configuration sets the default and the bounds.",
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] = Field(
        default={},
        description="Whatever the agent says of itself: at most "
        f"{MAX_METADATA_BYTES} bytes, {MAX_METADATA_KEYS} keys, 20 levels.",
    )


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
        "without a beat; dead: the lease has run out."
    )
    last_heartbeat: Instant
    expires_at: Instant = Field(description="When the lease runs out.")
    registered_at: Instant = Field(description="When the agent's present life began.")
    age_seconds: float = Field(description="Seconds since the last heartbeat.")

    @classmethod
    def of(cls, record: AgentRecord, now: datetime, **more: Any) -> Self:  # noqa: ANN401 - a subclass's own fields
        """Tell of `record` as it is at `now`."""
        judged = status(
            last_heartbeat=record.last_heartbeat,
            ttl_seconds=record.ttl_seconds,
            expires_at=record.expires_at,
            now=now,
        )
        age = (now - record.last_heartbeat).total_seconds()
        return cls.model_construct(
            agent_id=record.agent_id,
            agent_name=record.agent_name,
            host=record.host,
            port=record.port,
            ttl_seconds=record.ttl_seconds,
            metadata=record.metadata,
            is_alive=judged is not Status.DEAD,
            status=judged,
            last_heartbeat=record.last_heartbeat,
            expires_at=record.expires_at,
            registered_at=record.registered_at,
            age_seconds=max(0.0, age),
            **more,
        )


class RegistrationAnswer(AgentInfo):
    """The agent as it now stands, and what registering it did."""

    outcome: Outcome
    heartbeat_interval_seconds: float = Field(
        description="Seconds to wait between two heartbeats: a third of the TTL."
    )

    @classmethod
    def to(cls, registration: Registration, now: datetime) -> Self:
        """Answer `registration`."""
        record = registration.record
        return cls.of(
            record,
            now,
            outcome=registration.outcome,
            heartbeat_interval_seconds=heartbeat_interval_seconds(record.ttl_seconds),
        )


class HeartbeatAnswer(BaseModel):
    """The lease as the heartbeat renewed it."""

    agent_id: AgentId
    expires_at: Instant = Field(description="When the renewed lease runs out.")
    ttl_seconds: int
    heartbeat_interval_seconds: float = Field(
        description="Seconds to wait before the next heartbeat."
    )

    @classmethod
    def to(cls, record: AgentRecord) -> Self:
        """Answer the heartbeat that left `record` behind."""
        return cls.model_construct(
            agent_id=record.agent_id,
            expires_at=record.expires_at,
            ttl_seconds=record.ttl_seconds,
            heartbeat_interval_seconds=heartbeat_interval_seconds(record.ttl_seconds),
        )
