"""The one reader of time."""

import threading
from datetime import UTC, datetime

from freezegun import freeze_time

from store.clock import utcnow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_now_is_aware_and_in_utc() -> None:
    """No other zone enters the store."""
    assert utcnow().tzinfo is UTC


def test_a_frozen_clock_rules_every_thread() -> None:
    """The one reader of time can be frozen, also in the store's threads."""
    seen: list[datetime] = []
    with freeze_time(NOON):
        thread = threading.Thread(target=lambda: seen.append(utcnow()))
        thread.start()
        thread.join()

    assert seen == [NOON]
