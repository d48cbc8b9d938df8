"""What a store counts of its own work, as plain numbers for whoever shows them."""

import math
import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

#: Upper bounds in seconds: a fast disk's fsync, up to a writer that is stuck.
_COMMIT_SECONDS = (5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Distribution(NamedTuple):
    """How many values were at most how large."""

    #: Each bound, the last of them infinite, and how many values are within it.
    within: Sequence[tuple[float, int]]
    total: float


class Figures(NamedTuple):
    """What was done since the store was made, and what it takes up now."""

    #: Agents that were removed because their lease had run out.
    expired: int = 0
    #: Agents that came back after that, before a sweep had taken them.
    revived: int = 0
    #: Holds of the guard that began.
    holds: int = 0
    #: How many seconds the transactions took that were stored.
    commits: Distribution = Distribution([(math.inf, 0)], 0.0)
    #: Transactions that were not stored.
    failed_commits: int = 0
    #: What is committed but not yet in the database proper.
    log_bytes: int = 0


class Ledger:
    """Where a store's threads count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expired = self._revived = self._holds = self._failed_commits = 0
        self._commits = [0] * (len(_COMMIT_SECONDS) + 1)
        self._commit_seconds = 0.0

    def committed(self, seconds: float, *, stored: bool) -> None:
        """Count a transaction that took so long."""
        with self._lock:
            if stored:
                self._commits[bisect_left(_COMMIT_SECONDS, seconds)] += 1
                self._commit_seconds += seconds
            else:
                self._failed_commits += 1

    def expired(self, agents: int) -> None:
        """Count agents that a sweep removed."""
        with self._lock:
            self._expired += agents

    def revived(self, agents: int) -> None:
        """Count agents that were dead and were heard again."""
        with self._lock:
            self._revived += agents

    def hold_began(self) -> None:
        """Count a hold of the guard."""
        with self._lock:
            self._holds += 1

    def figures(self, log_bytes: int) -> Figures:
        """Return all that was counted."""
        with self._lock:
            bounds = (*_COMMIT_SECONDS, math.inf)
            within = list(zip(bounds, accumulate(self._commits), strict=True))
            return Figures(
                expired=self._expired,
                revived=self._revived,
                holds=self._holds,
                commits=Distribution(within, self._commit_seconds),
                failed_commits=self._failed_commits,
                log_bytes=log_bytes,
            )
