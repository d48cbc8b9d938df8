"""Callers, in one process: `callers.py HOST PORT COUNT`, until standard input ends.

Each connects anew for each call, beats for the agent `called`, reads the answer, and
calls again, whatever came of it: nothing is tried twice. The first line printed tells
that they are at it. The last one counts what became of the calls, and has the longest
that one took, with its connection.
"""

import asyncio
import json
import sys
import time
from collections import Counter

BEAT = b"POST /agents/called/heartbeat HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: So many are answered before the first line.
AT_IT = 100
#: Between two calls of a caller, which leaves the machine time to restart a daemon.
PAUSE_SECONDS = 0.01


async def main(host: str, port: str, count: str) -> None:
    """Let all of them call until told to end, and tell how they fared."""
    fared = Counter(answered=0, refused=0, broken=0)
    slowest_seconds = 0.0
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)

    async def keep_calling() -> None:
        nonlocal slowest_seconds
        while not over.is_set():
            began = time.monotonic()
            outcome = await call(host, int(port))
            fared[outcome] += 1
            if outcome == "answered" and fared[outcome] == AT_IT:
                print("calling", flush=True)  # noqa: T201 - for who started us
            slowest_seconds = max(slowest_seconds, time.monotonic() - began)
            await asyncio.sleep(PAUSE_SECONDS)

    await asyncio.gather(*(keep_calling() for _ in range(int(count))))
    told = dict(fared) | {"slowest_seconds": slowest_seconds}
    print(json.dumps(told))  # noqa: T201 - as above


async def call(host: str, port: int) -> str:
    """Make one call; return what became of it."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return "refused"
    try:
        writer.write(BEAT)
        head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError):
        return "broken"
    finally:
        writer.close()
    return "answered" if head[9:12] == b"200" else head[9:12].decode()


asyncio.run(main(*sys.argv[1:]))
