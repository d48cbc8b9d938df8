"""The rules by which agents are kept registered: no threads, no network, no clock.

A keeper owns the agents of one client. Whoever drives it asks for the next `Step`,
makes its call, and reports how that went:

    while (step := keeper.step()) is not None:
        try: keeper.answered(step, send(step.call))
        except RegistryError as error: keeper.failed(step, error)

- An agent that is new, or that the registry does not know, is registered at once.
- The first beat after a registration or a failure comes anywhere within an interval,
  later ones at nine to ten tenths of it: a fleet that starts, or hears of its
  registry again, at one instant does not beat together.
- Agents due within half an interval beat together, in one call.
- While the registry is away the keeper makes one call a time for all its agents, at
  random pauses (full jitter) that double up to one beat interval and never pass it.
- An agent that the registry refuses is tried again every interval. None is given up.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from agent_registry_client import calls
from agent_registry_client.errors import AgentNotFound, RegistryError, RegistryProblem
from agent_registry_client.models import BulkRenewal, RegisteredAgent, Renewal

#: What the registry grants an agent that names no TTL, unless it is configured else.
DEFAULT_TTL_SECONDS = 60

#: The first pause after a failure is at most this; it doubles with each further one.
FIRST_PAUSE_SECONDS = 1.0

#: A beat that takes longer than an interval is late anyway, but give it this.
LEAST_TIMEOUT_SECONDS = 1.0


class State(StrEnum):
    """How an agent stands with the registry, as far as its keeper knows."""

    #: Not registered yet, or not any more; about to be.
    JOINING = "joining"
    #: The last call for it succeeded.
    REGISTERED = "registered"
    #: Calls fail by the registry's or the network's fault; tried again and again.
    RETRYING = "retrying"
    #: The registry says no; tried again every interval, but somebody must mend it.
    REFUSED = "refused"
    #: This process was forked from the one that keeps it, and takes over after it.
    STANDING_BY = "standing_by"
    #: Not kept any more.
    LEFT = "left"


class Change(NamedTuple):
    """An agent's change of state."""

    agent_id: str
    before: State
    after: State
    #: Why, when something went wrong.
    error: RegistryError | None


@dataclass(slots=True, eq=False)
class Kept:
    """An agent that is kept; written by its keeper alone, read by anyone."""

    agent_id: str
    #: The other arguments of a registration.
    description: Mapping[str, Any]
    interval_seconds: float = field(init=False)
    state: State = State.JOINING
    last_error: RegistryError | None = None
    #: When the registry last said yes, on the keeper's clock.
    acknowledged_at: float | None = None
    #: The registry knows it, as far as we heard.
    known: bool = False
    #: It may be listed: a registration was sent that was not refused.
    perhaps_listed: bool = False
    #: Taken over from a process that is gone.
    inherited: bool = False
    #: A common beat was refused: the one at fault must not take the others along.
    alone: bool = False
    due_at: float = 0.0

    def __post_init__(self) -> None:
        ttl_seconds = self.description.get("ttl_seconds") or DEFAULT_TTL_SECONDS
        self.interval_seconds = ttl_seconds / 3


class Step(NamedTuple):
    """A call to make, and for whom."""

    kept: Sequence[Kept]
    call: calls.Call[Any]
    timeout_seconds: float


