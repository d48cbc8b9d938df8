"""Agents that beat, each on a connection of its own: `beating.py HOST PORT COUNT TTL`.

All are held by this process. They register, say so in a first line, and beat every
third of the TTL until a line comes on standard input. The last line counts the answers
by status, and has the latencies of beats since all were registered.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter

#: So many open their connections at once.
AT_ONCE = 100
JSON = "Content-Type: application/json\r\n"


class Beating:
    """A fleet in one process."""

    def __init__(self, host: str, port: int, count: int, ttl_seconds: int) -> None:
        self._where = (host, port)
        self._count = count
        self._ttl_seconds = ttl_seconds
        self._door = asyncio.Semaphore(AT_ONCE)
        self.over = asyncio.Event()
        self.registered = asyncio.Event()
        self.answers: Counter[int] = Counter()
        self.latencies: list[float] = []

    async def live(self, number: int) -> None:
        """Register, and beat until it is over."""
        me = f"agent-{number}"
        body = {"agent_id": me, "agent_name": "beating", "host": "10.0.0.7"}
        content = json.dumps(body | {"port": 80, "ttl_seconds": self._ttl_seconds})
        async with self._door:
            reader, writer = await asyncio.open_connection(*self._where)
            await self._ask(reader, writer, "/agents/register", JSON, content)
        if self.answers[201] == self._count:
            self.registered.set()
        every = self._ttl_seconds / 3
        wait = random.uniform(0, every)  # noqa: S311 - jitter
        while not await self._is_over_within(wait):
            asked = time.monotonic()
            await self._ask(reader, writer, f"/agents/{me}/heartbeat")
            self.latencies.append(time.monotonic() - asked)
            wait = every
        writer.close()

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.over.wait()
        except TimeoutError:
            return False

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: str,
        headers: str = "",
        content: str = "",
    ) -> None:
        length = f"Content-Length: {len(content)}\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n"
        writer.write((head + content).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        left = answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        await reader.readexactly(int(left))
        self.answers[int(answer[9:12])] += 1


async def main(host: str, port: str, count: str, ttl_seconds: str) -> None:
    """Let all of them live, and tell how it went."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fleet = Beating(host, int(port), int(count), int(ttl_seconds))
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as living:
        for number in range(int(count)):
            living.create_task(fleet.live(number))
        await fleet.registered.wait()
        fleet.latencies.clear()
        print("registered", flush=True)  # noqa: T201 - for who started us
        await loop.run_in_executor(None, sys.stdin.readline)
        fleet.over.set()
    ordered = sorted(fleet.latencies)
    told = {
        "answers": fleet.answers,
        "p99": ordered[len(ordered) * 99 // 100],
        "slowest": ordered[-1],
    }
    print(json.dumps(told))  # noqa: T201


asyncio.run(main(*sys.argv[1:]))
