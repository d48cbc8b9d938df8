"""The rules of a lease."""

from datetime import UTC, datetime, timedelta

import pytest

from store.leases import (
    Status,
    deadline,
    heartbeat_interval_seconds,
    is_expired,
    late_at,
    renewed,
    status,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def test_a_lease_lasts_its_ttl() -> None:
    """The deadline is one TTL after the last beat."""
    assert deadline(NOON, 90) == NOON + 90 * SECOND


@pytest.mark.parametrize(
    ("now", "expired"),
    [(NOON - MICROSECOND, False), (NOON, True), (NOON + MICROSECOND, True)],
)
def test_a_lease_is_expired_at_its_deadline(now: datetime, *, expired: bool) -> None:
    """The one boundary: dead when now is the deadline."""
    assert is_expired(NOON, now) is expired


@pytest.mark.parametrize("heard_after", [-3600, 0, 3600])
def test_a_renewal_never_moves_backwards(heard_after: int) -> None:
    """A clock stepped back leaves the last beat where it was."""
    now = NOON + heard_after * SECOND

    assert renewed(NOON, now) == max(NOON, now)


@pytest.mark.parametrize(("ttl_seconds", "interval"), [(60, 20), (1, 1 / 3)])
def test_three_beats_fit_into_a_ttl(ttl_seconds: int, interval: float) -> None:
    """Two of them may be lost."""
    assert heartbeat_interval_seconds(ttl_seconds) == interval


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (-SECOND, Status.ALIVE),
        (40 * SECOND - MICROSECOND, Status.ALIVE),
        (40 * SECOND, Status.LATE),
        (60 * SECOND - MICROSECOND, Status.LATE),
        (60 * SECOND, Status.DEAD),
    ],
)
def test_a_silent_agent_is_late_and_then_dead(
    after: timedelta, expected: Status
) -> None:
    """Late from two missed beats on, dead from the deadline."""
    judged = status(
        last_heartbeat=NOON,
        ttl_seconds=60,
        expires_at=NOON + 60 * SECOND,
        now=NOON + after,
    )

    assert judged is expected


def test_late_is_rounded_down_to_the_microsecond() -> None:
    """As the database does when it counts."""
    assert late_at(NOON, 1) == NOON + timedelta(microseconds=666_666)


def test_a_dead_agent_is_not_late() -> None:
    """A deadline before two missed beats is what counts."""
    judged = status(last_heartbeat=NOON, ttl_seconds=60, expires_at=NOON, now=NOON)

    assert judged is Status.DEAD
