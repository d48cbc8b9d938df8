"""Whether heartbeats can be received: the event loop turns, and the store writes."""

import math
from collections.abc import Callable

from store import AgentRegistryRepository

#: The oldest change may wait so long for its commit.
WRITE_SECONDS = 1.0

CallOnLoop = Callable[[Callable[[], None]], None]


class Intake:
    """Asks the event loop at every question to have answered by the next one."""

    def __init__(self, call_on_loop: CallOnLoop, repo: AgentRegistryRepository) -> None:
        self._call_on_loop = call_on_loop
        self._repo = repo
        self._answered = True

    def loop_turns(self) -> bool:
        """Tell whether the loop ran what it was asked to, and ask it again."""
        if not self._answered:
            return False
        self._answered = False
        self._call_on_loop(self._answer)
        return True

    def store_writes(self) -> bool:
        """Tell whether changes are being committed, as far as any were asked for."""
        return self._repo.write_lag_seconds() < WRITE_SECONDS

    def store_fails(self) -> bool:
        """Tell whether the last change that was asked for could not be committed."""
        return math.isinf(self._repo.write_lag_seconds())

    def _answer(self) -> None:
        self._answered = True
