"""A crowd of readers, in one process: `crowd.py HOST PORT COUNT SECONDS`.

Each asks for the whole list, reads the answer, and asks again at once, whatever
the answer was. The last line printed counts the answers by status.
"""

import asyncio
import json
import sys
import time
from collections import Counter

ASK = b"GET /agents HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def main(host: str, port: str, count: str, seconds: str) -> None:
    """Let all of them ask, and tell what they were answered."""
    until = time.monotonic() + float(seconds)
    answers: Counter[int] = Counter()
    readers = (read_on(host, int(port), until, answers) for _ in range(int(count)))
    await asyncio.gather(*readers)
    print(json.dumps(answers))  # noqa: T201 - for who started us


async def read_on(host: str, port: int, until: float, answers: Counter[int]) -> None:
    """Ask again and again on one connection; on a new one when it is closed."""
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        try:
            while time.monotonic() < until:
                writer.write(ASK)
                answers[await read_answer(reader)] += 1
        except (OSError, asyncio.IncompleteReadError):
            answers[0] += 1
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; return its status, 0 if it is a wrong one."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
    left = int(length)
    while left:
        part = await reader.read(min(left, 1 << 16))
        if not part:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(part)
    status = int(head[9:12])
    return 0 if status == 503 and b"retry-after: " not in head.lower() else status


asyncio.run(main(*sys.argv[1:]))
