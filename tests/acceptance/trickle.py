"""A crowd that never gets to the end: `trickle.py HOST PORT COUNT SECONDS EVERY`.

Each connects from one of a few addresses, begins a request, and sends one more byte of
it EVERY so often, to look alive. The last line printed tells how many were closed by
the registry within so many SECONDS, with which answers, and at what age at most.
"""

import asyncio
import json
import resource
import sys
import time
from collections import Counter

ADDRESSES = 20
HEAD = b"POST /agents/register HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
#: Connecting all at once would drop some at the kernel's queue.
AT_ONCE = 200


async def main(host: str, port: str, count: str, seconds: str, every: str) -> None:
    """Let all of them trickle, and tell how they ended."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    door = asyncio.Semaphore(AT_ONCE)
    until = time.monotonic() + float(seconds)
    crowd = (
        trickle((host, int(port)), source(number), door, until, float(every))
        for number in range(int(count))
    )
    ends = await asyncio.gather(*crowd)
    ages = [age for age, _ in ends if age is not None]
    answers = Counter(answer for _, answer in ends)
    told = {"closed": len(ages), "oldest": max(ages, default=0), "answers": answers}
    print(json.dumps(told))  # noqa: T201 - for who started us


def source(number: int) -> tuple[str, int]:
    """Return the address that one of the crowd comes from."""
    return f"127.0.1.{1 + number % ADDRESSES}", 0


async def trickle(
    where: tuple[str, int],
    source: tuple[str, int],
    door: asyncio.Semaphore,
    until: float,
    every: float,
) -> tuple[float | None, str]:
    """Send byte after byte; return at what age it was closed, and the answer."""
    answer = b""
    async with door:
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(*where, local_addr=source)
        except OSError:
            return None, "refused"
    try:
        writer.write(HEAD)
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(every):
                    part = await reader.read(4096)
            except TimeoutError:
                writer.write(b"x")
                continue
            if not part:
                return time.monotonic() - began, answer[9:12].decode()
            answer += part
    except OSError:
        return time.monotonic() - began, answer[9:12].decode()
    finally:
        writer.close()
    return None, "open"


asyncio.run(main(*sys.argv[1:]))
