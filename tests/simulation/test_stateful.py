"""Any calls in any order: the store and its lease clock, and a registry in Python."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from daemon.lease_clock import GAP_SECONDS
from store import AgentFilter, AgentRecord, Outcome
from store.leases import Status

#: Binary fractions, so that sums of them are exact.
TTLS = (4, 8, 64)
IDS = st.sampled_from(["a", "b", "c", "d"])
SOME = st.lists(IDS, max_size=4)
#: More than a gap; a pause in which nothing is noticed would be listening.
PAUSES = st.sampled_from([GAP_SECONDS + 0.5, 10, 100, 10_000])
STEPS = st.sampled_from([-86_400, -3600, -10, -1, 1, 10, 3600, 86_400])


class Lease(NamedTuple):
    """What the model knows: seconds left of a lease, and re-arms since a beat."""

    ttl: int
    left: float
    rearms: float = 0

    def rearmed(self) -> "Lease":
        """Return the lease after the registry could not be heard."""
        if self.left <= 0:
            return self
        missed = min((self.ttl - self.left) / (self.ttl / 3), 1)
        rearms = self.rearms + (missed if self.rearms else 1)
        return self._replace(left=self.ttl if rearms < 4 else 0, rearms=rearms)


class RegistryMachine(RuleBasedStateMachine):
    """Does the same to both, and compares what they answer and what is seen."""

    make_registry: Callable[[], Any]

    @initialize()
    def begin(self) -> None:
        """Begin with nobody."""
        self.registry = self.make_registry()
        self.repo = self.registry.repo
        self.leases: dict[str, Lease] = {}
        self.wanted: dict[str, AgentRecord] = {}
        self.listened = 0.0

    def teardown(self) -> None:
        """End."""
        if hasattr(self, "registry"):
            self.registry.kill()

    # What agents do

    @rule(agent_id=IDS, ttl=st.sampled_from(TTLS), port=st.integers(1, 2))
    def register(self, agent_id: str, ttl: int, port: int) -> None:
        """An agent registers."""
        known = self.leases.get(agent_id)
        before = self.wanted.get(agent_id)
        record = AgentRecord(
            agent_id=agent_id, agent_name="n", host="h", port=port, ttl_seconds=ttl
        )

        outcome, _ = self.repo.register(record)

        if known is None:
            assert outcome is Outcome.CREATED
        elif known.left <= 0:
            assert outcome is Outcome.REVIVED
        else:
            same = before and (before.ttl_seconds, before.port) == (ttl, port)
            assert outcome is (Outcome.UNCHANGED if same else Outcome.UPDATED)
        self.leases[agent_id] = Lease(ttl, ttl)
        self.wanted[agent_id] = record

    @rule(ids=SOME)
    def beat(self, ids: list[str]) -> None:
        """Agents beat; nobody is created by it."""
        renewed = self.repo.update_heartbeats(ids)

        assert renewed.keys() == set(ids) & self.leases.keys()
        self._heard(ids)

    @rule(ids=SOME)
    def beat_in_bulk(self, ids: list[str]) -> None:
        """A node beats for its agents."""
        unknown = self.repo.renew_all(ids)

        assert set(unknown) == set(ids) - self.leases.keys()
        self._heard(ids)

    @rule(agent_id=IDS)
    def deregister(self, agent_id: str) -> None:
        """An agent leaves, dead or alive."""
        assert self.repo.delete(agent_id) == (agent_id in self.leases)
        self.leases.pop(agent_id, None)

    @rule()
    def sweep(self) -> None:
        """The dead are removed, each exactly once."""
        dead = [one for one, lease in self.leases.items() if lease.left <= 0]

        assert self.repo.sweep().removed == len(dead)
        assert self.repo.sweep().removed == 0
        for agent_id in dead:
            del self.leases[agent_id]

    # What befalls the registry

    @rule(halves=st.integers(1, 40))
    def tick(self, halves: int) -> None:
        """Time passes, and beats can be heard."""
        self.registry.run(halves / 2)
        self._passed(halves / 2)

    @rule(seconds=PAUSES)
    def pause(self, seconds: float) -> None:
        """The process is stopped, and goes on."""
        self.registry.machine.seconds += seconds
        self._rearmed()

    @rule(seconds=STEPS)
    def step(self, seconds: float) -> None:
        """The wall clock is stepped."""
        self.registry.machine.stepped += seconds
        self._rearmed()

    @rule(seconds=PAUSES | st.just(0), step=STEPS | st.just(0), asked=st.booleans())
    def restart(self, seconds: float, step: float, asked: bool) -> None:  # noqa: FBT001
        """The process ends, asked to or not, and another one begins."""
        # Later on, a crash forgets up to ten seconds of listening.
        if asked or self.listened > 60:
            self.registry.stop()
        else:
            self.registry.kill()
        self.registry.machine.seconds += seconds
        self.registry.machine.stepped += step
        self.registry.start()
        self.repo = self.registry.repo
        self._rearmed()

    @rule(lives=st.lists(st.sampled_from([2, 25, 50]), max_size=6))
    def crash_loop(self, lives: list[int]) -> None:
        """One process after the other lives for so many seconds."""
        for seconds in lives:
            self.tick(2 * seconds)
            self.restart(seconds=1, step=0, asked=False)

    @invariant()
    def readers_see_the_model(self) -> None:
        """Rows, lists and counts say the same."""
        if not hasattr(self, "registry"):
            return
        alive = {one for one, lease in self.leases.items() if lease.left > 0}

        assert {one.agent_id for one in self.repo.list_all()} == alive
        counted = self.repo.count_by_status()
        assert counted[Status.DEAD] == len(self.leases) - len(alive)
        page = self.repo.list_page(AgentFilter())
        assert page.body.count(b'"is_alive":true') == len(alive)
        for agent_id in ("a", "b", "c", "d"):
            view = self.repo.view(agent_id)
            assert (view is not None) == (agent_id in self.leases)
            assert (view is not None and view.status is not Status.DEAD) == (
                agent_id in alive
            )

    def _heard(self, ids: list[str]) -> None:
        for agent_id in set(ids) & self.leases.keys():
            ttl = self.leases[agent_id].ttl
            self.leases[agent_id] = Lease(ttl, ttl)

    def _passed(self, seconds: float) -> None:
        self.listened += seconds
        for agent_id, lease in self.leases.items():
            self.leases[agent_id] = lease._replace(left=lease.left - seconds)

    def _rearmed(self) -> None:
        # Seen before, lease time stands still; after a turn, leases are re-armed.
        self.readers_see_the_model()
        self.registry.keeper.turn()
        for agent_id, lease in self.leases.items():
            self.leases[agent_id] = lease.rearmed()
        self.listened = 0


@pytest.mark.usefixtures("_on_one_processor")
@pytest.mark.parametrize(
    "examples", [30, pytest.param(5000, marks=pytest.mark.torture)]
)
def test_the_store_and_its_lease_clock_do_as_a_registry_in_python(
    make_registry: Callable[..., Any], examples: int
) -> None:
    """Whatever agents do, and whatever befalls the registry."""

    class OnRealFiles(RegistryMachine):
        def __init__(self) -> None:
            self.make_registry = make_registry
            super().__init__()

    run_state_machine_as_test(
        OnRealFiles,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
