"""The client for asyncio programs: the same names, to be awaited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Self, TypeVar

from agent_registry_client import calls, endings
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
from agent_registry_client.registration import RegistrationBase
from agent_registry_client.threads import in_background

T = TypeVar("T")


class AsyncRegistration(RegistrationBase):
    """Keeps an agent registered inside an `async with`, or from `start` to `leave`.

    A thread beats, so that a loop that is busy is not taken for dead; a task that is
    cancelled, and even a loop that is closed, does not stop the goodbye.
    """

    async def start(self) -> Self:
        """Register, and keep the agent registered in the background.

        Waits for the first attempt, no longer than the client's timeout. A registry
        that is away, or answers nonsense, is tried again in the background.

        Raises:
            RegistryProblem: the registry refuses the agent.
            ValueError: this client keeps an agent of this id already.
        """
        attempted = self._begin()
        try:
            await _wait(attempted, self._keeping.transport.timeout_seconds)
            self._check()
        except BaseException:
            await self.leave()
            raise
        return self

    async def leave(self) -> None:
        """Deregister; returns within a second, and raises nothing. May be repeated."""
        await _wait(self._finish(), endings.LEAVE_SECONDS)
        endings.let_go_of_sigterm()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.leave()


async def _wait(future: "Future[None]", seconds: float | None) -> None:
    # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.wrap_future(future)


class AsyncAgentRegistryClient(RegistryClientBase):
    """Speaks with a registry from asyncio; bound to no loop, usable after a fork.

    Calls run in threads of their own, so that none blocks the loop. A task that is
    cancelled stops waiting at once; whether its call was heard is not known.

    Arguments and errors are those of `AgentRegistryClient`, where they are described.
    """

    async def register(
        self,
        agent_id: str,
        *,
        agent_name: str,
        host: str,
        port: int,
        ttl_seconds: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RegisteredAgent:
        """Make this the complete registration of an agent, and renew its lease."""
        self._keeping.doubts.look_at(agent_id, host)
        return await self._send(
            calls.register(
                agent_id,
                agent_name=agent_name,
                host=host,
                port=port,
                ttl_seconds=ttl_seconds,
                metadata=metadata,
            )
        )

    async def heartbeat(self, agent_id: str) -> Renewal:
        """Renew the lease of an agent."""
        return await self._send(calls.heartbeat(agent_id))

    async def heartbeat_all(self, agent_ids: Iterable[str]) -> BulkRenewal:
        """Renew the leases of up to 10,000 agents, at one instant."""
        return await self._send(calls.heartbeat_all(agent_ids))

    async def agents(
        self,
        *,
        name: str | None = None,
        host: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        include_dead: bool = False,
    ) -> tuple[AgentInfo, ...]:
        """List the agents that match all that is given, ordered by id: one snapshot."""
        page = await self._send(
            calls.agents(
                name=name, host=host, metadata=metadata, include_dead=include_dead
            )
        )
        return page.agents

    async def iter_agents(
        self,
        *,
        name: str | None = None,
        host: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        include_dead: bool = False,
        page_size: int = 1000,
    ) -> AsyncIterator[AgentInfo]:
        """Iterate over the same agents page by page: for fleets of many thousands."""
        cursor: str | None = None
        while True:
            page: Page = await self._send(
                calls.agents(
                    name=name,
                    host=host,
                    metadata=metadata,
                    include_dead=include_dead,
                    limit=page_size,
                    cursor=cursor,
                )
            )
            for agent in page.agents:
                yield agent
            if (cursor := page.next_cursor) is None:
                return

    async def discover(
        self,
        *,
        name: str | None = None,
        host: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        max_age_seconds: float = 0.0,
    ) -> Discovered:
        """List the agents that match, from a local copy when the registry is away."""
        call = calls.agents(name=name, host=host, metadata=metadata)
        copy = self._copies.of(call.target)
        if not copy.serves(max_age_seconds):
            question = partial(self._transport.send, call)
            await _wait(copy.ask(question), copy.patience_seconds)
        return copy.tell()

    async def get(self, agent_id: str) -> AgentInfo:
        """Tell of one agent, dead or alive."""
        return await self._send(calls.get(agent_id))

    async def deregister(self, agent_id: str) -> None:
        """Remove an agent."""
        return await self._send(calls.deregister(agent_id))

    async def health(self) -> Health:
        """Tell how the registry is. That it is unwell is an answer, not an error."""
        return await self._send(calls.health())

    async def metrics(self) -> str:
        """Tell the registry's numbers in Prometheus' text format."""
        return await self._send(calls.metrics())

    async def release_guard(self) -> None:
        """Let go of the agents that the guard against mass expiry holds."""
        return await self._send(calls.release_guard())

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
    ) -> AsyncRegistration:
        """Return what keeps an agent registered while its `async with` is entered."""
        described = {
            "agent_name": agent_name,
            "host": host,
            "port": port,
            "ttl_seconds": ttl_seconds,
            "metadata": metadata,
        }
        return AsyncRegistration(
            self._keeping,
            agent_id,
            described,
            on_change,
            hold_sigterm=self._hold_sigterm,
        )

    async def close(self) -> None:
        """Deregister what is kept, and close idle connections. May be repeated."""
        await asyncio.wrap_future(in_background(self._keeping.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: calls.Call[T]) -> T:
        sending = in_background(self._transport.send, call)
        return await asyncio.wrap_future(sending)
