"""Which of the store's threads a repository's method runs in.

A method marked `@reads`, `@reads_long` or `@writes(priority)` is written as if it were
alone with the database. Called, it runs in a thread of the store and the caller
waits; `submit` starts it there and hands back the future. Such a method must not
call another one: it would wait for a thread that waits for it.
"""

import functools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from store.readers import Readers
from store.writer import Priority, Writer

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Protocol):
    """Whoever owns the threads; asking for one may open the database first."""

    @property
    def writer(self) -> Writer:
        """The thread that writes."""

    @property
    def readers(self) -> Readers:
        """The threads that read."""


class _Threaded(Protocol):
    @property
    def _database(self) -> Threads: ...


S = TypeVar("S", bound=_Threaded)
Method = Callable[Concatenate[S, P], T]


def reads(method: Method[S, P, T]) -> Method[S, P, T]:
    """Run the method in a reading thread."""
    return _threaded(method, lambda threads, work: threads.readers.submit(work))


def reads_long(method: Method[S, P, T]) -> Method[S, P, T]:
    """Run the method in a reading thread that is free for what takes long."""
    return _threaded(
        method, lambda threads, work: threads.readers.submit(work, long=True)
    )


def writes(priority: Priority) -> Callable[[Method[S, P, T]], Method[S, P, T]]:
    """Run the method in the writer's next transaction."""
    return lambda method: _threaded(
        method, lambda threads, work: threads.writer.submit(priority, work)
    )


def submit(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
    """Start a bound method that is marked, and return at once."""
    start: Callable[..., Future[T]] = method.start  # type: ignore[attr-defined]
    return start(method.__self__, *args, **kwargs)  # type: ignore[attr-defined]


def _threaded(
    method: Method[S, P, T],
    start_in: Callable[[Threads, Callable[[], T]], "Future[T]"],
) -> Method[S, P, T]:
    def start(self: S, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        return start_in(
            self._database, functools.partial(method, self, *args, **kwargs)
        )

    @functools.wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return start(self, *args, **kwargs).result()

    marked: Any = call
    marked.start = start
    return marked  # type: ignore[no-any-return] # the method, marked
