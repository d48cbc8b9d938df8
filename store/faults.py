"""What SQLite means when storage fails."""

import sqlite3

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
