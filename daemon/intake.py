"""Whether heartbeats can be received: the event loop turns, and the store writes."""

import math
from collections.abc import Callable
from functools import partial

from store import AgentRegistryRepository

#: The oldest change may wait so long for its commit, and a beat on the loop.
WAIT_SECONDS = 1.0

#: A beat that has arrived is stored after so many turns of the loop: the bytes are
#: read, the request is begun, and four for its batch to gather. So a loop may turn and
#: still be too slow: with turns of 0.9 s each a beat took 5.4 s.
_TURNS_OF_A_BEAT = 6

CallOnLoop = Callable[[Callable[[], None]], object]


class Intake:
    """Asks the event loop at every question to have answered by the next one.

    Args:
        call_on_loop: has something called by the event loop.
        repo: where beats are stored.
        beat_waits_seconds: how long the oldest beat waits on the event loop, be it
            behind a batch of others.
    """

    def __init__(
        self,
        call_on_loop: CallOnLoop,
        repo: AgentRegistryRepository,
        beat_waits_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._call_on_loop = call_on_loop
        self._repo = repo
        self._beat_waits_seconds = beat_waits_seconds
        self._answered = True

    def loop_turns(self) -> bool:
        """Tell whether the loop serves beats: it did what it was asked to, in time.

        And ask it again.
        """
        if not self._answered:
            return False
        self._answered = False
        self._call_on_loop(partial(self._answer_after, _TURNS_OF_A_BEAT - 1))
        return self._beat_waits_seconds() < WAIT_SECONDS

    def store_writes(self) -> bool:
        """Tell whether changes are being committed, as far as any were asked for."""
        return self._repo.write_lag_seconds() < WAIT_SECONDS

    def store_fails(self) -> bool:
        """Tell whether the last change that was asked for could not be committed."""
        return math.isinf(self._repo.write_lag_seconds())

    def _answer_after(self, turns: int) -> None:
        if turns:
            self._call_on_loop(partial(self._answer_after, turns - 1))
        else:
            self._answered = True
