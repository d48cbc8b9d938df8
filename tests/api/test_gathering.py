"""How calls of any kind are gathered into batches."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from api.gathering import MOST, Backlog, Gatherer


def doubled(numbers: Sequence[int], written: list[int]) -> list[int | Exception]:
    """Answer each with its double; zero is refused."""
    assert written == list(numbers)
    return [2 * number or ZeroDivisionError(number) for number in numbers]


def test_each_call_gets_its_own_answer_or_error() -> None:
    """By its place in the batch, whoever else asks the same."""

    def write(numbers: Sequence[int]) -> Future[list[int]]:
        written: Future[list[int]] = Future()
        written.set_result(list(numbers))
        return written

    async def ask() -> list[int | BaseException]:
        gatherer = Gatherer(write, doubled)
        waiting = [gatherer.join(number) for number in (3, 0, 1, 3)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, refused, *others = asyncio.run(ask())

    assert (first, others) == (6, [2, 6])
    assert isinstance(refused, ZeroDivisionError)


def test_an_answer_that_fails_leaves_nobody_waiting() -> None:
    """Whatever goes wrong after the commit, each caller is told, and the next heard."""

    def write(numbers: Sequence[int]) -> Future[list[int]]:
        written: Future[list[int]] = Future()
        written.set_result([*numbers, 0] if 7 in numbers else list(numbers))
        return written

    async def ask() -> tuple[object, int]:
        gatherer = Gatherer(write, doubled)
        (failed,) = await asyncio.wait_for(
            asyncio.gather(gatherer.join(7), return_exceptions=True), timeout=10
        )
        return failed, await asyncio.wait_for(gatherer.join(8), timeout=10)

    failed, after = asyncio.run(ask())

    assert isinstance(failed, AssertionError)
    assert after == 16


def test_a_crowd_is_written_in_several_batches() -> None:
    """So that none of them holds the store for long; nobody is forgotten."""
    sizes = []

    def write(numbers: Sequence[int]) -> Future[list[int]]:
        sizes.append(len(numbers))
        written: Future[list[int]] = Future()
        written.set_result(list(numbers))
        return written

    async def ask() -> list[int]:
        gatherer = Gatherer(write, doubled)
        waiting = [gatherer.join(number) for number in range(1, 2 * MOST + 2)]
        return await asyncio.gather(*waiting)

    answers = asyncio.run(ask())

    assert answers == [2 * number for number in range(1, 2 * MOST + 2)]
    assert sizes == [MOST, MOST, 1]


def test_the_oldest_call_waits_until_it_is_answered() -> None:
    """Then the next oldest, since it was asked; nobody is forgotten behind a batch."""
    now = 0.0
    backlog = Backlog(lambda: now)
    begun: list[Future[list[int]]] = []

    def write(numbers: Sequence[int]) -> Future[list[int]]:
        list(numbers)  # the store begins
        begun.append(Future())
        return begun[-1]

    async def ask() -> list[float]:
        nonlocal now
        gatherer = Gatherer(write, doubled, backlog)
        waits = [backlog.wait_seconds()]
        first = gatherer.join(1)
        await asyncio.sleep(0.01)
        now = 1
        second = gatherer.join(2)
        now = 3
        waits.append(backlog.wait_seconds())
        for asked in (first, second):
            begun[-1].set_result([len(begun)])
            await asked
            waits.append(backlog.wait_seconds())
            await asyncio.sleep(0.01)
        return waits

    assert asyncio.run(ask()) == [0, 3, 2, 0]


def test_the_oldest_of_several_gatherers_counts() -> None:
    """One that has answered all of its own says nothing of the others."""
    backlog = Backlog(lambda: 10.0)
    one, other = (Gatherer(lambda _: Future(), doubled) for _ in range(2))

    backlog.since(one, 7.0)
    backlog.since(other, 9.0)
    waits = [backlog.wait_seconds()]
    backlog.since(one, None)
    waits.append(backlog.wait_seconds())
    del other

    assert [*waits, backlog.wait_seconds()] == [3, 1, 0]


class SlowStore:
    """A store that begins to write when the test says so."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self._waiting: list[tuple[Sequence[int], Future[list[int]]]] = []

    def start(self, numbers: Sequence[int]) -> Future[list[int]]:
        """Take note of a batch, and do not look at it."""
        self._waiting.append((numbers, Future()))
        return self._waiting[-1][1]

    def begin(self) -> Callable[[], None]:
        """Read the batch; return what commits it."""
        numbers, written = self._waiting.pop(0)
        self.begun.append(list(numbers))
        return lambda: written.set_result(self.begun[-1])

    def fail(self) -> None:
        """Fail before the batch was read."""
        self._waiting.pop(0)[1].set_exception(OSError("no disk"))


async def _turns() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def test_who_comes_before_the_store_begins_is_written_too() -> None:
    """And whoever comes after waits for the next: nobody waits for two."""
    store = SlowStore()

    async def ask() -> list[int]:
        gatherer = Gatherer(store.start, doubled)
        waiting = [gatherer.join(1)]
        await _turns()
        waiting += [gatherer.join(2), gatherer.join(3)]
        commit = store.begin()
        waiting.append(gatherer.join(4))
        await _turns()
        commit()
        await asyncio.gather(*waiting[:3])
        await _turns()
        store.begin()()
        return await asyncio.gather(*waiting)

    assert asyncio.run(ask()) == [2, 4, 6, 8]
    assert store.begun == [[1, 2, 3], [4]]


def test_a_batch_that_waits_takes_no_more_than_any_other() -> None:
    """Who comes when it is full forms the next."""
    store = SlowStore()

    async def ask() -> list[int]:
        gatherer = Gatherer(store.start, doubled)
        waiting = [gatherer.join(1)]
        await _turns()
        waiting += [gatherer.join(number) for number in range(2, MOST + 3)]
        store.begin()()
        await waiting[0]
        await _turns()
        store.begin()()
        return await asyncio.gather(*waiting)

    assert asyncio.run(ask()) == [2 * number for number in range(1, MOST + 3)]
    assert [len(numbers) for numbers in store.begun] == [MOST, 2]


def test_a_batch_that_fails_unread_fails_for_all_who_joined_it() -> None:
    """Nobody is left waiting."""
    store = SlowStore()

    async def ask() -> list[int | BaseException]:
        gatherer = Gatherer(store.start, doubled)
        waiting = [gatherer.join(1)]
        await _turns()
        waiting.append(gatherer.join(2))
        store.fail()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(ask())] == [OSError, OSError]
