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
- Agents due within half an interval beat together, in one call. A common beat that
  fails, though the registry is there, goes on without those whom the answer names;
  when it names none, it is halved until the one at fault is alone. What succeeds grows
  together again.
- While the registry is away the keeper makes one call a time for all its agents, at
  random pauses (full jitter) that double up to one beat interval and never pass it.
  A pause counts from the beginning of the attempt.
- `Retry-After` is waited, up to one beat interval. When it is told to registrations
  (429), beats go on.
- An agent that the registry refuses is tried again every interval; when it is the
  client that is refused (401), one attempt a time speaks for all. None is given up.
- Beats of those who are well come first, and the refused last: these are asked for
  together once an interval, and one by one in what time the others leave.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from agent_registry_client import calls
from agent_registry_client.errors import (
    AgentNotFound,
    LimitReached,
    NotAllowed,
    RegistryError,
    RegistryProblem,
)
from agent_registry_client.kept import Change, Kept, State, Turn, bounded
from agent_registry_client.models import BulkRenewal, RegisteredAgent, Renewal

#: The first pause after a failure is at most this; it doubles with each further one.
FIRST_PAUSE_SECONDS = 1.0

#: An attempt may take one interval, and until the next agent who is well has missed a
#: beat, but this anyway: at a TTL below 3 s, a beat that is slow is better than none.
LEAST_TIMEOUT_SECONDS = 1.0

#: Attempts for the refused begin this far apart, at least: with a thousand of them a
#: call each would be a storm of no use, told in the registry's log as well.
REFUSED_PAUSE_SECONDS = 0.02

#: A beat comes so much earlier than at the end of its interval, at most.
JITTER = 0.1


class Step(NamedTuple):
    """A call to make, and for whom."""

    kept: Sequence[Kept]
    call: calls.Call[Any]
    #: For the attempt as a whole, whomever it asks.
    timeout_seconds: float
    began_at: float


