"""The lease clock: lease time runs only while heartbeats can be received.

It compares two clocks at every turn, and whenever it is asked for the time: the
wall clock, in which deadlines are kept, and the machine's running time
(CLOCK_BOOTTIME), which nobody steps. When more than `GAP_SECONDS` of running time
passed since beats could last be received, or the wall clock moved by more than
running time did, lease time stands still at that last instant, until the leases
that were valid then have been re-armed. What it finds is all it does; whoever
turns it (`daemon.lease_keeper`) re-arms.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from store import Listening
from store.clock import Clock, utcnow

#: So long nobody may have been heard without it being a gap: four missed turns.
GAP_SECONDS = 2.0
#: What answers at a turn was asked at the one before: half a second ago, but behind a
#: pause it is longer, and nobody knows when in between it answered. A pause of a second
#: at the start of a stall let leases run for three seconds of it.
_ASKED_SECONDS = GAP_SECONDS + 0.6
#: The wall clock may drift so far from running time between two turns. NTP slews by
#: at most 0.5 ms a second; what is more is a step.
STEP_SECONDS = 0.5


class Cause(StrEnum):
    """Why lease time stood still."""

    START = "start"
    GAP = "gap"
    STEP_FORWARD = "step_forward"
    STEP_BACK = "step_back"
    STALL = "stall"


def running_seconds() -> float:
    """Return the machine's running time, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Reading(NamedTuple):
    """Both clocks at one moment."""

    wall: datetime
    running: float

    def drift_to(self, later: "_Reading") -> float:
        """Return the seconds by which the wall clock moved more than time ran."""
        return (later.wall - self.wall).total_seconds() - self.ran_to(later)

    def ran_to(self, later: "_Reading") -> float:
        return later.running - self.running


class Standstill(NamedTuple):
    """Lease time stands still."""

    #: Where: the last instant at which beats could be received.
    at: datetime
    cause: Cause


class LeaseClock:
    """`store.LeaseTime` for a daemon. Safe to call from any thread.

    Until it begins it is the wall clock: an application whose lifespan never runs
    has nobody to turn it.

    Args:
        wall: the clock in which deadlines are kept.
        running: seconds that no one steps.
    """

    def __init__(
        self,
        *,
        wall: Clock = utcnow,
        running: Callable[[], float] = running_seconds,
    ) -> None:
        #: Stamps what happens in a store that is judged by this clock.
        self.wall = wall
        self._running = running
        self._lock = threading.Lock()
        self._generation = 0
        #: When beats were last heard, and when that was asked; when lease time last
        #: began to run, and when the clock was last turned.
        self._heard = self._asked = self._resumed = self._seen = self._read()
        self._standstill: Standstill | None = None
        self._fails = False
        self._disturbed = False
        self._turned = False

    def begin(self, stopped: Listening | None) -> None:
        """Begin, where a process before this one stopped.

        Lease time stands still at the last instant it listened. None: there was
        no such process, and lease time runs.
        """
        with self._lock:
            self._turned = True
            self._heard = self._asked = self._resumed = self._seen = self._read()
            self._fails = False
            self._standstill = stopped and Standstill(stopped.listened_at, Cause.START)
            self._generation += 1

    @property
    def generation(self) -> int:
        """See `store.LeaseTime`."""
        return self._generation

    @property
    def standstill(self) -> Standstill | None:
        """Where lease time stands still, if it does."""
        with self._lock:
            self._look()
            return self._standstill

    def now(self) -> datetime:
        """Return lease time."""
        with self._lock:
            looked = self._look()
            return self._standstill.at if self._standstill else looked.wall

    def listening(self) -> Listening:
        """Return since when, and until when, the registry is known to listen."""
        with self._lock:
            standstill = self._standstill
            if standstill is not None:
                return Listening(standstill.at, standstill.at)
            return Listening(self._resumed.wall, self._heard.wall)

    def turn(self, *, hears: bool, fails: bool = False) -> None:
        """Look at the clocks.

        Args:
            hears: whether beats are being received, as far as can be seen.
            fails: whether they are known not to be, so that lease time stands still
                at once, and not only when it has become a gap.
        """
        with self._lock:
            self._turned = True
            self._fails = fails
            looked = self._look()
            if hears:
                self._heard, self._asked = looked, self._seen
            self._seen = looked

    def stand_at(self, instant: datetime) -> None:
        """Let a standstill stand at `instant`, to which rows were moved."""
        with self._lock:
            if self._standstill is not None:
                self._standstill = self._standstill._replace(at=instant)
                self._generation += 1

    def begin_rearm(self) -> None:
        """Note whether anything happens, from now on, that spoils a re-arm."""
        with self._lock:
            self._heard = self._asked = self._seen = self._read()
            self._fails = self._disturbed = False

    @property
    def disturbed(self) -> bool:
        """Whether there was another gap or step since `begin_rearm`."""
        with self._lock:
            self._look()
            return self._disturbed

    def resume(self) -> bool:
        """Let lease time run again, for the leases are re-armed; unless disturbed."""
        with self._lock:
            looked = self._look()
            if self._disturbed:
                return False
            self._heard = self._asked = self._resumed = self._seen = looked
            self._standstill = None
            self._generation += 1
            return True

    def _look(self) -> _Reading:
        """Find a gap or a step, if there is one; return what the clocks say."""
        looked = self._read()
        cause = self._cause(looked) if self._turned else None
        if cause is not None:
            if self._standstill is None:
                self._standstill = Standstill(self._heard.wall, cause)
            self._disturbed = True
        return looked

    def _cause(self, looked: _Reading) -> Cause | None:
        drift = self._heard.drift_to(looked)
        if abs(drift) > STEP_SECONDS:
            return Cause.STEP_FORWARD if drift > 0 else Cause.STEP_BACK
        # While it stands still nothing can run too far; and the turns of a re-arm, one
        # for each chunk, may come late.
        runs = self._standstill is None
        if self._heard.ran_to(looked) > GAP_SECONDS or (
            runs and self._asked.ran_to(looked) > _ASKED_SECONDS
        ):
            turned = self._seen.ran_to(looked) <= GAP_SECONDS
            return Cause.STALL if turned else Cause.GAP
        return Cause.STALL if self._fails else None

    def _read(self) -> _Reading:
        """Read both clocks as if at once.

        This thread may be held up between the two: then once more, or a busy
        machine would look like a stepped clock.
        """
        while True:
            before = self._running()
            wall = self.wall()
            if self._running() - before < STEP_SECONDS / 5:
                return _Reading(wall, before)
