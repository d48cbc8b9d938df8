"""The agents of a benchmark: their descriptions, their requests, their databases."""

import json
import random
import shutil
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from bench.servers import DATABASE
from bench.servers.naive import fill as fill_naive
from store import AgentRecord, create_storage_backend
from store.clock import utcnow

#: Longer than any benchmark: nobody expires who is not meant to.
_LONG_TTL_SECONDS = 86_400
#: A database is copied as its server writes it, in small pieces. What is written at
#: once lies in large folios of the kernel's cache (ext4, Linux 6.18): a scattered page
#: then takes 40 us to write, not 6, and more than twice in the fsync.
_PIECE_BYTES = 4096
#: Registrations under way at a time while a database is filled.
_IN_FLIGHT = 1_000


def ids(count: int) -> list[str]:
    """Return the ids of a fleet in shuffled order, the same in every run."""
    numbers = list(range(count))
    random.Random(count).shuffle(numbers)  # noqa: S311 - no secret
    return [f"agent-{number:07d}" for number in numbers]


def described(agent_id: str) -> dict[str, Any]:
    """Return one agent as it registers."""
    return {
        "agent_id": agent_id,
        "agent_name": f"Summariser {agent_id[-2:]}",
        "host": "10.0.0.7",
        "port": 8001,
        "ttl_seconds": _LONG_TTL_SECONDS,
        "metadata": {"zone": "eu-1", "skills": ["summarise", "translate"]},
    }


def request(method: str, path: str, body: object = None, *, headers: str = "") -> bytes:
    """Return one HTTP request."""
    content = b"" if body is None else json.dumps(body).encode()
    if content:
        headers += "content-type: application/json\r\n"
    if content or method == "PUT":
        headers += f"content-length: {len(content)}\r\n"
    return (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n".encode()
        + content
    )


def heartbeats(agent_ids: Iterable[str], *, headers: str = "") -> list[bytes]:
    """Return one heartbeat for each agent."""
    return [
        request("POST", f"/agents/{one}/heartbeat", headers=headers)
        for one in agent_ids
    ]


def bulk_heartbeats(agent_ids: Sequence[str], size: int) -> list[bytes]:
    """Return the heartbeats of all agents, so many in each call."""
    return [
        request("POST", "/agents/heartbeats", {"agent_ids": agent_ids[at : at + size]})
        for at in range(0, len(agent_ids), size)
    ]


def registrations(agent_ids: Iterable[str]) -> list[bytes]:
    """Return one registration for each agent."""
    return [request("POST", "/agents/register", described(one)) for one in agent_ids]


def dying(count: int, *, within_seconds: int) -> Iterator[AgentRecord]:
    """Yield agents whose leases run out one after the other, from now on."""
    now = utcnow()
    for number in range(count):
        described_as = described(f"dying-{number:07d}")
        described_as["ttl_seconds"] = 1 + number * within_seconds // count
        yield AgentRecord(**described_as, last_heartbeat=now)


def expire(path: Path, *, ending: str = "", beaten: bool = False) -> None:
    """Let the leases run out of all agents whose id has this ending.

    Args:
        path: the database.
        ending: of the ids.
        beaten: they beat before: only of such agents the guard judges.
    """
    database = sqlite3.connect(path)
    with database:
        database.execute(
            "UPDATE agents SET expires_at = 0, last_heartbeat = registered_at + ?"
            " WHERE agent_id LIKE ?",
            (beaten, f"%{ending}"),
        )
    database.close()


class Fleets:
    """Filled databases, each made once and copied for whoever needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ours(self, count: int, folder: Path) -> Path:
        """Put a database of so many agents into a server's folder."""
        return self._copy(count, folder, "ours")

    def naive(self, count: int, folder: Path) -> Path:
        """Put the same agents into the naive server's folder."""
        return self._copy(count, folder, "naive")

    def _copy(self, count: int, folder: Path, kind: str) -> Path:
        template = self._folder / f"{kind}-{count}.db"
        if not template.exists():
            if kind == "ours":
                store(template, (AgentRecord(**described(one)) for one in ids(count)))
            else:
                fill_naive(template, (described(one) for one in ids(count)))
        folder.mkdir(exist_ok=True)
        with template.open("rb") as source, (folder / DATABASE).open("wb") as target:
            shutil.copyfileobj(source, target, _PIECE_BYTES)
        return folder / DATABASE


def store(path: Path, records: Iterable[AgentRecord]) -> None:
    """Store records as given, through the store itself."""
    agents, database = create_storage_backend(f"sqlite:///{path}", synchronous="normal")
    under_way: deque[Future[AgentRecord]] = deque()
    for record in records:
        under_way.append(agents.submit(agents.add, record))
        if len(under_way) == _IN_FLIGHT:
            under_way.popleft().result()
    for future in under_way:
        future.result()
    database.close()
