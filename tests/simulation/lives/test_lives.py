"""Whole lives of a registry from a seed: the real code, on a machine full of faults.

A failure prints the seed: `SIMULATION_SEED` and `SIMULATION_STEPS` in the environment
repeat it. Under torture, `SIMULATION_TORTURE_STEPS` says how many steps are taken in
all, and `SIMULATION_SEED` with which seed they begin.
"""

import heapq
import math
import os
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from itertools import count
from typing import Any

import orjson
import pytest

from daemon.lease_keeper import TURN_SECONDS
from store import AgentFilter, AgentRecord, GuardRules, StoreUnavailable

STEPS = int(os.environ.get("SIMULATION_STEPS", "20_000"))
SEEDS = [int(seed) for seed in os.environ.get("SIMULATION_SEED", "1 2 3 4 5").split()]
#: Under torture: steps in all, and by one seed.
TORTURE_STEPS = int(os.environ.get("SIMULATION_TORTURE_STEPS", "10_000_000"))
FIRST_SEED, PART_STEPS = SEEDS[0], 100_000

SWEEP_SECONDS = 60
TTLS = (6, 6, 15, 20, 20, 30, 60, 60, 60, 300)
RULES = (
    GuardRules(min_agents=3),
    GuardRules(min_agents=3, hold_seconds=60, hold_most_seconds=400),
    GuardRules(hold_seconds=120, hold_most_seconds=900),
)
AGENTS = [f"agent-{number:02}" for number in range(20)]
EVERYONE = AgentFilter(include_dead=True)


