"""Rules that hold for every record and every instant."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import AgentRecord, AgentRegistryRepository, create_storage_backend
from store.leases import Status, status

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Registry(NamedTuple):
    """A repository, and the hands of its clock."""

    repo: AgentRegistryRepository
    time: list[datetime]

    def fill(self, records: list[AgentRecord], now: datetime) -> None:
        """Start over with these records, at `now`."""
        self.time[:] = [now]
        for old in self.repo.list_all(include_dead=True):
            self.repo.delete(old.agent_id)
        for adding in [self.repo.submit(self.repo.add, new) for new in records]:
            adding.result()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Open one store for all examples, its clock in the test's hand."""
    path = tmp_path_factory.mktemp("properties") / "registry.db"
    time = [EPOCH]
    repo, database = create_storage_backend(
        f"sqlite:///{path}", synchronous="normal", clock=lambda: time[0]
    )
    yield Registry(repo, time)
    database.close()


def record(agent_id: str = "agent", **fields: Any) -> AgentRecord:
    """Build a record of which only the given fields matter."""
    return AgentRecord(
        agent_id=agent_id, **{"agent_name": "name", "host": "h", "port": 1} | fields
    )


#: Texts that an API may let in: no NUL, no lone surrogate.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ttls = st.integers(1, 86_400)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


@st.composite
def judged(draw: st.DrawFn) -> tuple[dict[str, Any], datetime]:
    """Draw a lease, and the instant to judge it: near a boundary, or anywhere."""
    ttl_seconds = draw(ttls)
    boundary = draw(
        st.sampled_from([0, 2 * ttl_seconds * 10**6 // 3, ttl_seconds * 10**6])
    )
    micros = draw(
        st.integers(-2, 2).map(lambda near: boundary + near)
        | st.integers(0, 2 * ttl_seconds * 10**6)
    )
    lease = {"ttl_seconds": ttl_seconds, "last_heartbeat": EPOCH}
    if draw(st.booleans()):  # a deadline that its TTL does not explain
        lease["expires_at"] = EPOCH + draw(st.integers(-5, micros + 5)) * MICROSECOND
    return lease, EPOCH + micros * MICROSECOND


@settings(deadline=None)
@given(judged())
def test_an_agent_is_alive_exactly_when_the_sweep_leaves_it(
    registry: Registry, drawn: tuple[dict[str, Any], datetime]
) -> None:
    """Row, list and sweep draw the same boundary, at the same instant."""
    lease, now = drawn
    registry.fill([record(**lease)], now)

    alive = record(**lease).is_alive(now)
    listed = len(registry.repo.list_all())
    removed = registry.repo.delete_expired()
    survives = registry.repo.get("agent") is not None

    assert (listed, removed, survives) == (int(alive), int(not alive), alive)


@settings(deadline=None)
@given(st.lists(judged(), min_size=1, max_size=12))
def test_the_database_counts_as_the_rules_judge(
    registry: Registry, drawn: list[tuple[dict[str, Any], datetime]]
) -> None:
    """Late and dead in SQL are late and dead in Python, at each one's instant."""
    records = [record(f"agent-{n}", **lease) for n, (lease, _) in enumerate(drawn)]
    registry.fill(records, EPOCH)

    for _, now in drawn:
        expected = Counter(
            status(
                last_heartbeat=each.last_heartbeat,
                ttl_seconds=each.ttl_seconds,
                expires_at=each.expires_at,
                now=now,
            )
            for each in records
        )
        assert registry.repo.count_by_status(now) == {
            each: expected[each] for each in Status
        }


zones = st.none() | st.timezones() | st.just(UTC)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "agent_id": texts.filter(bool),
            "agent_name": texts,
            "host": texts,
            "port": st.integers(1, 65_535),
            "ttl_seconds": ttls,
            "metadata": st.dictionaries(texts, values, max_size=4),
            "last_heartbeat": instants,
            "registered_at": instants,
            "expires_at": instants,
            "rearms": st.integers(0, 3),
            "owner": texts,
        }
    )
)
def test_a_record_comes_back_as_it_went_in(
    registry: Registry, fields: dict[str, Any]
) -> None:
    """Every microsecond and every character; a naive instant was UTC."""
    registry.fill([AgentRecord(**fields)], EPOCH)

    found = registry.repo.get(fields["agent_id"])

    assert found is not None
    assert found.__data__ == {
        name: _in_utc(value) if isinstance(value, datetime) else value
        for name, value in fields.items()
    }


@settings(deadline=None)
@given(ttls, st.lists(st.integers(-100_000, 100_000), min_size=1, max_size=8))
def test_a_beat_never_shortens_a_life(
    registry: Registry, ttl_seconds: int, steps: list[int]
) -> None:
    """However the clock is stepped, deadlines only move forwards."""
    registry.fill([record(ttl_seconds=ttl_seconds, last_heartbeat=EPOCH)], EPOCH)
    expires = [EPOCH + timedelta(seconds=ttl_seconds)]

    for seconds in steps:
        registry.time[0] += timedelta(seconds=seconds)
        expires.append(registry.repo.update_heartbeat("agent").expires_at)

    assert expires == sorted(expires)
    assert expires[-1] >= registry.time[0]


def _in_utc(instant: datetime) -> datetime:
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware.astimezone(UTC)
