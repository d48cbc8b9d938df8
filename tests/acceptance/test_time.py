"""Pauses, restarts and wrong clocks: the living stay, the dead go, each soon.

Fleets of agent processes live through a fault each, all at the same time. Nothing is
held back here: an agent that is due goes, so that whoever stays is not due.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from store.clock import utcnow

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

STEPPED = Path(__file__).with_name("stepped.py")


class Stage(NamedTuple):
    """Where a fault happens: the daemon, and what starts the next one."""

    daemon: Any
    start_again: Callable[[], Any]
    #: Holds by how many seconds the wall clock is wrong.
    offset: Path
    killed: list[str]

    def step(self, seconds: float) -> None:
        """Step the wall clock, in one go."""
        new = self.offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self.offset)


class Scene(NamedTuple):
    """A fault: yields who serves then, and for how many seconds to look at it."""

    fault: Callable[[Stage], Iterator[tuple[Any, float]]]
    agents: int = 20
    ttl: int = TTL
    #: By how many seconds the wall clock is wrong from the start on.
    wrong: float = 0
    zone: str = "UTC"


class Look(NamedTuple):
    """What one look at a fleet showed."""

    daemon: Any
    #: Since the fault was over.
    seconds: float
    #: By agent.
    statuses: dict[str, str]


class Story(NamedTuple):
    """What was seen of a fleet from its fault on."""

    living: list[str]
    killed: list[str]
    looks: list[Look]
    health: Any
    log: str
    refused: list[str]

    def seen(self, agents: list[str], *, after: float = 0) -> set[str | None]:
        """Return what statuses these agents were ever in; None: not there."""
        return {
            look.statuses.get(agent)
            for look in self.looks
            if look.seconds >= after
            for agent in agents
        }


def _pause(stage: Stage) -> Iterator[tuple[Any, float]]:
    stage.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(PAUSE)
    stage.daemon.process.send_signal(signal.SIGCONT)
    yield stage.daemon, GONE + 1


def _step(by: float, stage: Stage) -> Iterator[tuple[Any, float]]:
    stage.step(by)
    yield stage.daemon, GONE + 1


def _nothing(stage: Stage) -> Iterator[tuple[Any, float]]:
    yield stage.daemon, GONE + 1


def _down(stage: Stage) -> Iterator[tuple[Any, float]]:
    stage.daemon.stop()
    time.sleep(DOWN)
    yield stage.start_again(), GONE + 1


def _crash_loop(stage: Stage) -> Iterator[tuple[Any, float]]:
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


def _scenes() -> dict[str, Scene]:
    soon = TTL + 1
    spring = _seconds_until(datetime(2026, 3, 29, 1, tzinfo=UTC)) - soon
    autumn = _seconds_until(datetime(2026, 10, 25, 1, tzinfo=UTC)) - soon
    return {
        "pause": Scene(_pause, agents=100),
        "hour_forward": Scene(partial(_step, 3600)),
        "hour_back": Scene(partial(_step, -3600)),
        "summer_time": Scene(_nothing, wrong=spring, zone="Europe/Berlin"),
        "winter_time": Scene(_nothing, wrong=autumn, zone="Europe/Berlin"),
        "down": Scene(_down),
        "crash_loop": Scene(_crash_loop, ttl=LOOP_TTL),
    }


def _look(watched: Iterator[tuple[Any, float]]) -> Iterator[Look]:
    """Look at every agent, as often as a busy machine allows."""
    over = None
    for daemon, seconds in watched:
        began = time.monotonic()
        over = over or began
        while (asked := time.monotonic()) < began + seconds:
            agents = daemon.agents().items()
            statuses = {agent_id: agent["status"] for agent_id, agent in agents}
            yield Look(daemon, asked - over, statuses)
            time.sleep(0.2)


@pytest.fixture(scope="module")
def stories(
    daemons_in: Callable[..., Any],
    fleet_of: Callable[..., Any],
    wait_until: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[Story]]]:
    """Let every fault happen to a fleet of its own."""

    def tell(folder: Path, scene: Scene) -> Story:
        offset, errors = folder / "offset", folder / "errors"
        offset.write_text(str(scene.wrong))
        environ = {
            "AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS": str(SWEEP),
            "AGENT_REGISTRY_GUARD__ENABLED": "false",
            "TZ": scene.zone,
        }
        names = [f"agent-{number}" for number in range(scene.agents)]
        killed = names[::7]
        with daemons_in(folder) as start:
            program = (sys.executable, STEPPED, offset)
            daemon = start(*program, **environ)
            environ["AGENT_REGISTRY_SERVER__PORT"] = str(daemon.port)
            start_again = partial(start, *program, **environ)
            with fleet_of(daemon, scene.agents, scene.ttl, errors) as pids:
                wait_until(lambda: daemon.agents().keys() == set(names), 20)
                for agent, pid in zip(names, pids, strict=True):
                    if agent in killed:
                        os.kill(pid, signal.SIGKILL)
                fault = scene.fault(Stage(daemon, start_again, offset, killed))
                looks = list(_look(fault))
                serving = looks[-1].daemon
                health = serving.call("GET", "/health")
            log = serving.log()
        complaints = errors.read_text().splitlines()
        return Story(
            [name for name in names if name not in killed],
            killed,
            looks,
            health,
            log,
            [complaint for complaint in complaints if ": 4" in complaint],
        )

    scenes = _scenes()
    with ThreadPoolExecutor(len(scenes)) as pool:
        yield {
            name: pool.submit(tell, tmp_path_factory.mktemp(name), scene)
            for name, scene in scenes.items()
        }


SCENES = list(_scenes())
WRONG_CLOCKS = {"hour_forward": "step_forward", "hour_back": "step_back"}


@pytest.mark.parametrize("scene", SCENES)
def test_the_living_are_never_seen_dead(
    stories: dict[str, Future[Story]], scene: str
) -> None:
    """Neither listed as dead nor missing, and no beat of theirs is refused."""
    story = stories[scene].result()

    assert story.seen(story.living) <= {"alive", "late"}
    assert len(story.looks) > 20
    assert story.refused == []


@pytest.mark.parametrize("scene", [name for name in SCENES if name != "crash_loop"])
def test_the_dead_are_gone_one_ttl_later(
    stories: dict[str, Future[Story]], scene: str
) -> None:
    """Within two sweeps after the TTL from when beats can be received again."""
    story = stories[scene].result()

    assert story.seen(story.killed, after=GONE) == {None}


def test_the_dead_are_gone_though_the_daemon_is_killed_all_the_time(
    stories: dict[str, Future[Story]],
) -> None:
    """Killed every half TTL, it gives them a bounded number of chances."""
    story = stories["crash_loop"].result()
    last = story.looks[-1].daemon
    since = next(look.seconds for look in story.looks if look.daemon is last)

    assert story.seen(story.killed, after=since) == {None}


@pytest.mark.parametrize("scene", ["pause", "down", *WRONG_CLOCKS])
def test_the_fault_is_told(stories: dict[str, Future[Story]], scene: str) -> None:
    """In the log and in health: why lease time stood still, and that it runs."""
    story = stories[scene].result()
    cause = {"pause": "gap", "down": "start", **WRONG_CLOCKS}[scene]

    assert f": {cause}\n" in story.log
    assert f"Lease time runs again ({cause}): " in story.log
    told = story.health["lease_time"]
    assert told["rearms"][cause] == 1
    assert told["stands_still_at"] is None


@pytest.mark.parametrize("scene", ["summer_time", "winter_time"])
def test_a_change_to_or_from_summer_time_is_no_step(
    stories: dict[str, Future[Story]], scene: str
) -> None:
    """Everything is in UTC: lease time does not even notice."""
    story = stories[scene].result()
    rearms = story.health["lease_time"]["rearms"]

    assert rearms["step_forward"] == rearms["step_back"] == 0


@pytest.mark.parametrize("scene", WRONG_CLOCKS)
def test_the_sweep_goes_on_after_a_step(
    stories: dict[str, Future[Story]], scene: str
) -> None:
    """The scheduler, which plans on the wall clock, does not wait for the hour."""
    sweep = stories[scene].result().health["sweep"]

    assert sweep["runs"] >= TTL / SWEEP
    assert sweep["age_seconds"] < SWEEP + SLACK
