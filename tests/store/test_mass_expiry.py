"""A whole fleet that expires at once, among agents that beat on."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import cycle

import pytest

from store import AgentRecord, Storage
from store.clock import utcnow
from store.models import to_row

LIVING = 100
#: A beat waits for a few chunks of 5 ms and the disk: nine of ten, since some wait
#: for a processor or a disk that others have. None waits for the sweep.
ANSWERED_WITHIN_SECONDS = 0.25


@pytest.fixture
def fill(
    storage: Storage, make_record: Callable[..., AgentRecord]
) -> Callable[[int], None]:
    """Return a function that stores so many dead agents, and the living behind."""

    def fill(dead: int) -> None:
        storage.database.open()
        now = utcnow()
        silent = to_row(make_record("", last_heartbeat=now - timedelta(hours=1)))[1:]
        heard = to_row(make_record("", last_heartbeat=now, ttl_seconds=86_400))[1:]
        rows = [(f"dead-{n}", *silent) for n in range(dead)]
        rows += [(f"living-{n}", *heard) for n in range(LIVING)]
        storage.database.close()
        with closing(sqlite3.connect(storage.database.location)) as file, file:
            places = ", ".join("?" * len(rows[0]))
            file.executemany(f"INSERT INTO agents VALUES ({places})", rows)  # noqa: S608
        storage.database.open()

    return fill


@pytest.mark.parametrize(
    "dead", [100_000, pytest.param(1_000_000, marks=pytest.mark.torture)]
)
def test_a_mass_expiry_neither_stalls_nor_takes_who_beats(
    storage: Storage, fill: Callable[[int], None], dead: int
) -> None:
    """Each beat is answered soon; who was heard stays, also who was dead before."""
    fill(dead)
    repo = storage.agents
    stay = {f"living-{n}" for n in range(LIVING)}
    removed: list[int] = []
    waited: list[float] = []
    sweep = threading.Thread(target=lambda: removed.append(repo.delete_expired()))

    began = time.monotonic()
    sweep.start()
    for living, late in zip(cycle(sorted(stay)), range(dead - 1, 0, -1), strict=False):
        if not sweep.is_alive():
            break
        asked = time.monotonic()
        stay |= repo.update_heartbeats([living, f"dead-{late}"]).keys()
        waited.append(time.monotonic() - asked)
    sweep.join()
    swept_seconds = time.monotonic() - began

    waited.sort()
    assert waited[len(waited) * 9 // 10] < ANSWERED_WITHIN_SECONDS
    assert waited[-1] < swept_seconds / 2
    assert len(waited) > 20
    assert {agent.agent_id for agent in repo.list_all(include_dead=True)} == stay
    assert removed == [dead + LIVING - len(stay)]
