"""What SQLite means when storage fails, and telling of it once while it goes on."""

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping

#: The file is damaged: no statement that meets the damage can be right again.
DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: Whatever was asked for, storage failed: it is no fault of one job's statement.
STORAGE = DAMAGE | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

#: So long the same failure is not told again.
_QUIET_SECONDS = 60.0
#: Sentences remembered; they hold no ids, so there are few.
_REMEMBERED = 100


def storage_failure(error: BaseException) -> BaseException | None:
    """Return the failure of storage behind an error, if that is what it comes from.

    What raised it may be long behind: a commit that failed, and the attempt to
    undo it, which fails where SQLite has done so itself.
    """
    return _behind(error, STORAGE)


def is_locked(error: BaseException) -> bool:
    """Tell whether another connection's lock is behind an error: it passes."""
    return _behind(error, _LOCKED) is not None


def _behind(error: BaseException, codes: frozenset[int]) -> BaseException | None:
    cause: BaseException | None = error
    while cause is not None and result_code(cause) not in codes:
        cause = cause.__cause__ or cause.__context__
    return cause


def result_code(error: BaseException | None) -> int:
    """Return the primary result code of an error of SQLite's own; 0 for others."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


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
