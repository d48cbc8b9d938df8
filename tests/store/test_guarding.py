"""The guard and the database: what a sweep takes, and when."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from store import (
    AgentRecord,
    AgentRegistryRepository,
    GuardRules,
    SqliteAgentRegistryRepository,
    Storage,
)
from store.clock import Times, utcnow
from store.connections import SqliteRegistryDatabase
from store.guard import Hold, Level, Verdict
from store.leases import Status
from store.snapshots import Snapshots
from store.sweep import Sweep
from store.writer import Priority

MakeRecord = Callable[..., AgentRecord]

FLEET, CAP = 2_000, 300
TTL = 60
HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEATEN = [f"agent-{number:03}" for number in range(100)]

Expire = Callable[[SqliteAgentRegistryRepository, FrozenDateTimeFactory], None]


class Standing:
    """Lease time that stands where it is put."""

    generation = 0

    def __init__(self) -> None:
        self.at: datetime | None = None

    def now(self) -> datetime:
        """Return the instant."""
        return self.at or utcnow()


@pytest.fixture
def lease_time() -> Standing:
    """Return lease time, which runs until it is stood somewhere."""
    return Standing()


@pytest.fixture
def storage(make_storage: Callable[..., Storage], lease_time: Standing) -> Storage:
    """Open a store whose guard holds for five minutes."""
    rules = GuardRules(hold_most_seconds=300)
    return make_storage(guard=rules, lease_time=lease_time)


@pytest.fixture
def repo(
    storage: Storage, make_record: MakeRecord, frozen: FrozenDateTimeFactory
) -> AgentRegistryRepository:
    """Return a repository in which a fleet expired at once, and is held."""
    repo = storage.agents
    ids = [f"agent-{number:04}" for number in range(FLEET)]
    repo.register_all([make_record(agent_id, ttl_seconds=TTL) for agent_id in ids])
    frozen.tick(1)
    repo.renew_all(ids)
    frozen.tick(TTL)
    assert repo.sweep().held == FLEET
    return repo


def test_a_sweep_that_is_ended_stops_between_two_chunks(
    repo: AgentRegistryRepository, frozen: FrozenDateTimeFactory
) -> None:
    """The hold stays, and the next one takes no more than it may."""
    frozen.tick(300)
    chunks = count()

    ended = repo.sweep(keep_on=lambda: next(chunks) < 1)

    assert 0 < ended.removed < CAP
    assert not ended.whole
    assert repo.hold() is not None
    assert repo.sweep().removed == CAP


def test_a_release_amid_a_sweep_counts(
    make_storage: Callable[..., Storage],
    make_record: Callable[..., AgentRecord],
    frozen: FrozenDateTimeFactory,
) -> None:
    """The sweep that judged before ends the hold it judged by, and no other."""
    repo = make_storage(guard=GuardRules()).agents
    ids = [f"agent-{number:02}" for number in range(40)]
    repo.register_all([make_record(agent_id) for agent_id in ids])
    frozen.tick(1)
    repo.renew_all(ids)
    released: list[int] = []

    def keep_on() -> bool:
        if not released:
            frozen.tick(60)
            released.append(repo.release_hold())
        return True

    first = repo.sweep(keep_on)

    assert (first.removed, released) == (0, [40])
    assert repo.hold() is None
    assert repo.sweep().removed == 40


def test_no_sweep_sees_a_hold_on_its_way_through_time(
    repo: AgentRegistryRepository,
    frozen: FrozenDateTimeFactory,
    lease_time: Standing,
) -> None:
    """A clock set back takes the hold with it; lease time must follow first."""
    stood_at = lease_time.at = utcnow()
    frozen.tick(-HOUR)
    removed: list[int] = []
    sweeping = threading.Thread(target=lambda: removed.append(repo.sweep().removed))

    def moved() -> None:
        sweeping.start()
        sweeping.join(0.2)
        lease_time.at = stood_at - HOUR

    repo.move_lease_time(stood_at, stood_at - HOUR, moved)
    sweeping.join()

    assert removed == [0]


def test_a_clock_set_back_gives_a_hold_that_is_over_no_second_one(
    repo: AgentRegistryRepository,
    frozen: FrozenDateTimeFactory,
    lease_time: Standing,
) -> None:
    """Its own have the instant of the step as their deadline then."""
    frozen.tick(400)
    stood_at = utcnow()
    lease_time.at = stood_at - HOUR

    repo.move_lease_time(stood_at, stood_at - HOUR)

    assert repo.sweep().removed == CAP


def test_who_was_cut_off_before_a_gap_is_held_behind_it(
    repo: AgentRegistryRepository,
    frozen: FrozenDateTimeFactory,
    lease_time: Standing,
) -> None:
    """A release means nobody who fell due after it, however long nobody is heard."""
    later = [f"agent-{number:04}" for number in range(500)]
    repo.renew_all(later)
    repo.release_hold()
    frozen.tick(TTL)
    stood_at = utcnow()
    lease_time.at = stood_at + HOUR

    repo.move_lease_time(stood_at, stood_at + HOUR)

    swept = repo.sweep()
    assert (swept.removed, swept.held) == (FLEET - len(later), len(later))


@pytest.fixture
def expire(make_record: Callable[..., AgentRecord]) -> Expire:
    """Return a function that lets a fleet which beat expire at once."""

    def expire(
        repo: SqliteAgentRegistryRepository, frozen: FrozenDateTimeFactory
    ) -> None:
        repo.register_all([make_record(agent_id) for agent_id in BEATEN])
        frozen.tick(1)
        repo.update_heartbeats(BEATEN)
        frozen.tick(60)

    return expire


def test_a_sweep_counts_nobody_in_the_writer(storage: Storage, expire: Expire) -> None:
    """A beat behind it would wait; and a hold that goes on is not written again."""
    repo = SqliteAgentRegistryRepository(storage.database, guard=GuardRules())  # type: ignore[arg-type] # SQLite's own
    written: list[str] = []
    with freeze_time(NOON) as frozen:
        expire(repo, frozen)
        writing = repo._database.writing
        repo._database.writer.submit(
            Priority.MAINTENANCE,
            lambda: writing.connection().set_trace_callback(written.append),
        ).result()

        first = repo.sweep()
        by_first = len(written)
        second = repo.sweep()

    assert (first.held, second.held) == (100, 100)
    assert not [statement for statement in written if "count(" in statement]
    assert len(written) == by_first > 0


def test_a_hold_that_is_ended_as_a_sweep_judges_stays_ended(
    storage: Storage, expire: Expire
) -> None:
    """The sweep judges anew, and takes who was held."""
    database = storage.database
    assert isinstance(database, SqliteRegistryDatabase)
    repo = SqliteAgentRegistryRepository(database, guard=GuardRules(most_fraction=2))

    class ReleasedMeanwhile(Sweep):
        def _judge(self, rules: GuardRules) -> tuple[Hold | None, Verdict]:
            judged = super()._judge(rules)
            before, _ = judged
            if before is not None and before.level is not Level.RELEASED:
                repo.release_hold()
            return judged

    snapshots = Snapshots(database.reading, Times())
    with freeze_time(NOON) as frozen:
        expire(repo, frozen)
        held = repo.sweep().held

        swept = ReleasedMeanwhile(database, snapshots).run(GuardRules(), lambda: True)

    assert held == 100
    assert (swept.removed, swept.hold) == (100, None)


def test_who_is_cut_off_after_a_release_is_held(
    storage: Storage,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Also those whom a release could have meant, had they not beaten meanwhile.

    A hundred agents are held and released, 60 of them are heard again; then 60 others
    are cut off. A release of a hundred let these go at once, held by nobody.
    """
    repo = storage.agents
    back, gone, cut = ([f"{name}-{n}" for n in range(60)] for name in "bgc")
    gone = gone[:40]
    others = [f"o-{n}" for n in range(140)]
    everyone = back + gone + cut + others
    repo.register_all([make_record(each, ttl_seconds=TTL) for each in everyone])
    frozen.tick(1)
    repo.renew_all(back + gone)
    frozen.tick(30)
    repo.renew_all(cut + others)
    frozen.tick(30)
    assert repo.sweep().held == 100
    assert repo.release_hold() == 100
    repo.renew_all(back + others)
    frozen.tick(30)

    before = (
        repo.count_by_status(),
        repo.hold(),
        {a.agent_id for a in repo.list_all()},
    )
    seen = {each: view.status for each in everyone if (view := repo.view(each))}
    swept = repo.sweep()

    counted, hold, listed = before
    assert hold is not None
    assert (counted[Status.HELD], counted[Status.DEAD]) == (60, 40)
    assert {each for each in everyone if seen[each] is Status.HELD} == {*cut}
    assert listed == {*everyone} - {*gone}
    assert (swept.removed, swept.held, swept.hold) == (40, 60, hold)
    frozen.tick(1)
    assert (repo.count_by_status()[Status.HELD], repo.hold()) == (60, hold)
    assert repo.release_hold() == 60


