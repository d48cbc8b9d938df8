"""What a batch of heartbeats does to the leases in the database."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from store import AgentRecord, OwnedBeat, Storage, create_storage_backend

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def ticking(tmp_path: Path) -> Iterator[Storage]:
    """Yield a store whose clock is a second later each time it is read."""
    seconds = count()
    storage = create_storage_backend(
        f"sqlite:///{tmp_path / 'agents.db'}",
        clock=lambda: NOON + timedelta(seconds=next(seconds)),
    )
    with closing(storage.database):
        yield storage


def test_a_batch_is_heard_at_one_instant_whosever_it_is(
    ticking: Storage, make_record: MakeRecord
) -> None:
    """The clock is read once for all owners of the batch."""
    repo = ticking.agents
    for owner in ("billing", "search"):
        repo.register(make_record(owner, owner=owner))

    answers = repo.update_heartbeats_of(
        [OwnedBeat(owner, owner) for owner in ("billing", "search")]
    )

    leases = [answers[owner].leases[owner] for owner in ("billing", "search")]
    assert leases[0].expires_at == leases[1].expires_at