class Keeper:
    """Decides what is to be done next for its agents; used by one thread at a time."""

    def __init__(
        self,
        tell: Callable[[Sequence[tuple[Kept, Change]]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        #: Called with the changes that one event brought.
        self._tell = tell
        self._clock = clock
        self._draw = draw
        self._kept: dict[str, Kept] = {}
        self._agendas: dict[Turn, list[tuple[float, int, Kept]]] = {
            turn: [] for turn in Turn
        }
        self._number = itertools.count()
        self._failures = 0
        self._resume_at = 0.0
        #: When the refused may be tried again, one of them, and all in one call.
        self._refused_at = self._refused_together_at = 0.0
        #: What keeps all of them from being registered, until `_resume_at` at least.
        self._trouble: tuple[State, RegistryError] | None = None

    def add(self, kept: Kept) -> None:
        """Keep an agent from now on."""
        now = self._clock()
        self._kept[kept.agent_id] = kept
        kept.turn = Turn.IN_DOUBT
        self._schedule([kept], now)
        if self._trouble and now < self._resume_at:
            self._change([kept], *self._trouble)

    def remove(
        self, leaving: Iterable[Kept], error: RegistryError | None = None
    ) -> None:
        """Keep these no more; `error` is why their goodbye failed, if it did."""
        for kept in leaving:
            self._kept.pop(kept.agent_id, None)
        if not self._kept:  # who comes next may find that it was mended
            self._resume_at, self._trouble = 0.0, None
        self._change(leaving, State.LEFT, error)

    def seconds_to_wait(self) -> float | None:
        """Return the time to the next step; None when there is nobody to keep."""
        first = self._first()
        if first is None:
            return None
        return max(0.0, max(self._due_at(first), self._resume_at) - self._clock())

    def step(self) -> Step | None:
        """Return what is to be done now; None when nothing is due."""
        first = self._first()
        if first is None or self.seconds_to_wait():
            return None
        if first.turn is Turn.REFUSED:
            self._refused_at = self._clock() + REFUSED_PAUSE_SECONDS
        together = [first]
        call: calls.Call[Any] = calls.heartbeat(first.agent_id)
        if not first.known:
            call, first.perhaps_listed = first.registration, True
        elif len(together := self._due_with(first)) > 1:
            call = calls.heartbeat_all(kept.agent_id for kept in together)
        return Step(together, call, self._patience(together), self._clock())

    def answered(
        self, step: Step, told: RegisteredAgent | Renewal | BulkRenewal
    ) -> None:
        """Take note of an answer."""
        now = self._clock()
        recovered = self._failures > 0 or self._trouble is not None
        self._failures, self._resume_at, self._trouble = 0, 0.0, None
        unknown: set[str] = set()
        if isinstance(told, BulkRenewal):
            unknown.update(told.unknown)
        else:
            step.kept[0].interval_seconds = bounded(told.heartbeat_interval_seconds)
        renewed = [kept for kept in step.kept if kept.agent_id not in unknown]
        for kept in renewed:
            kept.known, kept.acknowledged_at, kept.turn = True, now, Turn.WELL
            company = 2 * max(kept.company, len(step.kept))
            kept.company = min(company, calls.MAX_BULK)
        # One draw for all, so that who beats together stays together. A registry that
        # hung answers many at one instant, who must not beat together ever after.
        spread = recovered or isinstance(told, RegisteredAgent)
        self._schedule(renewed, now, self._draw() if spread else self._part(JITTER))
        self._change(renewed, State.REGISTERED, None)
        self._forgotten([kept for kept in step.kept if kept.agent_id in unknown], None)

    def failed(self, step: Step, error: RegistryError) -> None:
        """Take note of a failure."""
        for kept in step.kept:
            kept.turn = max(kept.turn, Turn.IN_DOUBT)
        if isinstance(error, AgentNotFound) and step.kept[0].known:
            self._forgotten(step.kept, error)
        elif isinstance(error, LimitReached) and not step.kept[0].known:
            newcomers = [kept for kept in self._kept.values() if not kept.known]
            self._schedule(newcomers, self._retry_at(step, error, newcomers))
            self._change(newcomers, State.RETRYING, error)
        elif error.temporary:
            self._pause(step, error)
        elif isinstance(error, NotAllowed) and error.status == 401:  # noqa: PLR2004
            self._turned_away(step, error)
        elif len(step.kept) == 1:
            self._refused(step.kept, error)
        elif named := _named(step, error):
            self._part_from(named, step, error)
        elif step.kept[0].turn is not Turn.REFUSED:  # these are tried alone next
            self._halve(step.kept)
            self._schedule(step.kept, self._clock())

    def _part_from(
        self, named: Sequence[Kept], step: Step, error: RegistryError
    ) -> None:
        for kept in step.kept:
            kept.turn = Turn.IN_DOUBT
        self._refused(named, error)
        others = [kept for kept in step.kept if kept.turn is Turn.IN_DOUBT]
        self._schedule(others, self._clock())

    def _refused(self, refused: Sequence[Kept], error: RegistryError) -> None:
        for kept in refused:
            kept.perhaps_listed = kept.known
            kept.turn = Turn.REFUSED
        self._schedule(refused, self._clock(), self._part(0.5))
        self._change(refused, State.REFUSED, error)

    def _pause(self, step: Step, error: RegistryError) -> None:
        concerned: Iterable[Kept] = self._kept.values()
        if isinstance(error, RegistryProblem):  # the registry itself is there
            concerned = step.kept
            # Unless nobody was heard since the last one that failed: then it is no
            # single agent's fault, and so many calls would meet the registry's return.
            if self._failures == 0 and len(step.kept) > 1:
                self._halve(step.kept)
        else:
            self._trouble = State.RETRYING, error
        self._resume_at = self._retry_at(step, error, self._kept.values())
        # Behind all others that are due: one whose call fails must not starve them.
        self._schedule(step.kept, self._resume_at)
        self._change(concerned, State.RETRYING, error)

    def _retry_at(
        self, step: Step, error: RegistryError, waiting: Iterable[Kept]
    ) -> float:
        wanted = 0.0
        if isinstance(error, RegistryProblem):
            wanted = error.retry_after_seconds
        interval = _shortest_interval(waiting)
        ceiling: float = wanted + FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 20)
        ceiling = min(interval, ceiling)
        # Whoever is asked to wait for longer than an interval is spread all the same.
        floor = min(wanted, (1 - JITTER) * interval)
        self._failures += 1
        pause = floor + max(0.0, ceiling - floor) * self._draw()
        return max(self._clock(), step.began_at + pause)

    def _turned_away(self, step: Step, error: RegistryError) -> None:
        step.kept[0].perhaps_listed = step.kept[0].known
        self._trouble = State.REFUSED, error
        interval = _shortest_interval(self._kept.values())
        self._resume_at = self._clock() + self._part(0.5) * interval
        self._schedule(step.kept, self._resume_at)
        self._change(self._kept.values(), State.REFUSED, error)

    def _forgotten(
        self, forgotten: Sequence[Kept], error: RegistryError | None
    ) -> None:
        for kept in forgotten:
            kept.known, kept.turn = False, Turn.IN_DOUBT
        self._schedule(forgotten, self._clock())
        self._change(forgotten, State.JOINING, error)

    def _patience(self, together: Sequence[Kept]) -> float:
        now = self._clock()
        if together[0].turn is Turn.WELL:  # planned anew when it is over
            self._schedule(together, now, 1)
        seconds = _shortest_interval(together)
        if following := self._first_of(Turn.WELL):  # it waits for this call
            seconds = min(seconds, following.due_at + following.interval_seconds - now)
        return max(LEAST_TIMEOUT_SECONDS, seconds)

    def _halve(self, together: Sequence[Kept]) -> None:
        for kept in together:
            kept.company = len(together) // 2

    def _due_with(self, first: Kept) -> list[Kept]:
        now = self._clock()
        if first.turn is Turn.REFUSED:
            return self._refused_with(first, now)
        others = (
            kept
            for kept in self._kept.values()
            if kept is not first
            and kept.known
            and kept.turn is first.turn
            and kept.company >= first.company
            and self._suits(kept, first, now)
        )
        return [first, *itertools.islice(others, first.company - 1)]

    def _suits(self, kept: Kept, first: Kept, now: float) -> bool:
        if first.turn is Turn.IN_DOUBT:  # among those it failed with is one at fault
            return kept.due_at == first.due_at
        return kept.due_at <= now + kept.interval_seconds / 2

    def _refused_with(self, first: Kept, now: float) -> list[Kept]:
        if now < self._refused_together_at:
            return [first]
        others = (
            kept
            for kept in self._kept.values()
            if kept is not first and kept.known and kept.turn is Turn.REFUSED
        )
        together = [first, *itertools.islice(others, calls.MAX_BULK - 1)]
        pause = self._part(0.5) * _shortest_interval(together)
        self._refused_together_at = now + pause
        return together

    def _first(self) -> Kept | None:
        now = self._clock()
        firsts = [kept for turn in Turn if (kept := self._first_of(turn))]
        due = [kept for kept in firsts if self._due_at(kept) <= now]
        # After a failure who waits longest: one that fails for ever must starve nobody.
        if due and self._failures == 0:
            return due[0]
        return min(firsts, key=self._due_at, default=None)

    def _first_of(self, turn: Turn) -> Kept | None:
        agenda = self._agendas[turn]
        while agenda:
            due_at, _, kept = agenda[0]
            planned = kept.due_at == due_at and kept.turn is turn
            if planned and self._kept.get(kept.agent_id) is kept:
                return kept
            heapq.heappop(agenda)  # it was put elsewhere since
        return None

    def _due_at(self, kept: Kept) -> float:
        if kept.turn is Turn.REFUSED:
            return max(kept.due_at, self._refused_at)
        return kept.due_at

    def _part(self, jitter: float) -> float:
        return 1 - jitter + jitter * self._draw()

    def _schedule(self, kept_ones: Iterable[Kept], at: float, part: float = 0) -> None:
        for kept in kept_ones:
            kept.due_at = at + part * kept.interval_seconds
            planned = kept.due_at, next(self._number), kept
            heapq.heappush(self._agendas[kept.turn], planned)

    def _change(
        self, concerned: Iterable[Kept], state: State, error: RegistryError | None
    ) -> None:
        changes = []
        for kept in concerned:
            kept.last_error = error or kept.last_error
            if kept.state is not state:
                change = Change(kept.agent_id, kept.state, state, error)
                changes.append((kept, change))
                kept.state = state
        if changes:
            self._tell(changes)


def _named(step: Step, error: RegistryError) -> Sequence[Kept]:
    """Return who in a common beat was refused, as far as the registry tells."""
    told = error.document.get("refused") if isinstance(error, RegistryProblem) else None
    if not isinstance(told, list):
        return []
    places = {one for one in told if type(one) is int}
    return [kept for place, kept in enumerate(step.kept) if place in places]


def _shortest_interval(kept_ones: Iterable[Kept]) -> float:
    return min(kept.interval_seconds for kept in kept_ones)
