"""How a sweep cuts its work: chunks that hold the writer for about 5 ms."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from store.models import from_micros
from store.pacing import Pace

log = logging.getLogger(__name__)

#: Expiries told one by one in a sweep; of the rest the log gives the number.
TOLD = 100
#: How long one chunk's statement may take. With its commit, and a checkpoint behind
#: every few of them, it holds the writer for 5 to 8 ms: so long a beat waits.
_CHUNK_SECONDS = 0.002
_SMALLEST, _FIRST, _LARGEST = 20, 200, 5_000


class Chunk(NamedTuple):
    """What one statement of a sweep removed."""

    removed: int
    #: The first of them: id, last heartbeat in epoch microseconds, TTL in seconds.
    expired: list[tuple[str, int, int]]
    seconds: float


class ChunkSize(Pace):
    """Finds the number of rows that takes `_CHUNK_SECONDS` to remove."""

    def __init__(self) -> None:
        super().__init__(_CHUNK_SECONDS, first=_FIRST, least=_SMALLEST, most=_LARGEST)

    def cut(self, rows: list[int]) -> Iterator[list[int]]:
        """Cut `rows` into chunks, each as long as the size learnt until then."""
        start = 0
        while start < len(rows):
            chunk = rows[start : start + self.rows]
            start += len(chunk)
            yield chunk


def tell(chunk: Chunk, now: datetime, *, told: int) -> None:
    """Log of each agent why it was removed, unless `told` were logged before."""
    for agent_id, last_heartbeat, ttl_seconds in chunk.expired[: max(0, TOLD - told)]:
        log.info(
            "Agent %s expired: silent for %.1f s, its TTL is %d s",
            agent_id,
            (now - from_micros(last_heartbeat)).total_seconds(),
            ttl_seconds,
            extra={"action": "agent_expired", "agent_id": agent_id},
        )
