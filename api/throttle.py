"""How often each owner may register: a token bucket for each.

A bucket holds so many registrations at most, and is filled at a steady rate; each
takes one out. (The token bucket of traffic shaping: Turner, "New directions in
communications", 1986.)
"""

import math
import time
from collections.abc import Callable

from api.errors import ProblemError, retry_after


class Throttle:
    """Lets each owner register at a bounded rate; for the event loop alone.

    Args:
        per_second: registrations a second that an owner may keep up.
        burst: how many at once, after a rest.
        monotonic: seconds that nobody steps.
    """

    def __init__(
        self,
        per_second: float,
        burst: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._monotonic = monotonic
        #: What each owner had left, and when.
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, owner: str) -> None:
        """Count a registration.

        Raises:
            ProblemError: 429, with the seconds until there is room again.
        """
        now = self._monotonic()
        left, since = self._buckets.get(owner, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        if left < 1:
            wait = math.ceil((1 - left) / self._per_second)
            raise ProblemError(429, "too_many_registrations", headers=retry_after(wait))
        self._buckets[owner] = (left - 1, now)
