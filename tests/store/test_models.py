"""The row."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from freezegun import freeze_time

from store import AgentRecord
from store.models import from_micros, from_row, to_micros, to_row

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
INSTANTS = ("last_heartbeat", "registered_at", "expires_at")


@pytest.mark.parametrize(
    ("instant", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1),
        (datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC), 1_772_366_400_000_001),
        (datetime.max.replace(tzinfo=UTC), 253_402_300_799_999_999),
    ],
)
def test_an_instant_is_whole_microseconds(instant: datetime, micros: int) -> None:
    """Nothing is rounded on the way there or back."""
    assert to_micros(instant) == micros
    assert from_micros(micros) == instant


@pytest.mark.parametrize(
    "given",
    [
        datetime(2026, 3, 1, 12),  # noqa: DTZ001 - the point of the test
        datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
@pytest.mark.parametrize("field", INSTANTS)
def test_instants_are_aware_and_in_utc(
    make_record: MakeRecord, field: str, given: datetime
) -> None:
    """A naive instant is UTC, another zone is converted; at once, not when stored."""
    record = make_record(**{field: given})

    assert getattr(record, field) == NOON
    assert getattr(record, field).tzinfo is UTC


def test_a_record_without_instants_starts_its_lease_now(
    make_record: MakeRecord,
) -> None:
    """It was heard now, lives from now, and expires a TTL later."""
    with freeze_time(NOON):
        record = make_record(ttl_seconds=5)

    assert [getattr(record, field) for field in INSTANTS] == [
        NOON,
        NOON,
        NOON + 5 * SECOND,
    ]


def test_missing_instants_follow_the_last_heartbeat(make_record: MakeRecord) -> None:
    """The deadline is derived; the life began no later than the last beat."""
    record = make_record(last_heartbeat=NOON)

    assert record.registered_at == NOON
    assert record.expires_at == NOON + 60 * SECOND


def test_a_given_deadline_is_kept(make_record: MakeRecord) -> None:
    """A lease may run out at another instant than its TTL says."""
    record = make_record(last_heartbeat=NOON, expires_at=NOON + SECOND)

    assert record.expires_at == NOON + SECOND


@pytest.mark.parametrize(("field", "default"), [("ttl_seconds", 60), ("metadata", {})])
def test_a_field_has_its_default(
    make_record: MakeRecord, field: str, default: Any
) -> None:
    """What is left out is complete all the same."""
    assert getattr(make_record(), field) == default


def test_records_share_no_metadata(make_record: MakeRecord) -> None:
    """The default object is a new one each time."""
    make_record().metadata["zone"] = "b"

    assert make_record().metadata == {}


@pytest.mark.parametrize(("microseconds", "alive"), [(-1, True), (0, False)])
def test_a_record_is_dead_at_its_deadline(
    make_record: MakeRecord, microseconds: int, *, alive: bool
) -> None:
    """`is_alive` judges the instant it is given, or else this moment."""
    record = make_record(last_heartbeat=NOON)
    now = record.expires_at + timedelta(microseconds=microseconds)

    with freeze_time(NOON + 3600 * SECOND):
        assert record.is_alive(now) is alive
    with freeze_time(now):
        assert record.is_alive() is alive


def test_a_record_survives_its_row(make_record: MakeRecord) -> None:
    """The row is of what SQLite stores; the record of it is whole."""
    record = make_record(metadata={"a": [1]}, last_heartbeat=NOON, owner="billing")

    row = to_row(record)

    assert {type(value) for value in row} == {int, str}
    assert from_row(row).__data__ == record.__data__
    assert from_row(row).has_beaten is False


def test_the_model_is_bound_to_no_database() -> None:
    """Two registries live in one process."""
    assert AgentRecord._meta.database is None
    assert AgentRecord._meta.table_name == "agents"
