"""The few threads that read, each on a connection of its own."""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

from peewee import Database, PeeweeException

from store.errors import StoreUnavailable
from store.telling import Telling

T = TypeVar("T")

log = logging.getLogger(__name__)

_INTERRUPT_AGAIN_SECONDS = 0.01

_Call = Callable[[], None]


class Readers:
    """Runs jobs in `count` threads, each on its own connection of `database`.

    Long jobs, such as whole listings, get half of the threads at most: whoever asks
    for one agent does not wait behind a crowd that asks for all.

    Args:
        database: opened once in each thread.
        count: how many threads.
        ready: called before each job; raises `StoreUnavailable` to prevent it.
    """

    def __init__(
        self,
        database: Database,
        count: int,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._ready = ready
        self._telling = Telling(log)
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._most_long = max(1, count // 2)
        self._long = 0
        self._long_waiting: deque[_Call] = deque()
        self._closing = threading.Lock()
        self._closed = False
        self._pausing = False
        self._active: set[sqlite3.Connection] = set()
        self._changed = threading.Condition()
        self._threads = [
            # Daemon threads: an application that is never closed must still exit.
            threading.Thread(target=self._run, name=f"store-reader-{n}", daemon=True)
            for n in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], T], *, long: bool = False) -> "Future[T]":
        """Run `work` in the next thread that is free, and free for what is `long`.

        Raises:
            StoreUnavailable: the readers were closed.
        """
        future: Future[T] = Future()
        # What is accepted stands in the queue before the threads are told to end.
        with self._closing:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if not long:
                self._calls.put(lambda: self._answer(work, future))
            else:
                self._long_waiting.append(lambda: self._answer_long(work, future))
                self._begin_long()
        return future

    def _begin_long(self) -> None:
        while self._long_waiting and (self._long < self._most_long or self._closed):
            self._long += 1
            self._calls.put(self._long_waiting.popleft())

    def _answer_long(self, work: Callable[[], T], future: "Future[T]") -> None:
        self._answer(work, future)
        with self._closing:
            self._long -= 1
            self._begin_long()

    def close(self) -> None:
        """Answer what was accepted, close the connections, and end the threads."""
        with self._closing:
            self._closed = True
            self._begin_long()  # all of them
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            # An owner whose last reference a job held is collected in one of these.
            if thread is not threading.current_thread():
                thread.join()

    @contextmanager
    def paused(self, *, patience_seconds: float) -> Iterator[None]:
        """Keep anyone from reading within the block; who still reads is ended.

        A reader that is ended answers `StoreUnavailable`. Meanwhile calls queue.
        """
        with self._changed:
            self._pausing = True
        try:
            with self._changed:
                if not self._changed.wait_for(self._is_idle, patience_seconds):
                    self._end_reads()
            yield
        finally:
            with self._changed:
                self._pausing = False
                self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._active

    def _end_reads(self) -> None:
        # Again and again: an interrupt between two statements of a read is lost.
        while self._active:
            for connection in self._active:
                connection.interrupt()
            self._changed.wait(_INTERRUPT_AGAIN_SECONDS)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Wait while paused; then count as reading."""
        connection = self._database.connection()  # type: ignore[no-untyped-call] # Peewee's
        with self._changed:
            self._changed.wait_for(lambda: not self._pausing)
            self._active.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._active.discard(connection)
                self._changed.notify_all()
            # An interrupt may have met the end of the transaction; now none comes any
            # more.
            if connection.in_transaction:
                connection.rollback()

    def _run(self) -> None:
        while self._turn():
            pass
        self._database.close()

    def _turn(self) -> bool:
        call = self._calls.get()
        if call is None:
            return False
        call()
        return True

    def _answer(self, work: Callable[[], T], future: "Future[T]") -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            self._ready()
            with self._reading():
                result = work()
        except (PeeweeException, sqlite3.Error, StoreUnavailable) as error:
            self._telling.failed("A read failed", error, {"action": "read_failed"})
            unavailable = StoreUnavailable(f"the store could not be read: {error}")
            unavailable.__cause__ = error
            future.set_exception(unavailable)
        except Exception as error:  # noqa: BLE001 - its caller gets it
            future.set_exception(error)
        else:
            future.set_result(result)
