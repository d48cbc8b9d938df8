"""The one thread that writes: what waits and is short shares a transaction.

Group commit: while one transaction is being made durable, callers queue; the
next transaction takes all of them, so that the cost of an fsync is shared. A
call is answered after its commit, never before.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Any, Generic, NamedTuple, TypeVar

from peewee import PeeweeException, SqliteDatabase

from store import failpoints
from store.errors import StoreUnavailable
from store.faults import storage_failure
from store.figures import Ledger
from store.telling import Telling

T = TypeVar("T")

log = logging.getLogger(__name__)


class Priority(IntEnum):
    """What goes first in a turn of the writer."""

    #: Beats and changes share a transaction, and are answered first.
    HEARTBEAT = 0
    CHANGE = 1
    #: Beats of a whole node, up to 10,000: 60 ms among 100,000 agents.
    BULK = 2
    SWEEP = 3
    #: Outside any transaction, once all else has been answered.
    MAINTENANCE = 4


#: Jobs of a priority that one turn takes at most. What is long is taken one by one, for
#: whoever comes meanwhile waits for it; beats are short, and nothing may delay them.
_TAKEN_AT_ONCE = {
    Priority.HEARTBEAT: 1_000,
    Priority.CHANGE: 500,
    Priority.BULK: 1,
    Priority.SWEEP: 1,
    Priority.MAINTENANCE: 1,
}
_SHORT = (Priority.HEARTBEAT, Priority.CHANGE)
#: Whose each transaction of a turn is; behind them the log may be tended. A beat that
#: comes meanwhile waits for one thing that is long, not for all of them.
_TRANSACTIONS = (_SHORT, (Priority.BULK,), _SHORT, (Priority.SWEEP,), _SHORT)

#: While transactions fail, one waits for another process's lock only for this part
#: of the usual time: those behind it have waited already.
_PATIENCE_WHILE_FAILING = 0.2


class _Job(NamedTuple, Generic[T]):
    work: Callable[[], T]
    future: "Future[T]"
    #: When it was asked for, on the monotonic clock.
    since: float


class _Attempt(NamedTuple):
    """A job that was tried, and how it went; told to its caller after the commit."""

    future: "Future[Any]"
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs jobs in a thread of its own, on that thread's connection of `database`.

    A job that raises is undone alone, by its savepoint, and its caller gets the
    error. When the transaction itself fails, all its callers get
    `StoreUnavailable`, and nothing of it was applied.

    Args:
        database: its connection in this thread is the only one that writes.
        tend: called after each turn, when what it committed has been answered.
        ledger: where each transaction is counted.
        ready: called before each transaction; raises what prevents it.
        mended: told why a transaction failed; whether to try it again at once.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        tend: Callable[[], None] = lambda: None,
        ledger: Ledger | None = None,
        *,
        ready: Callable[[], None] = lambda: None,
        mended: Callable[[Exception], bool] = lambda _error: False,
    ) -> None:
        self._database = database
        self._tend = tend
        self._ledger = ledger or Ledger()
        self._ready = ready
        self._mended = mended
        self._telling = Telling(log)
        self._waiting: dict[Priority, deque[_Job[Any]]] = {
            priority: deque() for priority in Priority
        }
        self._changed = threading.Condition()
        self._closing = False
        self._committing_since: float | None = None
        self._failing = False
        self._patience_seconds = database.timeout
        # A daemon thread: an application that is never closed must still exit.
        self._thread = threading.Thread(
            target=self._run, name="store-writer", daemon=True
        )
        self._thread.start()

    def submit(self, priority: Priority, work: Callable[[], T]) -> "Future[T]":
        """Queue `work`; the future settles after the commit that carried it.

        Raises:
            StoreUnavailable: the writer was closed.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise StoreUnavailable("the store is closed")
            self._waiting[priority].append(_Job(work, future, time.monotonic()))
            self._changed.notify()
        return future

    def lag_seconds(self) -> float:
        """Return how long the oldest job waits; infinity while commits fail.

        Nobody waits for a sweep: only beats and changes count.
        """
        if self._failing:
            return math.inf
        with self._changed:
            waiting = [
                queue[0].since
                for priority, queue in self._waiting.items()
                if queue
                and priority in (Priority.HEARTBEAT, Priority.CHANGE, Priority.BULK)
            ]
        if self._committing_since is not None:
            waiting.append(self._committing_since)
        return time.monotonic() - min(waiting) if waiting else 0.0

    def close(self) -> None:
        """Commit what was accepted, close the connection, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        # An owner whose last reference a job held is collected in this thread.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        # A turn is a call of its own, so that nothing of a finished job stays
        # referenced here and keeps alive the repository this thread serves.
        while self._turn_on():
            pass
        self._database.close()

    def _turn_on(self) -> bool:
        try:
            return self._turn()
        except Exception:
            # Whoever waited was answered before: what failed came after the commit.
            # Without this thread, nobody would ever be answered again.
            log.exception("The writer failed", extra={"action": "writer_failed"})
            return True

    def _turn(self) -> bool:
        """Serve what waits, or wait; false once closed and nothing is left."""
        self._await_work()
        served = False
        for priorities in _TRANSACTIONS:
            if batch := self._take(*priorities):
                served = True
                self._serve(batch)
        if served:
            self._tend()
        maintenance = self._take(Priority.MAINTENANCE)
        for job in _wanted(maintenance):
            _try(job).settle()
        return bool(served or maintenance)

    def _await_work(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or any(self._waiting.values()))

    def _serve(self, batch: list[_Job[Any]]) -> None:
        """Commit jobs in one transaction, and answer them."""
        self._committing_since = began = time.monotonic()
        try:
            attempts = self._commit(batch)
        except Exception as error:
            # What mends has failed itself. Who is not told now never is, and behind a
            # batch of beats that is never answered no other is begun.
            for job in batch:
                if job.future.running():
                    job.future.set_exception(_not_stored(error, cause=error))
            raise
        finally:
            self._committing_since = None
        self._ledger.committed(time.monotonic() - began, stored=not self._failing)
        for attempt in attempts:
            attempt.settle()

    def _take(self, *priorities: Priority) -> list[_Job[Any]]:
        with self._changed:
            return [
                queue.popleft()
                for priority in priorities
                for queue in [self._waiting[priority]]
                for _ in range(min(len(queue), _TAKEN_AT_ONCE[priority]))
            ]

    def _commit(self, batch: list[_Job[Any]]) -> list[_Attempt]:
        wanted = _wanted(batch)
        while True:
            try:
                attempts = self._transaction(wanted)
            except Exception as error:  # noqa: BLE001 - every caller gets it
                if self._mended(error):
                    continue
                self._set_failing(failing=True)
                reason = storage_failure(error) or error
                self._telling.failed(
                    "Changes were not stored", reason, {"action": "commit_failed"}
                )
                return [
                    _Attempt(job.future, error=_not_stored(reason, cause=error))
                    for job in wanted
                ]
            failpoints.reach("after_commit")
            self._set_failing(failing=False)
            if self._telling.over():
                log.warning("Changes are stored again", extra={"action": "commits"})
            return attempts

    def _transaction(self, wanted: list[_Job[Any]]) -> list[_Attempt]:
        """Run the jobs in one transaction; when it fails, none of them is applied."""
        self._ready()
        # IMMEDIATE: a read transaction that is upgraded to write later fails at
        # once with "database is locked", whatever the busy timeout.
        with self._database.atomic("IMMEDIATE") as transaction:
            if len(wanted) == 1:
                attempts = [self._attempt_alone(wanted[0], transaction)]
            else:
                attempts = [self._attempt(job) for job in wanted]
            failpoints.reach("before_commit")
        return attempts

    def _set_failing(self, *, failing: bool) -> None:
        self._failing = failing
        part = _PATIENCE_WHILE_FAILING if failing else 1
        self._database.timeout = self._patience_seconds * part

    def _attempt_alone(self, job: _Job[Any], transaction: Any) -> _Attempt:  # noqa: ANN401 - Peewee's
        """Run the only job of the transaction, which needs no savepoint."""
        attempt = _try(job)
        if attempt.error is not None:
            if self._is_lost(attempt.error):
                raise attempt.error
            transaction.rollback()
        return attempt

    def _attempt(self, job: _Job[Any]) -> _Attempt:
        """Run one job within the transaction, and undo it alone if it fails."""
        try:
            with self._database.atomic():
                return _Attempt(job.future, result=job.work())
        except Exception as error:
            if self._is_lost(error):
                raise
            return _Attempt(job.future, error=_told(error))

    def _is_lost(self, error: Exception) -> bool:
        """Tell whether the whole transaction failed with the job.

        Where storage failed it is not the job's own fault. On a full disk or a failed
        write SQLite undoes the transaction itself: then nobody's change stands.
        """
        connection = self._database.connection()  # type: ignore[no-untyped-call]
        return not connection.in_transaction or storage_failure(error) is not None


def _wanted(jobs: list[_Job[Any]]) -> list[_Job[Any]]:
    """Leave out the jobs whose callers have gone away before they began."""
    return [job for job in jobs if job.future.set_running_or_notify_cancel()]


def _try(job: _Job[Any]) -> _Attempt:
    try:
        return _Attempt(job.future, result=job.work())
    except Exception as error:  # noqa: BLE001 - its caller gets it
        return _Attempt(job.future, error=_told(error))


def _told(error: Exception) -> Exception:
    """Return the error as a caller of the store may see it."""
    if isinstance(error, PeeweeException):
        return _not_stored(error, cause=error)
    return error


def _not_stored(reason: object, cause: Exception) -> StoreUnavailable:
    unavailable = StoreUnavailable(f"the change was not stored: {reason}")
    unavailable.__cause__ = cause
    return unavailable
