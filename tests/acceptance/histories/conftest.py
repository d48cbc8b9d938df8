"""Histories of calls, and whether one serial order explains them.

Threads register, beat, get and delete a few agents while they are swept; each call is
noted with when it began and ended. The checker then looks for an order of the calls,
in accord with those times, in which each answer is the right one. (Wing and Gong,
"Testing and Verifying Concurrent Objects", 1993; remembering what was tried:
Lowe, "Testing for linearizability", 2017.)
"""

import math
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

import pytest

#: Of every agent here, in seconds.
TTL = 1
IDS = [f"agent-{number}" for number in range(4)]
THREADS = 8


#: It decides nothing but who calls about whom.
_DICE = random.Random()  # noqa: S311


class Call(NamedTuple):
    """One call about an agent: what was asked, and what was answered when."""

    verb: str
    #: Of a registration: its number. Else 0.
    version: int
    #: What was answered: the outcome, the version found, "done", or None for unknown.
    answer: Any
    began: float
    ended: float


class State(NamedTuple):
    """An agent as some order of calls leaves it; its lease was renewed between."""

    version: int
    earliest: float
    latest: float

    def may_be_dead(self, call: Call) -> bool:
        """Tell whether the lease may have run out as the call ended."""
        return call.ended >= self.earliest + TTL

    def may_live(self, call: Call) -> bool:
        """Tell whether the lease may have been valid as the call began."""
        return call.began < self.latest + TTL


def after(state: State | None, call: Call) -> Iterator[State | None]:
    """Yield what an agent may be after a call, if its answer is right."""
    if state is not None and state.may_be_dead(call):
        # It may have been swept just before.
        yield from _after(None, call)
    yield from _after(state, call)


def _after(state: State | None, call: Call) -> Iterator[State | None]:
    if call.verb == "register":
        if call.answer in _outcomes(state, call):
            yield State(call.version, call.began, call.ended)
    elif state is None:
        if call.answer is None:
            yield None
    elif call.verb == "beat":
        if call.answer == "done":
            yield State(state.version, call.began, call.ended)
    elif call.verb == "get":
        if call.answer == state.version:
            yield state
    elif call.answer == "done":
        yield None


def _outcomes(state: State | None, call: Call) -> set[str]:
    if state is None:
        return {"created"}
    possible = set()
    if state.may_live(call):
        possible.add("updated")
    if state.may_be_dead(call):
        possible.add("revived")
    return possible


def is_linearizable(history: list[Call]) -> bool:
    """Tell whether an order of the calls explains all of them."""
    calls = sorted(history, key=lambda call: call.began)
    everything = (1 << len(calls)) - 1
    tried: set[tuple[int, State | None]] = {(0, None)}
    waiting = list(tried)
    while waiting:
        done, state = waiting.pop()
        if done == everything:
            return True
        for number in _next(calls, done):
            for then in after(state, calls[number]):
                reached = (done | 1 << number, then)
                if reached not in tried:
                    tried.add(reached)
                    waiting.append(reached)
    return False


def _next(calls: list[Call], done: int) -> Iterator[int]:
    """Yield which calls may come next: those that began before any other ended."""
    first = (~done & (done + 1)).bit_length() - 1
    ended = math.inf
    for number in range(first, len(calls)):
        if calls[number].began > ended:
            return
        if not done >> number & 1:
            ended = min(ended, calls[number].ended)
            yield number


class Recorder:
    """Threads that call about agents, and the histories of what they were told.

    Args:
        clock: the one by which leases run.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.histories: dict[str, list[Call]] = defaultdict(list)
        self._clock = lambda: clock().timestamp()
        self._versions = count(1)

    def run(self, seconds: float, reach: Callable[[], Any]) -> None:
        """Let all threads call at random for so long; `reach` gives each whom to."""
        end = time.monotonic() + seconds
        failed: list[BaseException] = []

        def call_on() -> None:
            try:
                with closing(reach()) as registry:
                    while time.monotonic() < end:
                        self._call(registry)
            except BaseException as error:  # noqa: BLE001 - raised below
                failed.append(error)

        threads = [threading.Thread(target=call_on) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def _call(self, registry: Any) -> None:
        agent_id = _DICE.choice(IDS)
        verb = _DICE.choice(["register", "beat", "beat", "get", "delete"])
        version = next(self._versions) if verb == "register" else 0
        began = self._clock()
        answer = registry.ask(verb, agent_id, version)
        self.histories[agent_id].append(
            Call(verb, version, answer, began, self._clock())
        )


@pytest.fixture(name="Call")
def _call() -> type[Call]:
    """Return what a call is noted as."""
    return Call


@pytest.fixture
def record_calls() -> type[Recorder]:
    """Return what lets threads call, and notes what they were told."""
    return Recorder


@pytest.fixture(name="is_linearizable")
def _is_linearizable() -> Callable[[list[Call]], bool]:
    """Return the checker."""
    return is_linearizable
