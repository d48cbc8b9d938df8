"""Threads that never hold up the end of the program."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from agent_registry_client.logs import say_mistake

T = TypeVar("T")


def promise() -> "Future[Any]":
    """Return a future that a waiter who gives up cannot cancel."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def keep_promise(future: "Future[Any]", value: object = None) -> None:
    """Set the result, unless it is set."""
    if not future.done():
        future.set_result(value)


def wait(future: "Future[Any]", seconds: float | None) -> None:
    """Wait for a future, but not longer than so many seconds.

    Raises:
        Exception: what went wrong, if it ended so.
    """
    try:
        future.result(None if seconds is None else max(0.0, seconds))
    except TimeoutError:
        return


def start(work: Callable[..., object], *args: object) -> threading.Thread:
    """Run `work` in a thread of its own, which the exit does not wait for."""
    thread = threading.Thread(
        target=work, args=args, name="agent-registry", daemon=True
    )
    thread.start()
    return thread


def in_background(work: Callable[..., T], *args: object) -> "Future[T]":
    """Run `work` in a thread of its own; return what will hold its result."""
    future: Future[T] = promise()
    fulfil(future, work, *args)
    return future


def fulfil(future: "Future[T]", work: Callable[..., T], *args: object) -> None:
    """Run `work` in a thread of its own, and let `future` have its result.

    Where none can be started, as while the program ends, it is run in this one.
    """

    def run() -> None:
        try:
            future.set_result(work(*args))
        except BaseException as error:  # noqa: BLE001 - handed on to who waits
            future.set_exception(error)

    try:
        start(run)
    except RuntimeError:
        run()


class SideJobs:
    """Jobs run one after the other, off the thread that beats.

    Their thread lives only while there are jobs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._runs = False
        self._thread: threading.Thread | None = None

    def put(self, job: Callable[[], object]) -> None:
        """Run `job` soon, after those that wait already.

        Where no thread can be started, as while the program ends, it runs in this one.
        """
        with self._lock:
            self._waiting.append(job)
            if self._runs:
                return
            self._runs = True
        try:
            self._thread = start(self._run)
        except RuntimeError:
            self._run()

    def wait(self, seconds: float) -> None:
        """Wait for those that were put until now, but not longer."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._runs = False
                    return
                job = self._waiting.popleft()
            try:
                job()
            except BaseException as mistake:  # noqa: BLE001 - `sys.exit` too; logged
                say_mistake("A callback failed", mistake, action="callback_failed")
