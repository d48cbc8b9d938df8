"""Who runs a repository's methods."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from store import AgentRecord, Storage
from store.writer import Priority

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_submitting_does_not_wait(storage: Storage, make_record: MakeRecord) -> None:
    """The future is handed back while the writer is still busy."""
    repo, database = storage
    free = threading.Event()
    database.writer.submit(Priority.MAINTENANCE, free.wait)

    adding = repo.submit(repo.add, make_record())
    early = adding.done()
    free.set()

    assert not early
    assert adding.result().agent_id == "summariser-1"


def test_reads_do_not_wait_for_the_writer(
    storage: Storage, make_record: MakeRecord
) -> None:
    """They see what is committed."""
    repo, database = storage
    busy, free = threading.Event(), threading.Event()
    database.writer.submit(Priority.MAINTENANCE, lambda: busy.set() or free.wait())
    busy.wait()
    adding = repo.submit(repo.add, make_record())

    during = repo.get("summariser-1")
    free.set()
    adding.result()

    assert during is None
    assert repo.get("summariser-1") is not None


def test_beats_are_written_before_what_waited_longer(
    storage: Storage, make_record: MakeRecord
) -> None:
    """A living agent is not kept waiting by registrations."""
    repo, database = storage
    repo.add(make_record())
    free = threading.Event()
    order: list[str] = []
    database.writer.submit(Priority.MAINTENANCE, free.wait)

    adding = repo.submit(repo.add, make_record("other"))
    beating = repo.submit(repo.update_heartbeat, "summariser-1")
    adding.add_done_callback(lambda _: order.append("add"))
    beating.add_done_callback(lambda _: order.append("beat"))
    free.set()
    database.close()

    assert order == ["beat", "add"]


def test_a_write_reads_the_clock_in_the_writers_thread(
    make_storage: Callable[..., Storage], make_record: MakeRecord
) -> None:
    """A beat is stamped when it is written, not when it began to wait."""
    readers: list[str] = []

    def clock() -> datetime:
        readers.append(threading.current_thread().name)
        return NOON

    repo = make_storage(clock=clock).agents
    repo.register(make_record())
    repo.update_heartbeat("summariser-1")

    assert readers == ["store-writer", "store-writer"]


@pytest.mark.parametrize("agent_id", ["summariser-1", "nobody"])
def test_many_callers_at_once_are_all_answered(
    storage: Storage, make_record: MakeRecord, agent_id: str
) -> None:
    """Every method may be called from any thread."""
    repo = storage.agents
    repo.add(make_record())
    deleted: list[bool] = []
    callers = [
        threading.Thread(target=lambda: deleted.append(repo.delete(agent_id)))
        for _ in range(16)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert sum(deleted) == (agent_id == "summariser-1")
    assert len(deleted) == 16
