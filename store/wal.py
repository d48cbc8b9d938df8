"""Keeping the write-ahead log short.

Committed pages stand in the log until a checkpoint copies them into the database,
and the log starts anew only at a moment when nobody reads from it. SQLite would
checkpoint inside of whichever commit crosses its limit, and 1 heartbeat in 100
would wait for that. Here the writer checkpoints between two transactions, after
the first is answered; and when readers follow each other without a pause, the
next ones are held back until the log has been emptied.
"""

import logging
import os

from peewee import PeeweeException, SqliteDatabase

from store import failpoints
from store.queries import execute
from store.readers import Readers

log = logging.getLogger(__name__)

#: Rows changed between two checkpoints: with two indexes about 3 MB of log.
_ROWS_BETWEEN = 500
#: Rows changed between two looks at the log's size: a look takes 60 us.
_ROWS_BETWEEN_LOOKS = 100
#: How long the writer lets readers finish before it ends their reading.
_PATIENCE_SECONDS = 0.1


def log_bytes(database: SqliteDatabase) -> int:
    """Return the size of the log."""
    try:
        return os.stat(f"{database.database}-wal").st_size  # noqa: PTH116 - often
    except FileNotFoundError:
        return 0


class WriteAheadLog:
    """Tended by the writer's thread, after each of its turns.

    Args:
        database: the connection that writes; no other one may checkpoint.
        readers: held back while a log that has outgrown its limit is emptied.
        limit_bytes: the size at which the log must be emptied.
    """

    def __init__(
        self, database: SqliteDatabase, readers: Readers, *, limit_bytes: int
    ) -> None:
        self._database = database
        self._readers = readers
        self._limit_bytes = limit_bytes
        self._rows_then = 0
        self._rows_looked_at = 0
        self._hindered = False

    def tend(self) -> None:
        """Checkpoint if enough was written since the last time."""
        rows = self._database.connection().total_changes  # type: ignore[no-untyped-call] # Peewee's
        if rows - self._rows_looked_at < _ROWS_BETWEEN_LOOKS:
            return
        self._rows_looked_at = rows
        due = rows - self._rows_then >= _ROWS_BETWEEN
        too_long = log_bytes(self._database) > self._limit_bytes
        if not due and (not too_long or self._hindered):
            return
        self._rows_then = rows
        try:
            self._checkpoint("PASSIVE")
            self._hindered = too_long and not self._empty()
        except PeeweeException as error:
            # Nothing is lost: what is committed stands in the log until the next.
            log.warning(
                "A checkpoint failed: %s",
                error,
                extra={"action": "checkpoint_failed"},
            )

    def _empty(self) -> bool:
        """Let the log start anew; false when another process reads from it."""
        with self._readers.paused(patience_seconds=_PATIENCE_SECONDS):
            waited = self._database.timeout
            self._database.timeout = 0  # our readers are gone; wait for no others
            try:
                return self._checkpoint("TRUNCATE")
            finally:
                self._database.timeout = waited

    def _checkpoint(self, mode: str) -> bool:
        """Tell whether nobody hindered it."""
        failpoints.reach("mid_checkpoint")
        answer = execute(self._database, f"PRAGMA wal_checkpoint({mode})")
        hindered, _pages, _copied = answer.fetchone()
        return not hindered
