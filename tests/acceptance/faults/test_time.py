"""Pauses, restarts and wrong clocks: the living stay, the dead go, each soon.

Fleets of agent processes live through a fault each, all at the same time. Nothing is
held back here: an agent that is due goes, so that whoever stays is not due.
"""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from store.clock import utcnow

pytestmark = pytest.mark.long

TTL = 6
SWEEP = 1
#: How late a fleet on a busy machine may be seen.
SLACK = 1.5
#: By when a dead agent is gone, once beats can be received.
GONE = TTL + 2 * SWEEP + SLACK
PAUSE = 2 * TTL
DOWN = 3 * TTL
#: A crash loop needs a TTL whose half is long beside the turn of the lease clock.
LOOP_TTL = 8
#: By then the dead are gone. They are re-armed three times; a start too many is for a
#: machine so busy that a daemon hears for less than a beat interval.
LOOPS = 8

Watched = Iterator[tuple[Any, float]]


def _pause(seconds: float, watched: float, stage: Any) -> Watched:
    stage.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    stage.daemon.process.send_signal(signal.SIGCONT)
    yield stage.daemon, watched + 1


def _pause_and_kill(stage: Any) -> Watched:
    """Let systemd's watchdog end the pause: first so that a core is dumped, then so."""
    stage.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(PAUSE)
    stage.daemon.process.send_signal(signal.SIGABRT)
    stage.daemon.stop(signal.SIGKILL)
    yield stage.start_again(), GONE + 1


def _step(by: float, stage: Any) -> Watched:
    stage.await_lease_time()
    stage.step(by)
    yield stage.daemon, GONE + 1


def _nothing(stage: Any) -> Watched:
    yield stage.daemon, GONE + 1


def _down(stage: Any) -> Watched:
    stage.daemon.stop()
    time.sleep(DOWN)
    yield stage.start_again(), GONE + 1


def _crash_loop(stage: Any) -> Watched:
    daemon = stage.daemon
    for _ in range(LOOPS):
        yield daemon, LOOP_TTL / 2
        daemon.stop(signal.SIGKILL)
        daemon = stage.start_again()
        if not daemon.agents().keys() & set(stage.killed):
            break
    yield daemon, 1


def _seconds_until(instant: datetime) -> float:
    return (instant - utcnow()).total_seconds()


def _scenes() -> dict[str, tuple[Callable[[Any], Watched], dict[str, Any]]]:
    """Return each fault, and to whom it happens."""
    soon = TTL + 1
    spring = _seconds_until(datetime(2026, 3, 29, 1, tzinfo=UTC)) - soon
    autumn = _seconds_until(datetime(2026, 10, 25, 1, tzinfo=UTC)) - soon
    berlin = {"ttl": TTL, "zone": "Europe/Berlin"}
    return {
        "pause": (partial(_pause, PAUSE, GONE), {"ttl": TTL, "agents": 100}),
        "watchdog": (_pause_and_kill, {"ttl": TTL}),
        "hour_forward": (partial(_step, 3600), {"ttl": TTL}),
        "hour_back": (partial(_step, -3600), {"ttl": TTL}),
        "summer_time": (_nothing, berlin | {"wrong": spring}),
        "winter_time": (_nothing, berlin | {"wrong": autumn}),
        "down": (_down, {"ttl": TTL}),
        "crash_loop": (_crash_loop, {"ttl": LOOP_TTL}),
    }


@pytest.fixture(scope="module")
def stories(
    tell: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """Let every fault happen to a fleet of its own."""
    scenes = _scenes()
    with ThreadPoolExecutor(len(scenes)) as pool:
        yield {
            name: pool.submit(tell, tmp_path_factory.mktemp(name), fault, **scene)
            for name, (fault, scene) in scenes.items()
        }


SCENES = list(_scenes())
WRONG_CLOCKS = {"hour_forward": "step_forward", "hour_back": "step_back"}


@pytest.mark.parametrize("scene", SCENES)
def test_the_living_are_never_seen_dead(
    stories: dict[str, Future[Any]], scene: str
) -> None:
    """Neither listed as dead nor missing, and no beat of theirs is refused."""
    story = stories[scene].result()

    assert story.seen(story.living) <= {"alive", "late"}
    assert len(story.looks) > 20
    assert story.refused == []


@pytest.mark.parametrize("scene", [name for name in SCENES if name != "crash_loop"])
def test_the_dead_are_gone_one_ttl_later(
    stories: dict[str, Future[Any]], scene: str
) -> None:
    """Within two sweeps after the TTL from when beats can be received again."""
    story = stories[scene].result()

    assert story.seen(story.killed, after=GONE) == {None}


def test_the_dead_are_gone_though_the_daemon_is_killed_all_the_time(
    stories: dict[str, Future[Any]],
) -> None:
    """Killed every half TTL, it gives them a bounded number of chances."""
    story = stories["crash_loop"].result()
    last = story.looks[-1].daemon
    since = next(look.seconds for look in story.looks if look.daemon is last)

    assert story.seen(story.killed, after=since) == {None}


@pytest.mark.parametrize("scene", ["pause", "watchdog", "down", *WRONG_CLOCKS])
def test_the_fault_is_told(stories: dict[str, Future[Any]], scene: str) -> None:
    """In the log and in health: why lease time stood still, and that it runs."""
    story = stories[scene].result()
    causes = {"pause": "gap", "watchdog": "start", "down": "start", **WRONG_CLOCKS}
    cause = causes[scene]

    assert f": {cause}\n" in story.log
    ended = story.log.count(f"Lease time runs again ({cause}): ")
    told = story.health["lease_time"]
    # Once; but a busy machine may let a daemon stand still for a second more.
    assert told["rearms"][cause] == ended >= 1
    assert told["stands_still_at"] is None


@pytest.mark.parametrize("scene", ["summer_time", "winter_time"])
def test_a_change_to_or_from_summer_time_is_no_step(
    stories: dict[str, Future[Any]], scene: str
) -> None:
    """Everything is in UTC: lease time does not even notice."""
    story = stories[scene].result()
    rearms = story.health["lease_time"]["rearms"]

    assert rearms["step_forward"] == rearms["step_back"] == 0


@pytest.mark.parametrize("scene", WRONG_CLOCKS)
def test_the_sweep_goes_on_after_a_step(
    stories: dict[str, Future[Any]], scene: str
) -> None:
    """The scheduler, which plans on the wall clock, does not wait for the hour."""
    sweep = stories[scene].result().health["sweep"]

    assert sweep["runs"] >= TTL / SWEEP
    assert sweep["age_seconds"] < SWEEP + SLACK


@pytest.mark.torture
def test_a_pause_of_five_minutes_costs_nobody_a_lease_of_one(
    tell: Callable[..., Any], tmp_path: Path
) -> None:
    """At true size: a hundred agents with the default TTL."""
    gone = 60 + 2 * SWEEP + SLACK

    story = tell(tmp_path, partial(_pause, 300, gone), ttl=60, agents=100)

    assert story.seen(story.living) <= {"alive", "late"}
    assert story.seen(story.killed, after=gone) == {None}
