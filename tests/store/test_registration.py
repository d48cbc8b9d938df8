"""The rule of registering."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from store import AgentRecord, Outcome
from store.registration import register

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_the_answer_is_a_record_of_its_own(make_record: MakeRecord) -> None:
    """Neither what was known nor what was wanted is changed by the rule."""
    known = make_record(last_heartbeat=NOON)
    wanted = make_record(host="10.0.0.8", last_heartbeat=NOON)
    before = [dict(record.__data__) for record in (known, wanted)]

    register(known, wanted, NOON + SECOND)

    assert [record.__data__ for record in (known, wanted)] == before


def test_a_step_back_keeps_the_deadline_of_the_last_beat(
    make_record: MakeRecord,
) -> None:
    """A living agent registers with the clock behind its last beat."""
    known = make_record(last_heartbeat=NOON)

    outcome, record = register(known, make_record(), NOON - 3600 * SECOND)

    assert outcome is Outcome.UNCHANGED
    assert record.last_heartbeat == NOON
    assert record.expires_at == NOON + 60 * SECOND


def test_what_is_left_out_is_gone(make_record: MakeRecord) -> None:
    """A registration is the complete wish, not a patch."""
    known = make_record(ttl_seconds=5, metadata={"zone": "b"}, last_heartbeat=NOON)

    _, record = register(known, make_record(), NOON)

    assert (record.ttl_seconds, record.metadata) == (60, {})


def test_metadata_in_another_order_is_the_same_wish(make_record: MakeRecord) -> None:
    """The order of keys in metadata says nothing."""
    known = make_record(metadata={"a": 1, "b": 2}, last_heartbeat=NOON)
    wanted = make_record(metadata={"b": 2, "a": 1})

    assert register(known, wanted, NOON).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("value", [1.0, True])
def test_metadata_that_is_another_json_is_another_wish(
    make_record: MakeRecord, value: object
) -> None:
    """Although they are equal to Python; also where it is nested."""
    known = make_record(metadata={"a": {"b": [1]}}, last_heartbeat=NOON)
    wanted = make_record(metadata={"a": {"b": [value]}})

    assert register(known, wanted, NOON).outcome is Outcome.UPDATED
