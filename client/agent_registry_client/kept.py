"""An agent that is kept registered: who it is, and how it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from agent_registry_client import calls
from agent_registry_client.errors import RegistryError
from agent_registry_client.models import RegisteredAgent

#: What the registry grants an agent that names no TTL, unless it is configured else.
DEFAULT_TTL_SECONDS = 60

#: A beat interval is within these, whatever anybody asks for: 3e10 seconds are more
#: than a thread can wait, and 1e-9 would be a storm.
SHORTEST_INTERVAL_SECONDS = 0.1
LONGEST_INTERVAL_SECONDS = 86_400.0


class State(StrEnum):
    """How an agent stands with the registry, as far as its keeper knows."""

    #: Not registered yet, or not any more; about to be.
    JOINING = "joining"
    #: The last call for it succeeded.
    REGISTERED = "registered"
    #: Calls fail by the registry's or the network's fault; tried again and again.
    RETRYING = "retrying"
    #: The registry says no; tried again every interval, but somebody must mend it.
    REFUSED = "refused"
    #: This process was forked from the one that keeps it, and does nothing for it.
    INHERITED = "inherited"
    #: Not kept any more.
    LEFT = "left"


class Turn(IntEnum):
    """Who comes first when several are due."""

    #: The last call for it succeeded: it has a lease to lose.
    WELL = 0
    #: It is new, or forgotten, or was named in a call that failed.
    IN_DOUBT = 1
    #: It was refused when it was alone in its call.
    REFUSED = 2


class Change(NamedTuple):
    """An agent's change of state."""

    agent_id: str
    before: State
    after: State
    #: Why, when something went wrong.
    error: RegistryError | None


@dataclass(slots=True, eq=False)
class Kept:
    """An agent that is kept; written by its keeper alone, read by anyone."""

    agent_id: str
    host: str
    #: Written as JSON already: what the program does to its metadata later cannot
    #: spoil it.
    registration: calls.Call[RegisteredAgent]
    interval_seconds: float
    state: State = State.JOINING
    last_error: RegistryError | None = None
    #: When the registry last said yes, on the keeper's clock.
    acknowledged_at: float | None = None
    #: The registry knows it, as far as we heard.
    known: bool = False
    #: It may be listed: a registration was sent that was not refused.
    perhaps_listed: bool = False
    #: With how many it may share a beat, itself included: see `Keeper`.
    company: int = calls.MAX_BULK
    turn: Turn = Turn.IN_DOUBT
    due_at: float = 0.0

    def inherit(self) -> None:
        """Belong to the process that this one was forked from."""
        self.state = State.INHERITED
        self.known = self.perhaps_listed = False


def kept_agent(agent_id: str, description: Mapping[str, Any]) -> Kept:
    """Return an agent to keep; `description` has the other arguments of `register`.

    Raises:
        ValueError, TypeError: it cannot be written as JSON, or named in a path.
    """
    calls.deregister(agent_id)
    registration = calls.register(agent_id, **description)
    ttl_seconds = description.get("ttl_seconds") or DEFAULT_TTL_SECONDS
    if ttl_seconds < 0:  # it will be refused, every interval
        ttl_seconds = DEFAULT_TTL_SECONDS
    interval_seconds = bounded(min(ttl_seconds, 3 * LONGEST_INTERVAL_SECONDS) / 3)
    return Kept(agent_id, description["host"], registration, interval_seconds)


def bounded(interval_seconds: float) -> float:
    """Return the interval, within its bounds."""
    longest = min(interval_seconds, LONGEST_INTERVAL_SECONDS)
    return max(SHORTEST_INTERVAL_SECONDS, longest)
