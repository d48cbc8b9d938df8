"""What the contract itself brings along."""

from collections.abc import Callable
from datetime import UTC, datetime

from store import AgentFilter, AgentNotFound, AgentRegistryRepository, Storage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_submit_runs_at_once_unless_a_repository_knows_better(
    repo: AgentRegistryRepository,
) -> None:
    """The future is settled as it is handed back, by answer or by error."""
    submit = AgentRegistryRepository.submit

    answered = submit(repo, repo.delete, "nobody")
    refused = submit(repo, repo.update_heartbeat, agent_id="nobody")

    assert answered.result(0) is False
    assert isinstance(refused.exception(0), AgentNotFound)


def test_now_is_the_clock_that_was_given(make_storage: Callable[..., Storage]) -> None:
    """Leases are judged by it alone."""
    assert make_storage(clock=lambda: NOON).agents.now() == NOON


def test_a_filter_of_nothing_shows_the_living() -> None:
    """The default hides the dead, and only them."""
    assert AgentFilter() == (False, None, None, {})
