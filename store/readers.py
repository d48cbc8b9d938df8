"""The few threads that read, each on a connection of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from peewee import Database, PeeweeException

from store.base import StoreUnavailable

T = TypeVar("T")

_Call = Callable[[], None]


class Readers:
    """Runs jobs in `count` threads, each on its own connection of `database`."""

    def __init__(self, database: Database, count: int) -> None:
        self._database = database
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._threads = [
            # Daemon threads: an application that is never closed must still exit.
            threading.Thread(target=self._run, name=f"store-reader-{n}", daemon=True)
            for n in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Run `work` in the next thread that is free.

        Raises:
            StoreUnavailable: the readers were closed.
        """
        future: Future[T] = Future()
        # What is accepted stands in the queue before the threads are told to end.
        with self._closing:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._calls.put(lambda: _answer(work, future))
        return future

    def close(self) -> None:
        """Answer what was accepted, close the connections, and end the threads."""
        with self._closing:
            self._closed = True
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            # An owner whose last reference a job held is collected in one of these.
            if thread is not threading.current_thread():
                thread.join()

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


def _answer(work: Callable[[], T], future: "Future[Any]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except PeeweeException as error:
        unavailable = StoreUnavailable(f"the store could not be read: {error}")
        unavailable.__cause__ = error
        future.set_exception(unavailable)
    except Exception as error:  # noqa: BLE001 - its caller gets it
        future.set_exception(error)
