"""`demo`: a few agents live, one dies, and the registry notices."""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import typer

from agent_registry_client.cli.advice import FAILED, complain
from agent_registry_client.cli.events import Look
from agent_registry_client.cli.options import Json, Url
from agent_registry_client.cli.watch import Shown, looks, shown
from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.models import AgentInfo, Health

NAMES = ("Critic", "Planner", "Researcher", "Summariser", "Translator")

#: Who watches gets tired: an agent is to die within so long.
DEMO_SECONDS = 57.0

#: How often a registry sweeps that does not tell, unless it is configured else.
SWEEP_SECONDS = 60.0

#: How late a sweep may be, and the look that shows it.
LATE_SECONDS = 15.0

#: Agents that are not up after this will not be.
START_SECONDS = 15.0

LOOK_SECONDS = 0.25


def demo(
    *,
    ttl: Annotated[
        int,
        typer.Option("--ttl", metavar="SECONDS", min=1, help="The TTL of its agents."),
    ] = 3,
    url: Url = None,
    json: Json = False,
) -> None:
    """Start agents, kill one, watch it expire.

    It is dead after its TTL, and removed by the next sweep, within a minute where
    nothing is configured. Leaves nothing behind, however it is ended.
    """
    client = AgentRegistryClient(url)
    ends_at = time.monotonic() + DEMO_SECONDS
    client.health()  # nobody there is the first thing to hear of
    number = secrets.token_hex(2)
    seen = looks(client, {"metadata": {"demo": number}}, LOOK_SECONDS)
    with shown(as_json=json) as where:
        where.show(next(seen))  # nobody yet: all are seen to register
        with _agents(client, number, ttl) as programs:
            Demo(client, where, seen, programs, ends_at).play()


class Demo:
    """One performance."""

    def __init__(
        self,
        client: AgentRegistryClient,
        where: Shown,
        seen: Iterator[Look],
        programs: "dict[str, subprocess.Popen[bytes]]",
        ends_at: float,
    ) -> None:
        self._client = client
        self._where = where
        self._seen = seen
        self._programs = programs
        self._ends_at = ends_at
        self._victim = next(iter(programs))
        #: As they were when all were up.
        self._fleet: Sequence[AgentInfo] = ()

    def play(self) -> None:
        """Let them live, let one die, tell what became of it."""
        say = self._where.say
        say(f"Starting {len(self._programs)} agents, each a process of its own.")
        self._until(self._settled, time.monotonic() + START_SECONDS)
        if not self._fleet:
            complain("the agents did not register", "Is --ttl one that is granted?")
            raise typer.Exit(FAILED)
        say("All are registered, and beat by themselves.")
        self._until(lambda _: False, time.monotonic() + 2)
        self._programs[self._victim].kill()
        say(f"kill -9 {self._victim}: it falls silent, and says no goodbye.")
        # A sweep may come between two looks.
        if not self._until(self._is("dead", "gone"), self._ends_at):
            say("It is not dead yet: `agent-registry watch` shows when.")
            return
        say(
            f"Dead, {self._fleet[0].ttl_seconds} s after its last beat, to the "
            "microsecond: it is not found any more."
        )
        self._expire()

    def _expire(self) -> None:
        say = self._where.say
        due_seconds = _sweep_due_seconds(self._client.health())
        say(
            f"The next sweep removes it, in {due_seconds:.0f} s. Ctrl-C leaves earlier."
        )
        by = time.monotonic() + due_seconds + LATE_SECONDS
        if self._until(self._is("gone"), by):
            say("Expired: the sweep removed it. The others never noticed.")
        else:
            say("It is not removed yet: `agent-registry health` says why.")
        say("The others deregister now. Next: `agent-registry --help`")

    def _settled(self, look: Look) -> bool:
        if len(look.agents) == len(self._programs):
            self._fleet = look.agents
        ended = any(program.poll() is not None for program in self._programs.values())
        return bool(self._fleet) or ended

    def _until(self, happened: Callable[[Look], bool], by: float) -> bool:
        for look in self._seen:
            self._where.show(look)
            if happened(look):
                return True
            if time.monotonic() > by:
                break
        return False

    def _is(self, *statuses: str) -> Callable[[Look], bool]:
        def has(look: Look) -> bool:
            found = [a for a in look.agents if a.agent_id == self._victim]
            return _status(found) in statuses

        return has


def _status(found: list[AgentInfo]) -> str:
    return found[0].status if found else "gone"


def _sweep_due_seconds(health: Health) -> float:
    if health.sweep is None:
        return SWEEP_SECONDS
    return max(0.0, health.sweep.interval_seconds - health.sweep.age_seconds)


@contextlib.contextmanager
def _agents(
    client: AgentRegistryClient, number: str, ttl_seconds: int
) -> "Iterator[dict[str, subprocess.Popen[bytes]]]":
    """Run the agents; they end with us, however we end."""
    programs = {
        agent_id: subprocess.Popen(  # noqa: S603 - our own module
            [
                sys.executable,
                "-m",
                "agent_registry_client.cli.demo_agent",
                ",".join(client.urls),
                agent_id,
                name,
                str(ttl_seconds),
                number,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ,
        )
        for name in NAMES
        for agent_id in [f"demo-{number}-{name.lower()}"]
    }
    try:
        yield programs
    finally:
        for program in programs.values():
            if program.stdin:
                program.stdin.close()
        for program in programs.values():
            program.wait()