class Keeper:
    """Decides what is to be done next for its agents; used by one thread at a time."""

    def __init__(
        self,
        tell: Callable[[Sequence[Change]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        #: Called with the changes that one event brought.
        self._tell = tell
        self._clock = clock
        self._draw = draw
        self._kept: dict[str, Kept] = {}
        self._agenda: list[tuple[float, int, Kept]] = []
        self._number = itertools.count()
        self._failures = 0
        self._resume_at = 0.0

    def add(self, kept: Kept) -> None:
        """Keep an agent from now on."""
        self._kept[kept.agent_id] = kept
        self._schedule([kept], self._clock(), 0.0)

    def remove(
        self, leaving: Iterable[Kept], error: RegistryError | None = None
    ) -> None:
        """Keep these no more; `error` is why their goodbye failed, if it did."""
        for kept in leaving:
            self._kept.pop(kept.agent_id, None)
        self._change(leaving, State.LEFT, error)

    def seconds_to_wait(self) -> float | None:
        """Return the time to the next step; None when there is nobody to keep."""
        first = self._first()
        if first is None:
            return None
        return max(0.0, max(first.due_at, self._resume_at) - self._clock())

    def step(self) -> Step | None:
        """Return what is to be done now; None when nothing is due."""
        first = self._first()
        if first is None or self.seconds_to_wait():
            return None
        if not first.known:
            call: calls.Call[Any] = calls.register(first.agent_id, **first.description)
            first.perhaps_listed = True
            return Step([first], call, _timeout([first]))
        together = [first] if first.alone else self._due_soon(first)
        if len(together) == 1:
            return Step(together, calls.heartbeat(first.agent_id), _timeout(together))
        call = calls.heartbeat_all(kept.agent_id for kept in together)
        return Step(together, call, _timeout(together))

    def answered(
        self, step: Step, told: RegisteredAgent | Renewal | BulkRenewal
    ) -> None:
        """Take note of an answer."""
        now = self._clock()
        recovered = self._failures > 0
        self._failures, self._resume_at = 0, 0.0
        unknown: set[str] = set()
        if isinstance(told, BulkRenewal):
            unknown.update(told.unknown)
        else:
            step.kept[0].interval_seconds = told.heartbeat_interval_seconds
        renewed = [kept for kept in step.kept if kept.agent_id not in unknown]
        for kept in renewed:
            kept.known, kept.inherited, kept.acknowledged_at = True, False, now
        registered = isinstance(told, RegisteredAgent)
        # One draw for all, so that who beats together stays together. A registry that
        # hung answers many at one instant, who must not beat together ever after.
        spread = registered or recovered
        part = self._draw() if spread else 0.9 + 0.1 * self._draw()
        self._schedule(renewed, now, part)
        self._change(renewed, State.REGISTERED, None)
        self._forgotten([kept for kept in step.kept if kept.agent_id in unknown], None)

    def failed(self, step: Step, error: RegistryError) -> None:
        """Take note of a failure."""
        now = self._clock()
        if isinstance(error, AgentNotFound) and step.kept[0].known:
            self._forgotten(step.kept, error)
        elif error.temporary:
            self._pause(step, error)
        elif len(step.kept) > 1:
            for kept in step.kept:
                kept.alone = True
            self._schedule(step.kept, now, 0.0)
        else:
            step.kept[0].perhaps_listed = step.kept[0].known
            self._schedule(step.kept, now, 0.5 + 0.5 * self._draw())
            self._change(step.kept, State.REFUSED, error)

    def _pause(self, step: Step, error: RegistryError) -> None:
        concerned: Iterable[Kept] = self._kept.values()
        wanted = 0.0
        if isinstance(error, RegistryProblem):  # the registry itself is there
            concerned, wanted = step.kept, error.retry_after_seconds
        interval = min(kept.interval_seconds for kept in self._kept.values())
        ceiling = wanted + FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 20)
        ceiling = min(interval, ceiling)
        floor = min(wanted, ceiling / 2)
        self._failures += 1
        self._resume_at = self._clock() + floor + (ceiling - floor) * self._draw()
        # Behind all others that are due: one whose call fails must not starve them.
        self._schedule(step.kept, self._resume_at, 0.0)
        self._change(concerned, State.RETRYING, error)

    def _forgotten(
        self, forgotten: Sequence[Kept], error: RegistryError | None
    ) -> None:
        heirs = [kept for kept in forgotten if kept.inherited]
        for kept in heirs:  # who kept it before us has taken its leave
            del self._kept[kept.agent_id]
        self._change(heirs, State.LEFT, error)
        others = [kept for kept in forgotten if not kept.inherited]
        for kept in others:
            kept.known = False
        self._schedule(others, self._clock(), 0.0)
        self._change(others, State.JOINING, error)

    def _due_soon(self, first: Kept) -> list[Kept]:
        now = self._clock()
        others = (
            kept
            for kept in self._kept.values()
            if kept is not first
            and kept.known
            and not kept.alone
            and kept.due_at <= now + kept.interval_seconds / 2
        )
        return [first, *itertools.islice(others, calls.MAX_BULK - 1)]

    def _first(self) -> Kept | None:
        while self._agenda:
            due_at, _, kept = self._agenda[0]
            if kept.due_at == due_at and self._kept.get(kept.agent_id) is kept:
                return kept
            heapq.heappop(self._agenda)  # it was put elsewhere since
        return None

    def _schedule(self, kept_ones: Iterable[Kept], now: float, part: float) -> None:
        for kept in kept_ones:
            kept.due_at = now + part * kept.interval_seconds
            heapq.heappush(self._agenda, (kept.due_at, next(self._number), kept))

    def _change(
        self, concerned: Iterable[Kept], state: State, error: RegistryError | None
    ) -> None:
        changes = []
        for kept in concerned:
            kept.last_error = error or kept.last_error
            if kept.state is not state:
                changes.append(Change(kept.agent_id, kept.state, state, error))
                kept.state = state
        if changes:
            self._tell(changes)


def _timeout(kept_ones: Sequence[Kept]) -> float:
    return max(LEAST_TIMEOUT_SECONDS, min(kept.interval_seconds for kept in kept_ones))
