"""The rule of registering: what an agent asks for, against what is known of it."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from store import leases
from store.models import AgentRecord


class Outcome(StrEnum):
    """What a registration did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REVIVED = "revived"


class Registration(NamedTuple):
    """The answer to `register`: what it did, and the row as it now stands."""

    outcome: Outcome
    record: AgentRecord


_DESIRED = ("agent_name", "host", "port", "ttl_seconds", "metadata")
#: The same text for the same JSON, in whatever order its keys are.
_canonical_json = json.JSONEncoder(sort_keys=True).encode


def register(
    known: AgentRecord | None,
    wanted: AgentRecord,
    now: datetime,
    *,
    lease_now: datetime | None = None,
) -> Registration:
    """Return the row that should stand after `wanted` registers at `now`.

    `wanted` is complete: what it leaves out is gone. Its own instants are ignored,
    and its owner where `known` has one.
    Whether `known` is alive is judged at `lease_now`, by default at `now` too.
    """
    outcome = _outcome(known, wanted, lease_now or now)
    living = known if outcome in (Outcome.UPDATED, Outcome.UNCHANGED) else None
    last_heartbeat = leases.renewed(living.last_heartbeat, now) if living else now
    values = wanted.__data__ | {
        "last_heartbeat": last_heartbeat,
        "registered_at": living.registered_at if living else now,
        "expires_at": leases.deadline(last_heartbeat, wanted.ttl_seconds),
        "rearms": 0,
        "owner": (known.owner if known else "") or wanted.owner,
    }
    return Registration(outcome, AgentRecord.of(values))


def _outcome(known: AgentRecord | None, wanted: AgentRecord, now: datetime) -> Outcome:
    if known is None:
        return Outcome.CREATED
    if not known.is_alive(now):
        return Outcome.REVIVED
    if all(getattr(known, field) == getattr(wanted, field) for field in _DESIRED):
        same = _is_same_json(known.metadata, wanted.metadata)
        return Outcome.UNCHANGED if same else Outcome.UPDATED
    return Outcome.UPDATED


def _is_same_json(known: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Tell whether two equal objects are stored alike: to Python, 1 is True and 1.0."""
    # Keys nearly always come in the same order: then repr() tells, in 3 us for 9.
    if repr(known) == repr(wanted):
        return True
    return _canonical_json(known) == _canonical_json(wanted)
