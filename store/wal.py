"""Keeping the write-ahead log short.

Committed pages stand in the log until a checkpoint copies them into the database,
and the log starts anew only at a moment when nobody reads from it. SQLite would
checkpoint inside of whichever commit crosses its limit, and 1 heartbeat in 100
would wait for that. Here the writer checkpoints between two transactions, after
the first is answered; and when readers follow each other without a pause, the
next ones are held back until the log has been emptied.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from peewee import PeeweeException, SqliteDatabase

from store import failpoints
from store.pacing import Pace
from store.queries import execute
from store.readers import Readers
from store.room import Room, file_bytes
from store.telling import Telling

log = logging.getLogger(__name__)

#: What one checkpoint may take: so long a beat waits for it. Where beats write the
#: same pages over and over, 500 rows take 4 ms, most of it the fsync. Swept from among
#: a million, they lie apart, and 300 took 21 ms, 14 of them the fsync.
_CHECKPOINT_SECONDS = 0.008
#: Rows changed between two checkpoints: 500 are, with two indexes, 3 MB of log. Fewer
#: than 100 would not help where any fsync takes longer than that.
_FEWEST_ROWS, _MOST_ROWS = 100, 500
#: Rows changed between two looks at the log's size: a look takes 60 us.
_ROWS_BETWEEN_LOOKS = 100
#: How long the writer lets readers finish before it ends their reading.
_PATIENCE_SECONDS = 0.1
#: After another connection's reader kept the log from being emptied: when it is tried
#: again, unless that one is gone. Each try ends our own readers for nothing; at every
#: checkpoint, 29 of 32 listings were cut off while another process read.
_RETRY_SECONDS = 10.0


def may_lose_commits(version: tuple[int, int, int]) -> bool:
    """Tell whether this SQLite has the race of a checkpoint beside a commit.

    "The WAL-reset bug" of sqlite.org/wal.html: 3.7.0 to 3.51.2, but for two patches.
    """
    mended = {(3, 50): 7, (3, 44): 6}.get((version[0], version[1]))
    return version < (3, 51, 3) and (mended is None or version[2] < mended)


class WriteAheadLog:
    """Tended by the writer's thread, after each of its turns.

    Args:
        database: the connection that writes; no other one may checkpoint.
        log_file: where SQLite keeps the log: beside the database, not beside a link.
        readers: held back while a log that has outgrown its limit is emptied.
        room: given up as far as the database has to grow on a full disk.
        limit_bytes: the size at which the log must be emptied.
        monotonic: seconds that nobody steps.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        log_file: str,
        readers: Readers,
        room: Room,
        *,
        limit_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._log_file = log_file
        self._readers = readers
        self._room = room
        self._telling = Telling(log)
        self._limit_bytes = limit_bytes
        self._monotonic = monotonic
        self._pace = Pace(
            _CHECKPOINT_SECONDS, first=_MOST_ROWS, least=_FEWEST_ROWS, most=_MOST_ROWS
        )
        self._rows_then = 0
        self._rows_looked_at = 0
        self._retry_at = 0.0

    def tend(self) -> None:
        """Checkpoint if enough was written since the last time."""
        rows = self._database.connection().total_changes  # type: ignore[no-untyped-call] # Peewee's
        written = rows - self._rows_then
        # Without room, the log may not grow: each turn leaves it to start anew.
        due = written >= self._pace.rows or self._room.short or self._room.owing
        if rows - self._rows_looked_at < _ROWS_BETWEEN_LOOKS and not due:
            return
        self._rows_looked_at = rows
        too_long = file_bytes(self._log_file) > self._limit_bytes
        hindered = self._monotonic() < self._retry_at
        if not due and (not too_long or hindered):
            return
        self._rows_then = rows
        try:
            began = self._monotonic()
            moved_all = self._move()
            self._pace.learn(written, self._monotonic() - began)
            if too_long and (moved_all or not hindered):
                emptied = self._empty()
                self._retry_at = 0.0 if emptied else began + _RETRY_SECONDS
        except PeeweeException as error:
            # Nothing is lost: what is committed stands in the log until the next.
            self._telling.failed(
                "A checkpoint failed", error, {"action": "checkpoint_failed"}
            )
        else:
            self._telling.over()
            self._room.retake()

    def relieve(self, error: BaseException) -> bool:
        """Make room for a write that failed; tell whether to try it again."""
        if not self._room.relieve(error):
            return False
        with suppress(PeeweeException):
            self._move()
        return True

    def empty(self) -> None:
        """Leave nothing in the log, as far as nobody reads from it."""
        self._move()
        self._checkpoint("TRUNCATE")

    def _move(self) -> bool:
        """Move what is committed into the database, by the reserve if need be.

        Tell whether that was all of it: no reader's snapshot needs what is older.
        """
        while True:
            try:
                moved_all = self._checkpoint("PASSIVE")
            except PeeweeException as error:
                if not self._room.relieve(error):
                    raise
            else:
                self._room.owing = False
                return moved_all

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
        hindered, pages, copied = answer.fetchone()
        return not hindered and pages == copied
