"""Reading at one instant, although lease time may jump meanwhile."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from peewee import SqliteDatabase

from store.clock import Times

T = TypeVar("T")


class Snapshots:
    """What the database holds at an instant, judged by the leases of that instant.

    Args:
        database: the connection that reads.
        times: of them lease time judges, which may jump.
    """

    def __init__(self, database: SqliteDatabase, times: Times) -> None:
        self._database = database
        self._times = times
        self.now = times.lease_now
        #: Held while a hold and lease time move, or a sweep judges by both.
        self.still = threading.Lock()

    def judged(self, read: Callable[[datetime], T], now: datetime | None = None) -> T:
        """Read one snapshot, at an instant that judges it rightly.

        Args:
            read: is given the instant; called again if lease time jumped meanwhile.
            now: the instant, where the caller has one already.
        """
        while True:
            generation = self._times.generation
            with self._database.atomic():
                found = read(now or self.now())
            if generation == self._times.generation:
                return found
