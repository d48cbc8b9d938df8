"""When the registry listened, kept in the database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from freezegun.api import FrozenDateTimeFactory

from store import AgentRecord, Listening, Storage

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def test_the_time_of_listening_is_stored(storage: Storage) -> None:
    """Stored again, it takes the place of what was."""
    repo = storage.agents
    repo.record_listening(Listening(NOON, NOON + SECOND))
    repo.record_listening(Listening(NOON, NOON + 9 * SECOND))

    storage.database.close()
    storage.database.open()

    known = repo.listening()
    assert known == Listening(NOON, NOON + 9 * SECOND)
    assert known.seconds == 9


def test_a_registry_that_never_stored_it_listened_when_it_last_heard(
    storage: Storage,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """As one of the version before; but never in time to come."""
    repo = storage.agents
    assert repo.listening() is None
    repo.add(make_record("early", last_heartbeat=NOON - HOUR))
    assert repo.listening() == Listening(NOON - HOUR, NOON - HOUR)
    repo.add(make_record("to-come", last_heartbeat=NOON + HOUR))
    assert repo.listening() == Listening(NOON, NOON)
    frozen.tick(0)
