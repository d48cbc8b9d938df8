"""What changes from one look to the next."""

from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import AgentInfo, RegistryError, Unreachable
from agent_registry_client.cli.events import Look, Watched
from agent_registry_client.errors import error_of

Make = Callable[..., AgentInfo]


def words(look: Look) -> list[tuple[str, str | None]]:
    """Return what happened, and to whom."""
    return [(e.event, e.agent.agent_id if e.agent else None) for e in look.events]


def test_those_of_the_first_look_are_present(make_agent: Make) -> None:
    """They may have been there for years; those after them are new."""
    watched = Watched()

    assert words(watched.saw([make_agent("a")])) == [("present", "a")]
    assert words(watched.saw([make_agent("a"), make_agent("b")])) == [
        ("registered", "b")
    ]


def test_the_first_look_may_be_empty(make_agent: Make) -> None:
    """Whoever comes then is new."""
    watched = Watched()
    watched.saw([])

    assert words(watched.saw([make_agent("a")])) == [("registered", "a")]


@pytest.mark.parametrize(
    ("over", "happened"),
    [
        ({"last_heartbeat": "2026-11-22T15:45:10Z", "age_seconds": 0.0}, []),
        ({"status": "late"}, ["late"]),
        ({"status": "held", "is_alive": False}, ["held"]),
        ({"status": "dead", "is_alive": False}, ["dead"]),
        ({"status": "of tomorrow"}, ["of tomorrow"]),
        ({"port": 8002}, ["updated"]),
        ({"metadata": {"a": 1}, "status": "late"}, ["updated", "late"]),
        ({"registered_at": "2026-11-22T15:30:00Z", "port": 1}, ["registered"]),
    ],
)
def test_a_change_is_an_event(
    make_agent: Make, over: dict[str, Any], happened: list[str]
) -> None:
    """A beat is none."""
    watched = Watched()
    watched.saw([make_agent()])

    look = watched.saw([make_agent(**over)])

    assert [event.event for event in look.events] == happened
    assert all(event.agent == make_agent(**over) for event in look.events)


def test_who_is_gone_is_told_as_last_seen(make_agent: Make) -> None:
    """Once."""
    watched = Watched()
    watched.saw([make_agent(status="late")])

    look = watched.saw([])

    assert words(look) == [("gone", "a")]
    assert look.events[0].agent == make_agent(status="late")
    assert watched.saw([]).events == []


def test_a_registry_that_is_away_is_told_once_and_so_is_its_return(
    make_agent: Make,
) -> None:
    """Meanwhile the agents stay as they were."""
    watched = Watched(clock=iter([1.0, 2.0]).__next__)
    watched.saw([make_agent()])
    looks = [watched.missed(Unreachable("nobody")) for _ in range(2)]
    back = watched.saw([make_agent()])

    assert [words(look) for look in looks] == [[("unreachable", None)], []]
    assert looks[0].events[0].error == "nobody"
    assert [agent.agent_id for agent in looks[1].agents] == ["a"]
    assert looks[1].seen_at == 1.0
    assert words(back) == [("reachable", None)]
    assert back.error is None


@pytest.mark.parametrize(
    ("first", "error"),
    [(True, Unreachable("nobody")), (False, error_of(401, b'{"code": "who"}'))],
)
def test_what_does_not_pass_is_an_error(*, first: bool, error: RegistryError) -> None:
    """A registry that never answered, or that says no."""
    watched = Watched()
    if not first:
        watched.saw([])

    with pytest.raises(type(error)):
        watched.missed(error)
