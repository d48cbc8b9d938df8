"""Telling of a failure once, although every call meets it."""

import logging
import time
from collections.abc import Callable, Mapping

#: So long the same failure is not told again.
_QUIET_SECONDS = 60.0
#: Sentences remembered; they hold no ids, so there are few.
_REMEMBERED = 100


class Telling:
    """Logs a failure once, although every call meets it; once a minute if it lasts.

    Args:
        log: where it is told.
        monotonic: seconds that nobody steps.
        level: how loud.
    """

    def __init__(
        self,
        log: logging.Logger,
        monotonic: Callable[[], float] = time.monotonic,
        level: int = logging.WARNING,
    ) -> None:
        self._log = log
        self._monotonic = monotonic
        self._level = level
        self._told: dict[str, float] = {}

    def failed(self, sentence: str, error: object, extra: Mapping[str, object]) -> None:
        """Log `error`, unless it was told lately."""
        now = self._monotonic()
        key = f"{sentence} {error}"
        if now - self._told.get(key, float("-inf")) < _QUIET_SECONDS:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[key] = now
        self._log.log(self._level, "%s: %s", sentence, error, extra=extra)

    def over(self) -> bool:
        """Forget what was told; tell whether there was anything."""
        told = bool(self._told)
        self._told.clear()
        return told
