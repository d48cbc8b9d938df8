"""The keeper of leases: turns the lease clock, and re-arms when it stood still.

It has a thread of its own, with a timer that no wall clock moves: the scheduler
plans on wall time, and would sleep through the hour by which a clock was set back.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from daemon.lease_clock import Cause, LeaseClock, Standstill
from store import AgentRegistryRepository, Listening, StoreError

log = logging.getLogger(__name__)

#: Seconds between two turns.
TURN_SECONDS = 0.5
#: Lease time that was not moved on for so long is told as ill.
_OVERDUE_SECONDS = 30.0
#: A turn is at most so long on its way: a commit takes a second where it fails.
_STUCK_SECONDS = 30.0
#: How often the last instant of listening is stored; each turn in the first minute,
#: so that a registry in a crash loop knows for how long it did listen.
_STORE_SECONDS = 10
_EACH_TURN_SECONDS = 60


class Hearing(Protocol):
    """What tells whether beats can be received: `daemon.intake.Intake`."""

    def loop_turns(self) -> bool:
        """Tell whether the event loop turns."""

    def store_writes(self) -> bool:
        """Tell whether the store writes."""

    def store_fails(self) -> bool:
        """Tell whether it is known not to."""


class LeaseKeeper:
    """Keeps the leases of `repo` from running while nobody can be heard.

    Args:
        repo: judges by `clock`.
        clock: turned here.
        hearing: whether beats can be received.
        on_turn: called at each turn, before anything of it can fail or take long: the
            wall clock may have been stepped.
        monotonic: seconds that nobody steps.
    """

    def __init__(
        self,
        repo: AgentRegistryRepository,
        clock: LeaseClock,
        hearing: Hearing,
        on_turn: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repo = repo
        self._clock = clock
        self._hearing = hearing
        self._on_turn = on_turn
        self._monotonic = monotonic
        #: When this thread last showed that it turns, and when lease time, or a
        #: re-arm, last got further than ever.
        self._turned_at = self._moved_at = monotonic()
        self._chunks = self._most_chunks = 0
        self._told: Standstill | None = None
        self._stored: Listening | None = None
        #: Re-arms of the fleet since the start, by cause.
        self.rearms: Counter[Cause] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper")

    def start(self) -> None:
        """Turn the clock from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the turning, and store until when the registry listened."""
        self._over.set()
        self._thread.join()
        try:
            self._repo.record_listening(self._clock.listening())
        except StoreError as error:
            # What was stored last is earlier, and so is safe.
            log.warning(
                "Until when the registry listened was not stored: %s",
                error,
                extra={"action": "listening_not_stored"},
            )

    @property
    def stuck(self) -> bool:
        """Whether nobody turns the clock any more."""
        return self._monotonic() - self._turned_at > _STUCK_SECONDS

    @property
    def overdue(self) -> bool:
        """Whether lease time has stood still for long, and no re-arm gets further."""
        idle_seconds = self._monotonic() - self._moved_at
        return idle_seconds > _OVERDUE_SECONDS and self._clock.standstill is not None

    def turn(self) -> None:
        """Do what is to be done every half second."""
        self._turned_at = self._monotonic()
        self._on_turn()
        loop_turns = self._hearing.loop_turns()
        self._clock.turn(
            hears=loop_turns and self._hearing.store_writes(),
            fails=self._hearing.store_fails(),
        )
        try:
            standstill = self._clock.standstill
            if standstill is None:
                self._moved_at, self._most_chunks = self._turned_at, 0
                self._store()
            else:
                self._tell(standstill)
                if loop_turns and self._writes():
                    self._rearm(standstill)
        except StoreError as error:
            # Lease time stands still, or will soon: nobody expires meanwhile.
            log.debug("The store does not write: %s", error)

    def _run(self) -> None:
        while not self._over.wait(TURN_SECONDS):
            try:
                self.turn()
            except Exception:
                # The clock stands still by itself when it is not turned.
                log.exception(
                    "Keeping leases failed", extra={"action": "keeper_failed"}
                )

    def _store(self) -> None:
        known = self._clock.listening()
        if self._stored is not None and known.seconds > _EACH_TURN_SECONDS:
            since = (known.listened_at - self._stored.listened_at).total_seconds()
            if since < _STORE_SECONDS:
                return
        self._repo.record_listening(known)
        self._stored = known

    def _writes(self) -> bool:
        """Tell whether the store writes; when it did not, let it try."""
        if self._hearing.store_writes():
            return True
        self._repo.record_listening(self._clock.listening())
        return self._hearing.store_writes()

    def _rearm(self, standstill: Standstill) -> None:
        """Re-arm every lease that was valid when lease time stood still.

        Safe to begin anew at any point, also by the next process: until the end,
        the instant of standing still is what is stored.
        """
        repo, clock = self._repo, self._clock
        clock.begin_rearm()
        at = standstill.at
        repo.record_listening(Listening(at, at))
        now = repo.now()
        if now < at:
            repo.move_lease_time(at, now, partial(clock.stand_at, now))
            at = now
        self._chunks = 0
        # By the clock before that, or the listening before a step would not count.
        rearmed = repo.rearm(at, self._undisturbed, standstill.at)
        now = repo.now()
        # Looked at after the clock was read: behind a gap, or a step forwards, the
        # leases that were just re-armed would have run out. So those reached before it
        # have to be reached again; all of them, and in one go.
        if rearmed is None or clock.disturbed:
            return
        repo.move_lease_time(at, now, partial(clock.stand_at, now))
        if clock.resume():
            self._resumed(standstill, rearmed)

    def _undisturbed(self) -> bool:
        """Turn the clock between two chunks; tell whether to go on."""
        self._turned_at = self._monotonic()
        self._chunks += 1
        if self._chunks > self._most_chunks:
            self._most_chunks = self._chunks
            self._moved_at = self._turned_at
        self._clock.turn(hears=self._hearing.loop_turns())
        return not self._clock.disturbed and not self._over.is_set()

    def _resumed(self, standstill: Standstill, rearmed: int) -> None:
        self._told = None
        self._stored = None
        self.rearms[standstill.cause] += 1
        log.log(
            logging.INFO if standstill.cause is Cause.START else logging.WARNING,
            "Lease time runs again (%s): %d leases re-armed",
            standstill.cause,
            rearmed,
            extra={
                "action": "rearmed",
                "cause": standstill.cause,
                "rearmed": rearmed,
            },
        )

    def _tell(self, standstill: Standstill) -> None:
        if self._told is None:
            log.log(
                logging.INFO if standstill.cause is Cause.START else logging.WARNING,
                "Lease time stands still at %s: %s",
                standstill.at.isoformat(),
                standstill.cause,
                extra={"action": "lease_time_stands", "cause": standstill.cause},
            )
            self._told = standstill
