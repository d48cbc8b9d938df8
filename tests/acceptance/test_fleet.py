"""Forty agents: most live on, some are killed, some take their leave."""

import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from store.clock import utcnow

COUNT = 40
pytestmark = pytest.mark.long

TTL = timedelta(seconds=3)
SWEEP = timedelta(seconds=2)
SLACK = timedelta(seconds=1)
WATCHED = timedelta(seconds=30)

AGENTS = [f"agent-{number}" for number in range(COUNT)]
KILLED, LEFT, LIVING = AGENTS[:8], AGENTS[8:12], AGENTS[12:]


class Look(NamedTuple):
    """One answer of the list, dead agents included, and when it was asked for."""

    asked_at: datetime
    answered_at: datetime
    agents: dict[str, Any]


class Story(NamedTuple):
    """What was seen of the fleet, from the moment some were killed and some left."""

    looks: list[Look]
    complaints: str
    idle_answers: list[int]


def _watch(look_once: Callable[[], dict[str, Any]]) -> Iterator[Look]:
    end = utcnow() + WATCHED
    while (asked_at := utcnow()) < end:
        yield Look(asked_at, agents=look_once(), answered_at=utcnow())
        time.sleep(0.1)


@pytest.fixture(scope="module")
def story(
    module_daemon: Any,
    wait_until: Callable[..., Any],
    fleet_of: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """Let the fleet live for half a minute, and write down all that is seen."""
    errors = tmp_path_factory.mktemp("fleet") / "errors"
    with (
        closing(module_daemon.connect()) as idle,
        fleet_of(module_daemon, COUNT, int(TTL.total_seconds()), errors) as pids,
    ):
        idle_answers = [_status(idle)]
        wait_until(lambda: set(module_daemon.agents()) == set(AGENTS))
        for agent, pid in zip(AGENTS, pids, strict=True):
            if agent in KILLED:
                os.kill(pid, signal.SIGKILL)
            if agent in LEFT:
                os.kill(pid, signal.SIGTERM)
        looks = list(_watch(module_daemon.agents))
        idle_answers.append(_status(idle))
    return Story(looks, errors.read_text(), idle_answers)


def _status(connection: http.client.HTTPConnection) -> int:
    """Ask on this very connection; `auto_open` off: a closed one is an error."""
    connection.request("GET", "/health")
    connection.auto_open = 0
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_the_living_never_flap(story: Story) -> None:
    """Agents that beat are listed as alive in every single answer."""
    flaps = [
        (look.asked_at, agent, look.agents.get(agent))
        for look in story.looks
        for agent in LIVING
        if not look.agents.get(agent, {}).get("is_alive")
    ]

    assert flaps == []
    assert len(story.looks) > 50


def test_no_beat_of_the_living_is_refused(story: Story) -> None:
    """Every call of every agent succeeds, on the connection it opened first."""
    assert story.complaints == ""


def test_those_who_left_are_gone_at_once(story: Story) -> None:
    """Agents that deregister are listed no more, not even as dead."""
    seconds = timedelta(seconds=1) + story.looks[0].asked_at

    assert not [
        agent
        for look in story.looks
        if look.asked_at > seconds
        for agent in look.agents
        if agent in LEFT
    ]


@pytest.mark.parametrize("agent", KILLED)
def test_the_killed_are_seen_dead_at_their_deadline_and_not_before(
    story: Story, agent: str
) -> None:
    """Silence counts from the last beat, to the TTL, whenever the sweep comes."""
    deadline = _last_beat(story, agent) + TTL
    before = [look for look in story.looks if look.answered_at < deadline]
    after = [look for look in story.looks if look.asked_at >= deadline]

    assert before
    assert all(look.agents[agent]["is_alive"] for look in before)
    seen = [look.agents[agent] for look in after if agent in look.agents]
    assert {agent["status"] for agent in seen} <= {"dead"}


@pytest.mark.parametrize("agent", KILLED)
def test_the_killed_are_gone_after_ttl_and_sweep(story: Story, agent: str) -> None:
    """The next sweep after the deadline removes a dead agent."""
    gone_by = _last_beat(story, agent) + TTL + SWEEP + SLACK
    later = [look for look in story.looks if look.asked_at >= gone_by]

    assert later
    assert not [look for look in later if agent in look.agents]


def test_an_idle_connection_is_kept(story: Story) -> None:
    """A connection that was silent for half a minute still carries a request."""
    assert story.idle_answers == [200, 200]


def _last_beat(story: Story, agent: str) -> datetime:
    return max(
        datetime.fromisoformat(look.agents[agent]["last_heartbeat"])
        for look in story.looks
        if agent in look.agents
    )
