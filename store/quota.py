"""How many agents there may be, and admitting new ones so far.

Counting a million rows takes 20 ms of the writer's time. So the whole is known by
an upper bound: a count, and whoever was admitted since. Only where the bound has
reached the quota are the rows counted again, once a second at most.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from peewee import SqliteDatabase

from store.errors import QuotaExceeded
from store.queries import execute

_RECOUNT_SECONDS = 1.0

_COUNT = "SELECT count(*) FROM agents"
# The index holds only agents that are somebody's: say so, or it is not used.
_COUNT_OWNED = f"{_COUNT} WHERE owner = :owner AND owner != ''"


class Quota(NamedTuple):
    """The most agents that may be stored; infinite where nothing is bounded."""

    in_all: float = math.inf
    #: Of one owner. Agents that are nobody's are not bounded by it.
    per_owner: float = math.inf


class Admissions:
    """Admits new agents as far as the quota goes; for the writer's thread alone.

    Args:
        database: where they are counted.
        quota: how many there may be.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        quota: Quota,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._quota = quota
        self._monotonic = monotonic
        self._at_most = math.inf
        #: Admitted in this batch: a count of what is stored misses them.
        self._admitted = 0
        self._counted_at = -math.inf
        #: How many each owner has, known within one batch only.
        self._owned: dict[str, int] = {}

    def begin(self) -> None:
        """Begin a batch: what was counted before may have changed."""
        self._owned.clear()
        self._admitted = 0

    def admit(self, owner: str) -> None:
        """Count a new agent of `owner` as stored.

        Raises:
            QuotaExceeded: there is no room for it; nothing was counted.
        """
        if self._quota.in_all < math.inf:
            self._admit_to_all()
        self.take_over(owner)
        self._at_most += 1
        self._admitted += 1

    def take_over(self, owner: str) -> None:
        """Count an agent that is stored, and was nobody's, as one of `owner`.

        Raises:
            QuotaExceeded: there is no room for it; nothing was counted.
        """
        if owner and self._quota.per_owner < math.inf:
            self._admit_to(owner)

    def _admit_to_all(self) -> None:
        if self._at_most < self._quota.in_all:
            return
        now = self._monotonic()
        if now - self._counted_at >= _RECOUNT_SECONDS:
            self._counted_at = now
            (stored,) = execute(self._database, _COUNT).fetchone()
            self._at_most = stored + self._admitted
        if self._at_most >= self._quota.in_all:
            raise QuotaExceeded(f"there are {self._quota.in_all:,} agents already")

    def _admit_to(self, owner: str) -> None:
        if owner not in self._owned:
            values = {"owner": owner}
            (self._owned[owner],) = execute(
                self._database, _COUNT_OWNED, values
            ).fetchone()
        if self._owned[owner] >= self._quota.per_owner:
            raise QuotaExceeded(
                f"this principal has {self._quota.per_owner:,} agents already"
            )
        self._owned[owner] += 1
