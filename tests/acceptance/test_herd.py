"""A whole fleet at once, at a registry that knows none of it any more."""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

TTL = 60
#: Where the fleet comes from: fewer than there are agents, as behind proxies.
ADDRESSES = 100


class Agent:
    """One agent, which beats, and registers when it is told that it is unknown."""

    def __init__(self, number: int) -> None:
        self._id = f"agent-{number}"
        self._source = (f"127.0.2.{1 + number % ADDRESSES}", 0)
        self.answers: list[int] = []

    async def come_back(self, host: str, port: int) -> None:
        """Beat until the registry knows this agent; connect again when cut off."""
        while self.answers[-1:] != [200]:
            # The oldest that has not asked makes room when too many connect at once.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(
                    host, port, local_addr=self._source
                )
                try:
                    await self._come_back(reader, writer)
                finally:
                    writer.close()
                    await writer.wait_closed()

    async def _come_back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while (status := await self._ask(reader, writer)) != 200:
            if status == 503:
                await asyncio.sleep(random.uniform(0, 2))  # noqa: S311 - jitter

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> int:
        body, path = "", f"/agents/{self._id}/heartbeat"
        if self.answers and self.answers[-1] == 404:
            path = "/agents/register"
            body = json.dumps(
                {
                    "agent_id": self._id,
                    "agent_name": "agent",
                    "host": "10.0.0.7",
                    "port": 80,
                    "ttl_seconds": TTL,
                }
            )
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Content-Type: application/json\r\n\r\n{body}".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line.split(b":")[1])
            for line in head.lower().splitlines()
            if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        self.answers.append(int(head.split()[1]))
        return self.answers[-1]


@pytest.mark.parametrize(
    "count", [2_000, pytest.param(10_000, marks=pytest.mark.torture)]
)
def test_a_fleet_comes_back_at_once_to_an_empty_database(
    start_daemon: Callable[..., Any], count: int
) -> None:
    """All are back within a TTL; nobody is told anything but to wait a little."""
    before = start_daemon()
    before.stop(signal.SIGKILL)
    for file in before.database.parent.glob("agent-registry.db*"):
        file.unlink()
    daemon = start_daemon()
    agents = [Agent(number) for number in range(count)]

    async def herd() -> None:
        async with asyncio.timeout(TTL):
            await asyncio.gather(
                *(agent.come_back(daemon.host, daemon.port) for agent in agents)
            )

    asyncio.run(herd())

    statuses = Counter(status for agent in agents for status in agent.answers)
    assert statuses.keys() <= {200, 201, 404, 503}
    assert statuses[201] == statuses[200] == count
    assert len(daemon.agents()) == count
