"""How a sweep asks the guard, and keeps its hold."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from store import AgentRecord, GuardRules, SqliteAgentRegistryRepository, Storage
from store.guard import Hold, Level, Verdict
from store.writer import Lane

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FLEET = [f"agent-{number:03}" for number in range(100)]

Expire = Callable[[SqliteAgentRegistryRepository, FrozenDateTimeFactory], None]


class ReleasedMeanwhile(SqliteAgentRegistryRepository):
    """A repository whose hold an operator ends just after it was judged by."""

    def _judge(self, rules: GuardRules) -> tuple[Hold | None, Verdict]:
        judged = super()._judge(rules)
        before, _ = judged
        if before is not None and before.level is not Level.RELEASED:
            self.release_hold()
        return judged


@pytest.fixture
def expire(make_record: Callable[..., AgentRecord]) -> Expire:
    """Return a function that lets a fleet which beat expire at once."""

    def expire(
        repo: SqliteAgentRegistryRepository, frozen: FrozenDateTimeFactory
    ) -> None:
        repo.register_all([make_record(agent_id) for agent_id in FLEET])
        frozen.tick(1)
        repo.update_heartbeats(FLEET)
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
            Lane.MAINTENANCE,
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
    repo = ReleasedMeanwhile(storage.database, guard=GuardRules(most_fraction=2))  # type: ignore[arg-type] # SQLite's own
    with freeze_time(NOON) as frozen:
        expire(repo, frozen)
        held = repo.sweep().held
        repo.guard = GuardRules()

        swept = repo.sweep()

    assert held == 100
    assert (swept.removed, swept.hold) == (100, None)
