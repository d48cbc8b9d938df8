"""What a registry tells, as frozen values.

An answer is read leniently, so that an old client lives with a newer registry:
members that are not known here are left out, and a `status` may be a word that is
not. What is known must have its type.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """What the registry tells of one agent, judged at the moment of its answer."""

    agent_id: str
    #: What it does: shared by all agents that do the same work.
    agent_name: str
    #: A DNS name or an IP address.
    host: str
    port: int
    ttl_seconds: int
    #: Whatever the agent says of itself.
    metadata: Mapping[str, Any] = field(hash=False)
    is_alive: bool
    #: "alive", "late", "held", "dead", or a word that a newer registry uses.
    status: str
    #: Instants are aware, in UTC, and by the registry's clock.
    last_heartbeat: datetime
    expires_at: datetime
    registered_at: datetime
    #: Seconds since `last_heartbeat`, at the moment of the answer.
    age_seconds: float

    @property
    def address(self) -> str:
        """Host and port, as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAgent(AgentInfo):
    """The agent as it now stands, and what registering it did."""

    #: "created", "updated", "unchanged" or "revived".
    outcome: str
    heartbeat_interval_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A lease, as a heartbeat renewed it."""

    agent_id: str
    expires_at: datetime
    ttl_seconds: int
    heartbeat_interval_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRenewal:
    """What one heartbeat for many agents renewed."""

    #: How many leases were renewed.
    renewed: int
    #: Ids that must register again.
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepHealth:
    """How the removal of expired agents goes."""

    interval_seconds: float
    last_finished_at: datetime | None
    age_seconds: float
    removed: int
    runs: int
    failures: int
    last_error: str | None
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardHealth:
    """How the guard against mass expiry stands; but for `held`, None without a hold."""

    #: Number of agents that are held.
    held: int
    since: datetime | None
    #: From when on they are removed, `cap` in each sweep.
    until: datetime | None
    #: "part", "most", "released", or a word that a newer registry uses.
    level: str | None
    cap: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimeHealth:
    """How the time goes by which leases run."""

    #: None while it runs.
    stands_still_at: datetime | None
    cause: str | None
    #: Whether it has stood still for half a minute.
    overdue: bool
    #: How often leases were given their TTL anew since the start, by cause.
    rearms: Mapping[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of a registry; all but `status` only for those who may read it."""

    #: "ok", or the code of what is wrong: "store_unavailable", "sweep_overdue", ...
    status: str = "ok"
    version: str | None = None
    uptime_seconds: float | None = None
    #: Number of agents by status; None also while the store does not answer.
    agents: Mapping[str, int] | None = field(default=None, hash=False)
    #: None also where nothing sweeps.
    sweep: SweepHealth | None = None
    #: None also where nobody is ever held.
    guard: GuardHealth | None = None
    #: None also where leases run by the clock alone.
    lease_time: LeaseTimeHealth | None = None
    #: True where it listens to other machines without authentication or without TLS.
    insecure: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether the registry does its work."""
        return self.status == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a listing."""

    agents: tuple[AgentInfo, ...]
    #: What to ask for to get the next page; None when this is the last.
    next_cursor: str | None


@cache
def _hints(kind: type) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(found.name, hints[found.name]) for found in fields(kind)]


def read(kind: Any, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return `value`, as `json` decoded it, as a `kind`.

    Raises:
        TypeError, ValueError: it is none.
    """
    if is_dataclass(kind):
        return _read_members(kind, value)
    origin = get_origin(kind)
    if origin is UnionType:
        return None if value is None else read(get_args(kind)[0], value)
    if origin is tuple:
        return tuple(read(get_args(kind)[0], item) for item in read(list, value))
    if origin is Mapping:
        return _read_mapping(get_args(kind)[1], read(dict, value))
    if kind is datetime:
        return datetime.fromisoformat(value)
    return _read_plain(kind, value)


def _read_members(kind: Any, value: Any) -> Any:  # noqa: ANN401 - as `read`
    members = {
        name: read(hint, value[name]) for name, hint in _hints(kind) if name in value
    }
    return kind(**members)


def _read_mapping(kind: Any, told: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as `read`
    if kind is Any:
        return told
    return {key: read(kind, member) for key, member in told.items()}


def _read_plain(kind: Any, value: Any) -> Any:  # noqa: ANN401 - as `read`
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise TypeError(f"not of type {kind}")
    if kind is float and not math.isfinite(value):
        raise ValueError("no number of JSON")  # which `json` takes for one
    return value
