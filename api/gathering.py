"""Gathering calls: those that arrive while a batch is written form the next.

One job of the store does a whole batch, and each call is answered when its batch
is committed. Nothing waits for a timer: a batch is as large as the traffic makes
it, and until the store begins with it, it grows.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Generic, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

Item = TypeVar("Item")
Written = TypeVar("Written")
Answer = TypeVar("Answer")
#: An item, whom it answers, and since when it waits.
Call: TypeAlias = tuple[Item, asyncio.Future[Answer], float]

#: Turns of the event loop that a batch waits before it is written. In four, who
#: was answered with the batch before can ask again and is read: at 64 connections
#: that makes 28 beats a batch into 43, on a loop that is idle it takes 0.1 ms.
_TURNS = 4
#: Calls that one batch takes at most, so that none holds the writer for long.
MOST = 500


class Backlog:
    """How long the oldest call waits that was gathered. Ask it from any thread.

    Args:
        monotonic: seconds that nobody steps.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.now = monotonic
        # A loop that is gone lets nobody wait.
        self._since: WeakKeyDictionary[object, float] = WeakKeyDictionary()
        self._changing = threading.Lock()

    def since(self, where: object, oldest: float | None) -> None:
        """Note since when the oldest waits of those at `where`; None: nobody does."""
        with self._changing:
            if oldest is None:
                self._since.pop(where, None)
            else:
                self._since[where] = oldest

    def wait_seconds(self) -> float:
        """Return for how long the oldest has waited; 0 while nobody waits."""
        with self._changing:
            since = list(self._since.values())
        return self.now() - min(since) if since else 0.0


class Gatherer(Generic[Item, Written, Answer]):
    """Hands items to the store in batches, for the calls of one application.

    Args:
        start: starts the job that writes a batch of items. Whoever comes before the
            job reads them is of the batch too.
        answers: tells what the job's result says to each item, in their order;
            an exception is raised to its caller.
        backlog: told since when the oldest call waits.
    """

    def __init__(
        self,
        start: Callable[[Sequence[Item]], "Future[Written]"],
        answers: Callable[[Sequence[Item], Written], Sequence[Answer | Exception]],
        backlog: Backlog | None = None,
    ) -> None:
        self._start = start
        self._answers = answers
        self._backlog = backlog or Backlog()
        self._batches: _Batches[Item, Written, Answer] | None = None

    def join(self, item: Item) -> "asyncio.Future[Answer]":
        """Let `item` be written with the next batch; await its own answer.

        The future raises what `start` or its job raises, as all of its batch do.
        """
        loop = asyncio.get_running_loop()
        batches = self._batches
        # One loop serves a daemon; tests may bring a loop for every request.
        if batches is None or batches.loop is not loop:
            batches = _Batches(self._start, self._answers, self._backlog, loop)
            self._batches = batches
        return batches.join(item)


class _Batch(Sequence[Item], Generic[Item, Answer]):
    """What is written together: the items of calls. Complete once it is read.

    Until the store reads it, which it does as it begins to write, whoever comes joins
    it. So nobody waits behind a batch that waits itself: beside a sweep of 100,000
    agents a beat waited for two of its chunks.

    Args:
        calls: who is of it from the start: item, whom it answers, and since when.
    """

    def __init__(self, calls: list[Call[Item, Answer]]) -> None:
        self._calls = calls
        self._items: list[Item] | None = None
        self._lock = threading.Lock()

    def join(self, call: Call[Item, Answer]) -> bool:
        """Add a call, unless it is too late for that."""
        with self._lock:
            if self._items is not None or len(self._calls) >= MOST:
                return False
            self._calls.append(call)
            return True

    def answer(self, answers: Sequence[Answer | BaseException]) -> None:
        """Answer each call, in their order."""
        for (_, answered, _), answer in zip(self._calls, answers, strict=True):
            if answered.done():  # its client went away
                continue
            if isinstance(answer, BaseException):
                answered.set_exception(answer)
            else:
                answered.set_result(answer)

    def read(self) -> list[Item]:
        """Return the items, which are all there are from now on."""
        with self._lock:
            if self._items is None:
                self._items = [item for item, _, _ in self._calls]
            return self._items

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        return self.read()[index]

    def __len__(self) -> int:
        return len(self.read())

    def __iter__(self) -> Iterator[Item]:
        return iter(self.read())


class _Batches(Generic[Item, Written, Answer]):
    """The batch that is being written for one event loop, and the calls that wait."""

    def __init__(
        self,
        start: Callable[[Sequence[Item]], "Future[Written]"],
        answers: Callable[[Sequence[Item], Written], Sequence[Answer | Exception]],
        backlog: Backlog,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._start = start
        self._answers = answers
        self._backlog = backlog
        self.loop = loop
        self._forming: list[Call[Item, Answer]] = []
        #: What was started last.
        self._started: _Batch[Item, Answer] | None = None
        self._busy = False

    def join(self, item: Item) -> "asyncio.Future[Answer]":
        answered: asyncio.Future[Answer] = self.loop.create_future()
        call = (item, answered, self._backlog.now())
        if self._started is None or not self._started.join(call):
            self._forming.append(call)
        if not self._busy:
            self._busy = True
            self._write_soon()
        return answered

    def _write_soon(self) -> None:
        _, _, since = self._forming[0]
        self._backlog.since(self, since)
        self._write_after(turns=_TURNS)

    def _write_after(self, turns: int) -> None:
        if turns:
            self.loop.call_soon(self._write_after, turns - 1)
        else:
            self._write()

    def _write(self) -> None:
        batch = _Batch(self._forming[:MOST])
        self._forming = self._forming[MOST:]
        self._started = batch
        try:
            written = self._start(batch)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            written = Future()
            written.set_exception(error)
        written.add_done_callback(
            lambda done: self.loop.call_soon_threadsafe(self._answer, batch, done)
        )

    def _answer(self, batch: _Batch[Item, Answer], written: "Future[Written]") -> None:
        items = batch.read()  # a batch that failed may not have been
        self._started = None
        if self._forming:
            self._write_soon()
        else:
            self._backlog.since(self, None)
            self._busy = False
        answers: Sequence[Answer | BaseException]
        try:
            answers = self._answers(items, written.result())
        except Exception as error:  # noqa: BLE001 - each caller gets it
            answers = [error] * len(items)
        batch.answer(answers)
