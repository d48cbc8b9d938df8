"""The sweep: the scheduled step that removes expired agents."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from api.health import SweepHealth
from store import AgentRegistryRepository, Hold, StoreUnavailable, Swept

log = logging.getLogger(__name__)

#: Intervals without a good sweep after which `/health` turns red.
OVERDUE_INTERVALS = 3
#: A sweep that removes nobody for so long hangs. One of a million takes two minutes.
DEADLINE_SECONDS = 10.0
#: Sweeps left to themselves that may still be under way; then nothing turns here.
_MOST_ABANDONED = 3


class ExpirySweep:
    """Removes expired agents, and knows how that went.

    Its age is judged on a monotonic clock: the wall clock may be stepped.

    Args:
        repo: where the agents are.
        interval_seconds: how often it is to run.
        deadline_seconds: how long it may go on without removing anyone.
        monotonic: the clock.
        swept: told of each good sweep how many seconds it took.
    """

    def __init__(
        self,
        repo: AgentRegistryRepository,
        *,
        interval_seconds: float,
        deadline_seconds: float = DEADLINE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        swept: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._repo = repo
        self._deadline_seconds = deadline_seconds
        self._monotonic = monotonic
        self._swept = swept
        self._good_since = monotonic()
        self._finished_at: datetime | None = None
        self._removed = 0
        self._runs = 0
        self._failures = 0
        self._last_error: str | None = None
        self._hold: Hold | None = None
        self._abandoned: list[threading.Thread] = []
        self._sweeping, self._over = threading.Thread(), threading.Event()
        #: How many had been removed as the last run began to wait.
        self._removed_then = 0

    @property
    def stuck(self) -> bool:
        """Whether so many sweeps hang that no further one is begun."""
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        return len(self._abandoned) >= _MOST_ABANDONED

    def run(self) -> None:
        """Sweep once, or await the sweep that is under way as long as it removes.

        A failure is logged and counted; the next run catches up.
        APScheduler never again runs a job of which one run hangs. So each sweep has
        a thread of its own, which is left to itself when it removes nobody until the
        deadline: chunks are atomic, and should it go on, it ends before the next one.
        """
        self._removed_then = self._repo.figures().expired
        if not self._is_under_way():
            self._runs += 1
            if self.stuck:
                self._failed("SweepStuck")
                return
            # A daemon thread: what hangs must not keep the process from ending.
            self._over = threading.Event()
            self._sweeping = threading.Thread(
                target=self._sweep, args=(self._over,), name="sweep", daemon=True
            )
            self._sweeping.start()
        self._sweeping.join(self._deadline_seconds)
        if self._is_under_way() and not self._goes_on():
            self._abandon()

    def stop(self) -> None:
        """End a sweep behind its chunk: to remove a million takes two minutes."""
        self._over.set()

    def _is_under_way(self) -> bool:
        return self._sweeping.is_alive() and self._sweeping not in self._abandoned

    def _goes_on(self) -> bool:
        """Tell whether a sweep is under way that removed someone since the last run."""
        removed = self._repo.figures().expired > self._removed_then
        return removed and self._is_under_way()

    def _abandon(self) -> None:
        self._over.set()
        self._abandoned.append(self._sweeping)
        self._failed("SweepHung")
        log.error(
            "The sweep removed nobody within %g s and is not done; the next one takes "
            "over",
            self._deadline_seconds,
            extra={"action": "sweep_hung"},
        )

    def _sweep(self, over: threading.Event) -> None:
        began = self._monotonic()
        try:
            swept = self._repo.sweep(keep_on=lambda: not over.is_set())
        except StoreUnavailable as error:
            # No failure of the sweep, and told by the store. Lease time stands still,
            # so nobody waits for this.
            self._last_error = type(error).__name__
            log.warning("Not swept: %s", error, extra={"action": "sweep_skipped"})
            return
        except Exception as error:
            self._failed(type(error).__name__)
            log.exception("The sweep failed", extra={"action": "sweep_failed"})
            return
        if not swept.whole:
            return  # told as hung, or the daemon stops
        self._removed = swept.removed
        self._finished_at = self._repo.now()
        self._good_since = self._monotonic()
        self._swept(self._good_since - began)
        self._last_error = None
        log.log(
            logging.INFO if self._removed else logging.DEBUG,
            "Expired agents removed by the sweep: %d",
            self._removed,
            extra={"action": "swept", "removed": self._removed},
        )
        self._tell_of_hold(swept)

    def _failed(self, error: str) -> None:
        self._failures += 1
        self._last_error = error

    def _tell_of_hold(self, swept: Swept) -> None:
        before, self._hold = self._hold, swept.hold
        if swept.hold is not None and swept.hold != before:
            log.warning(
                "The guard holds %d agents that expired together, until %s: at most "
                "%d may go at once",
                swept.held,
                swept.hold.until.isoformat(),
                swept.hold.cap,
                extra={
                    "action": "hold",
                    "held": swept.held,
                    "level": swept.hold.level,
                },
            )
        elif swept.hold is None and before is not None:
            log.warning("The guard holds nobody", extra={"action": "hold_ended"})

    def health(self) -> SweepHealth:
        """Report how the sweep goes; one that is long, and removes, is not overdue."""
        age_seconds = self._monotonic() - self._good_since
        late = age_seconds > OVERDUE_INTERVALS * self.interval_seconds
        return SweepHealth(
            interval_seconds=self.interval_seconds,
            last_finished_at=self._finished_at,
            age_seconds=round(age_seconds, 3),
            removed=self._removed,
            runs=self._runs,
            failures=self._failures,
            last_error=self._last_error,
            overdue=late and not self._goes_on(),
        )
