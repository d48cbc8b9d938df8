"""What changes in a fleet from one look to the next: no network, no terminal."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent_registry_client.errors import RegistryError
from agent_registry_client.models import AgentInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change that was seen."""

    #: By this machine's clock.
    at: datetime
    #: "present" (at the first look), "registered", "updated" (describes itself
    #: differently), a status it came to have ("alive", "late", "held", "dead"),
    #: "gone"; and of the registry itself "unreachable", "reachable".
    event: str
    #: As it is now; with "gone", as it was last seen.
    agent: AgentInfo | None = None
    #: Why it is unreachable.
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look showed."""

    #: The last that was seen, also while the registry is away.
    agents: Sequence[AgentInfo]
    #: When that was, on the monotonic clock.
    seen_at: float
    events: Sequence[Event]
    error: RegistryError | None = None


@dataclass(slots=True)
class Watched:
    """A fleet that is looked at again and again."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, AgentInfo] | None = None
    _seen_at: float = 0.0
    _error: RegistryError | None = field(default=None)

    def saw(self, agents: Iterable[AgentInfo]) -> Look:
        """Return what is new."""
        now = _now()
        events = [Event(at=now, event="reachable")] if self._error else []
        before, first = self._known or {}, self._known is None
        self._known = {agent.agent_id: agent for agent in agents}
        for agent_id, agent in self._known.items():
            events.extend(
                Event(at=now, event=what, agent=agent)
                for what in _changes(before.get(agent_id), agent, first=first)
            )
        events.extend(
            Event(at=now, event="gone", agent=agent)
            for agent_id, agent in before.items()
            if agent_id not in self._known
        )
        self._error, self._seen_at = None, self.clock()
        return Look(list(self._known.values()), self._seen_at, events)

    def missed(self, error: RegistryError) -> Look:
        """Return what is known while the registry is away.

        Raises:
            RegistryError: nothing is known yet, or it is of no use to try again.
        """
        if self._known is None or not error.temporary:
            raise error
        events = []
        if self._error is None:
            events.append(Event(at=_now(), event="unreachable", error=str(error)))
        self._error = error
        return Look(list(self._known.values()), self._seen_at, events, error)


def _changes(before: AgentInfo | None, now: AgentInfo, *, first: bool) -> Iterator[str]:
    if before is None:
        yield "present" if first else "registered"
    elif before.registered_at != now.registered_at:
        yield "registered"
    else:
        if _described(before) != _described(now):
            yield "updated"
        if before.status != now.status:
            yield now.status


def _described(agent: AgentInfo) -> tuple[object, ...]:
    return (
        agent.agent_name,
        agent.host,
        agent.port,
        agent.ttl_seconds,
        agent.metadata,
    )


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the client has no store to ask
