"""Fleets of agent processes that live through a fault of their registry."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SWEEP = 1

STEPPED = Path(__file__).with_name("stepped.py")


class Stage(NamedTuple):
    """Where a fault happens: the daemon, and what starts the next one."""

    daemon: Any
    start_again: Callable[[], Any]
    #: Holds by how many seconds the wall clock is wrong.
    offset: Path
    killed: list[str]
    wait_until: Callable[..., Any]

    def await_lease_time(self) -> None:
        """Wait until lease time runs: a gap hides a step of the clock within it.

        A busy machine makes some as fleets start.
        """
        self.wait_until(self._lease_time_runs, 20)

    def _lease_time_runs(self) -> bool:
        lease_time = self.daemon.call("GET", "/health")["lease_time"]
        return lease_time["stands_still_at"] is None

    def step(self, seconds: float) -> None:
        """Step the wall clock, in one go."""
        new = self.offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self.offset)


#: Yields who serves then, and for how many seconds to look at it.
Fault = Callable[[Stage], Iterator[tuple[Any, float]]]


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


@pytest.fixture(scope="session")
def tell(
    daemons_in: Callable[..., Any],
    fleet_of: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> Callable[..., Story]:
    """Return what lets a fault happen to a fleet, of which each seventh was killed.

    `wrong` is by how many seconds the wall clock is wrong from the start on.
    """

    def tell(
        folder: Path,
        fault: Fault,
        *,
        ttl: int,
        agents: int = 20,
        wrong: float = 0,
        zone: str = "UTC",
    ) -> Story:
        offset, errors = folder / "offset", folder / "errors"
        offset.write_text(str(wrong))
        environ = {
            "AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS": str(SWEEP),
            "AGENT_REGISTRY_GUARD__ENABLED": "false",
            "TZ": zone,
        }
        names = [f"agent-{number}" for number in range(agents)]
        killed = names[::7]
        with daemons_in(folder) as start:
            program = (sys.executable, STEPPED, offset)
            daemon = start(*program, **environ)
            environ["AGENT_REGISTRY_SERVER__PORT"] = str(daemon.port)
            start_again = partial(start, *program, **environ)
            with fleet_of(daemon, agents, ttl, errors) as pids:
                wait_until(lambda: daemon.agents().keys() == set(names), 20)
                for agent, pid in zip(names, pids, strict=True):
                    if agent in killed:
                        os.kill(pid, signal.SIGKILL)
                stage = Stage(daemon, start_again, offset, killed, wait_until)
                looks = list(_look(fault(stage)))
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

    return tell
