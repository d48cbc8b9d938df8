"""The client for programs with threads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Self, TypeVar

from agent_registry_client import calls
from agent_registry_client.base import RegistryClientBase
from agent_registry_client.discovery import Discovered
from agent_registry_client.kept import Change
from agent_registry_client.models import (
    AgentInfo,
    BulkRenewal,
    Health,
    Page,
    RegisteredAgent,
    Renewal,
)
from agent_registry_client.registration import Registration
from agent_registry_client.threads import wait

T = TypeVar("T")


class AgentRegistryClient(RegistryClientBase):
    """Speaks with a registry; may be shared by threads, and used after a fork.

    Every call may raise `Unreachable`, `NotARegistry`, or the `RegistryProblem` that
    the registry answered. Every call may be repeated.
    """

    def register(
        self,
        agent_id: str,
        *,
        agent_name: str,
        host: str,
        port: int,
        ttl_seconds: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RegisteredAgent:
        """Make this the complete registration of an agent, and renew its lease.

        It has to be renewed by `heartbeat`; `registered` sees to that by itself. A
        host that others cannot reach is warned of, in the log.

        Args:
            agent_id: Who: unique in the registry.
            agent_name: What: shared by all agents that do the same work.
            host: Where others reach it: a DNS name or an IP address.
            port: From 1 to 65535.
            ttl_seconds: How long the lease lasts; by default what the registry grants.
            metadata: JSON: at most 4,000 bytes, 64 keys.

        Raises:
            InvalidRequest: see its `errors`.
        """
        self._keeping.doubts.look_at(agent_id, host)
        return self._send(
            calls.register(
                agent_id,
                agent_name=agent_name,
                host=host,
                port=port,
                ttl_seconds=ttl_seconds,
                metadata=metadata,
            )
        )

    def heartbeat(self, agent_id: str) -> Renewal:
        """Renew the lease of an agent.

        Raises:
            AgentNotFound: it has to register again.
        """
        return self._send(calls.heartbeat(agent_id))

    def heartbeat_all(self, agent_ids: Iterable[str]) -> BulkRenewal:
        """Renew the leases of up to 10,000 agents, at one instant."""
        return self._send(calls.heartbeat_all(agent_ids))

    def agents(
        self,
        *,
        name: str | None = None,
        host: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        include_dead: bool = False,
    ) -> tuple[AgentInfo, ...]:
        """List the agents that match all that is given, ordered by id: one snapshot.

        Args:
            name: Exactly this `agent_name`.
            host: Exactly this host.
            metadata: These values under these keys; where an agent has an array, it
                holds this value.
            include_dead: Also those whose lease has run out, while not yet removed.
        """
        return self._send(
            calls.agents(
                name=name, host=host, metadata=metadata, include_dead=include_dead
            )
        ).agents

    def iter_agents(
        self,
        *,
        name: str | None = None,
        host: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        include_dead: bool = False,
        page_size: int = 1000,
    ) -> Iterator[AgentInfo]:
        """Iterate over the same agents page by page: for fleets of many thousands.

        Each page tells of its own moment.
        """
        cursor: str | None = None
        while True:
            page: Page = self._send(
                calls.agents(
                    name=name,
                    host=host,
                    metadata=metadata,
                    include_dead=include_dead,
                    limit=page_size,
                    cursor=cursor,
                )
            )
            yield from page.agents
            if (cursor := page.next_cursor) is None:
                return

    def discover(
        self,
        *,
        name: str | None = None,
        host: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        max_age_seconds: float = 0.0,
    ) -> Discovered:
        """List the agents that match, from a local copy when the registry is away.

        The copy also answers, without asking, while it is younger than
        `max_age_seconds`, and for a moment after each failure; and while the registry
        takes longer than a second. An empty answer after a full one is believed when
        it is repeated a beat interval later.

        Raises:
            RegistryError: the registry is away, and never answered this before.
        """
        call = calls.agents(name=name, host=host, metadata=metadata)
        copy = self._copies.of(call.target)
        if not copy.serves(max_age_seconds):
            question = partial(self._transport.send, call)
            wait(copy.ask(question), copy.patience_seconds)
        return copy.tell()

    def get(self, agent_id: str) -> AgentInfo:
        """Tell of one agent, dead or alive.

        Raises:
            AgentNotFound: there is none.
        """
        return self._send(calls.get(agent_id))

    def deregister(self, agent_id: str) -> None:
        """Remove an agent.

        Raises:
            AgentNotFound: there is none; or it is gone, and the first answer was lost.
        """
        return self._send(calls.deregister(agent_id))

    def health(self) -> Health:
        """Tell how the registry is. That it is unwell is an answer, not an error."""
        return self._send(calls.health())

    def metrics(self) -> str:
        """Tell the registry's numbers in Prometheus' text format."""
        return self._send(calls.metrics())

    def release_guard(self) -> None:
        """Let go of the agents that the guard against mass expiry holds."""
        return self._send(calls.release_guard())

    def registered(  # noqa: PLR0913 - the fields of a registration
        self,
        agent_id: str,
        *,
        agent_name: str,
        host: str,
        port: int,
        ttl_seconds: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_change: Callable[[Change], object] | None = None,
    ) -> Registration:
        """Return what keeps an agent registered while its `with` is entered.

        Registers, beats in the background, registers again when the registry forgot
        the agent, survives a registry that is away, and deregisters at the end.

        Args:
            agent_id: Who: unique in the registry, so one for each process.
            agent_name: What: shared by all agents that do the same work.
            host: Where others reach it; a host that they cannot reach is warned of.
            port: From 1 to 65535.
            ttl_seconds: How long the lease lasts; by default what the registry grants.
            metadata: JSON: at most 4,000 bytes, 64 keys.
            on_change: Called with each change of state, in a thread of its own; it
                may take its time, and what it raises is logged.

        Raises:
            ValueError, TypeError: the id or the metadata cannot be sent.
        """
        described = {
            "agent_name": agent_name,
            "host": host,
            "port": port,
            "ttl_seconds": ttl_seconds,
            "metadata": metadata,
        }
        return Registration(
            self._keeping,
            agent_id,
            described,
            on_change,
            hold_sigterm=self._hold_sigterm,
        )

    def close(self) -> None:
        """Deregister what is kept, and close idle connections. May be repeated."""
        self._keeping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: calls.Call[T]) -> T:
        return self._transport.send(call)