def test_who_is_cut_off_after_a_hold_is_held_too(
    storage: Storage,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """While the last of the dead go, 30 of the 40 others cannot be heard for 3 min."""
    repo = storage.agents
    dead, cut, others = ([f"{name}-{n}" for n in range(60)] for name in "dco")
    cut, others = cut[:30], others[:10]
    everyone = dead + cut + others
    repo.register_all([make_record(each, ttl_seconds=TTL) for each in everyone])
    frozen.tick(1)
    repo.renew_all(everyone)
    removed = []
    for at in range(20, 900, 20):
        frozen.tick(20)
        repo.renew_all(others if 480 <= at < 660 else cut + others)
        if at % 60 == 0:
            removed.append(repo.sweep().removed)

    assert removed == [0] * 5 + [15] * 4 + [0] * 5
    left = {each.agent_id for each in repo.list_all(include_dead=True)}
    assert left == {*cut, *others}
    assert repo.hold() is None


def test_a_sweep_that_is_ended_begins_no_other_hold(
    repo: AgentRegistryRepository,
    make_record: MakeRecord,
    frozen: FrozenDateTimeFactory,
) -> None:
    """Else those whom it left would be held once more."""
    later = [f"later-{number:03}" for number in range(500)]
    repo.register_all([make_record(each, ttl_seconds=TTL) for each in later])
    frozen.tick(1)
    repo.renew_all(later)
    repo.release_hold()
    frozen.tick(TTL)
    chunks = count()

    ended = repo.sweep(keep_on=lambda: next(chunks) < 2)

    assert 0 < ended.removed < FLEET
    left = FLEET - ended.removed
    assert repo.count_by_status()[Status.DEAD] == left
    swept = repo.sweep()
    assert (swept.removed, swept.held) == (left, len(later))


def test_a_sweep_takes_nobody_in_the_place_of_one_who_beat(
    storage: Storage, expire: Expire, make_record: MakeRecord
) -> None:
    """Of those who were released some beat as it judges; the others are held on."""
    database = storage.database
    assert isinstance(database, SqliteRegistryDatabase)
    repo = SqliteAgentRegistryRepository(database, guard=GuardRules())
    later = [f"later-{number:03}" for number in range(100)]

    class HeardMeanwhile(Sweep):
        def _judge(self, rules: GuardRules) -> tuple[Hold | None, Verdict]:
            judged = super()._judge(rules)
            repo.renew_all(BEATEN[:50])
            return judged

    snapshots = Snapshots(database.reading, Times())
    with freeze_time(NOON) as frozen:
        expire(repo, frozen)
        repo.register_all([make_record(each) for each in later])
        repo.sweep()
        repo.release_hold()
        frozen.tick(1)
        repo.renew_all(later)
        frozen.tick(60)

        swept = HeardMeanwhile(database, snapshots).run(GuardRules(), lambda: True)

        assert (swept.removed, swept.held) == (50, 100)
        assert repo.count_by_status()[Status.HELD] == 100