class World:
    """Agents, a registry, and what befalls them."""

    def __init__(self, seed: int, registry: Any, model: Any, weather: Any) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a simulation
        self.registry, self.machine, self.model = registry, registry.machine, model
        self.cut: list[str] = []
        self.story: deque[str] = deque(maxlen=30)
        self.numbers = count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        for agent_id in AGENTS:
            self.after(self.random.random(), self.life(agent_id))
        #: What may befall the registry besides.
        self.faults = [
            *(self.crash, self.restart, self.cut_off, self.sweep, self.deregister)
        ]
        self.weather = weather(self)
        self.somehow = self.weather.somehow
        self.begin()

    # Time

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan what happens so much later."""
        at = self.machine.seconds + seconds
        heapq.heappush(self.events, (at, next(self.numbers), action))

    def live(self, steps: int) -> None:
        """Take so many steps, comparing after each."""
        for step in range(1, steps + 1):
            at, _, action = heapq.heappop(self.events)
            if at < self.machine.seconds - 1 and self.random.random() < 0.3:
                self.after(self.random.random(), action)
                continue
            self.pass_until(at)
            self.tell(step, action)
            try:
                action()
            except SystemExit:  # it was ended in the midst of that
                self.crash()
            calm = action.__name__ in {"act", "turn"} and step % 10
            self.calmly(self.glance if calm else self.compare)

    def pass_until(self, at: float) -> None:
        """Let time pass as it should."""
        seconds = max(0.0, at - self.machine.seconds)
        self.machine.seconds += seconds
        heard, sure = self.weather.listens()
        self.model.listened(seconds if heard else 0, sure=sure)

    # The process

    def begin(self) -> None:
        """Turn and sweep as a daemon does, while this process lives."""
        self.began = self.machine.seconds
        keeper = self.registry.keeper

        def turn() -> None:
            if keeper is self.registry.keeper:
                self.after(TURN_SECONDS * self.random.uniform(1, 1.1), turn)
                keeper.turn()

        def sweep() -> None:
            if keeper is self.registry.keeper:
                self.after(SWEEP_SECONDS * self.random.uniform(1, 1.1), sweep)
                self.sweep()

        self.after(TURN_SECONDS * self.random.random(), turn)
        self.after(SWEEP_SECONDS * self.random.random(), sweep)

    def crash(self) -> None:
        """End without a word, and begin anew."""
        # In its first minute a process stores all the time that it listens.
        young = self.machine.seconds - self.began < 58
        self.end(self.registry.kill, forgets=0 if young else 10.5)

    def restart(self) -> None:
        """End as asked to, and begin anew."""
        self.end(self.registry.stop)

    def end(self, how: Callable[[], None], forgets: float = 0) -> None:
        """End, and begin anew some time later."""
        self.machine.on_read = lambda: None
        self.weather.clear()
        how()
        self.model.disturbed(forgets)
        self.machine.seconds += self.somehow(0.1, 3000)
        if self.random.random() < 0.3:
            self.weather.step()
        self.registry.start()
        self.begin()

    def sweep(self) -> None:
        """Sweep; when nothing happens meanwhile, it does what readers see."""
        if self.random.random() < 0.5:
            return self.calmly(self.sweep_as_seen)
        before = self.model.rows.keys()
        try:
            self.registry.repo.sweep()
        except StoreUnavailable:
            self.weather.refused()
        finally:
            self.calmly(lambda: self.model.removed(before - self.look().keys()))
        return None

    def sweep_as_seen(self) -> None:
        """Sweep: the dead go, and of a hold that is over the oldest of its own."""
        repo = self.registry.repo
        seen, hold = self.look(), repo.hold()
        over = hold is not None and repo.lease_now() >= hold.until
        dead = {key for key, one in seen.items() if one["status"] == "dead"}
        held = [key for key, one in seen.items() if one["status"] == "held"]
        held.sort(key=lambda key: seen[key]["expires_at"])
        try:
            swept = repo.sweep()
        except StoreUnavailable:
            return self.weather.refused()
        gone = seen.keys() - self.look().keys()
        taken = sorted(seen[key]["expires_at"] for key in gone - dead)
        due = {key: datetime.fromisoformat(seen[key]["expires_at"]) for key in held}
        own = [key for key in held if over and due[key] <= hold.until]
        allowed = own[: max(hold.cap, repo.guard.cap(len(seen)))] if over else []
        assert gone >= dead
        assert taken == [seen[key]["expires_at"] for key in allowed]
        assert gone - dead <= set(held)
        assert (swept.removed, swept.held) == (len(gone), len(held) - len(taken))
        self.model.removed(gone)
        self.model.swept()
        return None

    # Agents

    def calmly(self, do: Callable[[], None]) -> None:
        """Do it while nothing happens."""
        lurking, self.machine.on_read = self.machine.on_read, lambda: None
        do()
        self.machine.on_read = lurking

    def cut_off(self) -> None:
        """Cut some agents off, perhaps all of them."""
        size = self.random.randint(1, len(AGENTS))
        self.cut = cut = self.random.sample(AGENTS, size)

        def end() -> None:
            if self.cut is cut:
                self.cut = []

        self.after(self.somehow(5, 1000), end)

    def life(self, agent_id: str) -> Callable[[], None]:
        """Return what an agent does over and over."""
        ttl = self.random.choice(TTLS)

        def act() -> None:
            seconds = ttl / 3 * self.random.uniform(0.8, 1)
            if self.random.random() < 0.01:
                seconds = self.somehow(ttl, 30 * ttl)  # dead, and born again
            if self.weather.stalled is not None:
                seconds = self.random.random()
            elif agent_id not in self.cut:
                if agent_id not in self.model.rows or self.random.random() < 0.01:
                    self.register(agent_id, ttl)
                else:
                    self.beat(agent_id)
            self.after(seconds, act)

        return act

    def register(self, agent_id: str, ttl: int) -> None:
        """Register an agent."""
        at = self.model.listening
        record = AgentRecord(
            agent_id=agent_id, agent_name="n", host="h", port=1, ttl_seconds=ttl
        )
        try:
            self.registry.repo.register(record)
        except StoreUnavailable:
            return self.weather.refused()
        self.model.register(agent_id, ttl, at)
        return None

    def beat(self, agent_id: str) -> None:
        """Let an agent beat; sometimes those beside it wait in the same batch."""
        ids = [agent_id]
        if self.random.random() < 0.1:
            ids += self.random.sample(AGENTS, 3)
        at = self.model.listening
        try:
            renewed = self.registry.repo.update_heartbeats(ids)
        except StoreUnavailable:
            return self.weather.refused()
        assert renewed.keys() == self.model.rows.keys() & set(ids)
        for each in renewed:
            self.model.heard(each, at)
        return None

    def deregister(self) -> None:
        """Let an agent leave."""
        agent_id = self.random.choice(AGENTS)
        try:
            known = self.registry.repo.delete(agent_id)
        except StoreUnavailable:
            return self.weather.refused()
        assert known == (self.model.rows.pop(agent_id, None) is not None)
        return None

    # What is seen

    def look(self) -> dict[str, Any]:
        """List everyone."""
        page = self.registry.repo.list_page(EVERYONE)
        return {one["agent_id"]: one for one in orjson.loads(page.body)}

    def compare(self) -> None:
        """Compare all that is listed with the model."""
        seen = self.look()
        assert seen.keys() == self.model.rows.keys()
        for agent_id, one in seen.items():
            self.model.shown(agent_id, one["status"])

    def glance(self) -> None:
        """Compare one agent with the model."""
        agent_id = self.random.choice(AGENTS)
        view = self.registry.repo.view(agent_id)
        assert (view is not None) == (agent_id in self.model.rows)
        if view is not None:
            self.model.shown(agent_id, view.status)

    def tell(self, step: int, action: Callable[[], None]) -> None:
        """Keep what happened last."""
        where = action.__qualname__.rpartition(".<locals>.")[2]
        self.story.append(f"{step} at {self.machine.seconds:.2f}: {where}")


@pytest.mark.long
@pytest.mark.usefixtures("_on_one_processor")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_lease_ends_early_and_none_lasts(
    seed: int, model: Any, weather: Any, make_registry: Callable[..., Any]
) -> None:
    """Whatever befalls the registry, it agrees with a model of a hundred lines."""
    rules = RULES[seed % len(RULES)]
    model.longest_hold = rules.hold_most_seconds
    world = World(seed, make_registry(rules), model, weather)
    try:
        with closing(world.weather.file):
            world.live(STEPS)
    except BaseException as error:
        told = f"SIMULATION_SEED={seed} SIMULATION_STEPS={STEPS}"
        error.add_note("\n".join([*world.story, told]))
        raise


@pytest.mark.torture
def test_ten_million_steps(capfd: pytest.CaptureFixture[str]) -> None:
    """The same, with as many processes as there are processors."""
    began = time.monotonic()
    parts = range(FIRST_SEED, FIRST_SEED + math.ceil(TORTURE_STEPS / PART_STEPS))

    processors = os.sched_getaffinity(0)
    # What a thread starts inherits the processor that the thread keeps to.
    keep_to = iter(processors)
    with ThreadPoolExecutor(
        len(processors), initializer=lambda: os.sched_setaffinity(0, {next(keep_to)})
    ) as processes:
        for done, (seed, story) in enumerate(processes.map(_live_apart, parts), 1):
            assert not story, story
            steps, seconds = done * PART_STEPS, time.monotonic() - began
            with capfd.disabled():
                print(f"seed {seed}: {steps:,} steps, {steps / seconds:,.0f}/s")  # noqa: T201


def _live_apart(seed: int) -> tuple[int, str]:
    """Return what a process of its own said, if it failed."""
    part = {"SIMULATION_SEED": str(seed), "SIMULATION_STEPS": str(PART_STEPS)}
    test = f"{__file__}::{test_no_lease_ends_early_and_none_lasts.__name__}"
    options = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")
    options += ("-o", "faulthandler_timeout=0")  # on a busy machine it takes as long
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", test, *options],
        env=os.environ | part,
        capture_output=True,
        text=True,
        check=False,
    )
    return seed, ran.stdout + ran.stderr if ran.returncode else ""
