"""In which order a writer does what waits, what it skips, and how it is closed."""

import threading

import pytest
from peewee import SqliteDatabase

from store import StoreUnavailable
from store.writer import Priority, Writer

from .notes import Held, Notes, Write


def test_lanes_go_in_their_order(writer: Writer, held: Held) -> None:
    """Beats first, then changes, bulk and a sweep; maintenance after the commit."""
    order: list[str] = []

    with held():
        futures = [
            writer.submit(
                priority, lambda priority=priority: order.append(priority.name)
            )
            for priority in reversed(Priority)
            for _ in range(2)
        ]
    for future in futures:
        future.result()

    assert order == [
        *("HEARTBEAT", "HEARTBEAT", "CHANGE", "CHANGE", "BULK", "SWEEP", "MAINTENANCE"),
        *("BULK", "SWEEP", "MAINTENANCE"),
    ]


@pytest.mark.parametrize(
    "priorities", [[Priority.SWEEP], [Priority.BULK], [Priority.BULK, Priority.SWEEP]]
)
def test_a_beat_overtakes_what_is_long(
    writer: Writer, held: Held, priorities: list[Priority]
) -> None:
    """Chunks of a sweep and bulk beats go one by one: a beat waits for one at most."""
    order: list[str] = []

    def work_long() -> None:
        if not order:
            writer.submit(Priority.HEARTBEAT, lambda: order.append("beat"))
        order.append("long")

    with held():
        waiting = [writer.submit(priority, work_long) for priority in priorities * 3]
    for future in waiting:
        future.result()

    assert order == ["long", "beat"] + ["long"] * (3 * len(priorities) - 1)


@pytest.mark.parametrize("priority", [Priority.SWEEP, Priority.BULK])
def test_a_beat_is_answered_before_what_is_long_begins(
    writer: Writer, held: Held, priority: Priority
) -> None:
    """It shares no transaction with it, although both waited."""
    answered: list[bool] = []
    with held():
        beat = writer.submit(Priority.HEARTBEAT, lambda: None)
        long = writer.submit(priority, lambda: answered.append(beat.done()))

    long.result()

    assert answered == [True]


def test_a_beat_goes_between_what_is_long_and_the_checkpoint(
    database: SqliteDatabase,
) -> None:
    """Who comes during a chunk does not wait for both."""
    order: list[str] = []
    writer = Writer(database, tend=lambda: order.append("checkpoint"))

    def chunk() -> None:
        writer.submit(Priority.HEARTBEAT, lambda: order.append("beat"))

    writer.submit(Priority.SWEEP, chunk).result()
    writer.close()

    assert order == ["beat", "checkpoint"]


def test_a_cancelled_job_is_skipped(
    writer: Writer, held: Held, write: Write, notes: Notes
) -> None:
    """A caller that went away before its job began changes nothing."""
    with held():
        gone = [
            writer.submit(priority, write("gone"))
            for priority in (Priority.CHANGE, Priority.MAINTENANCE)
        ]
        kept = writer.submit(Priority.CHANGE, write("kept"))
        cancelled = [future.cancel() for future in gone]

    assert cancelled == [True, True]
    assert kept.result() == "kept"
    assert notes() == ["kept"]


def test_a_job_that_began_cannot_be_cancelled(writer: Writer, held: Held) -> None:
    """Its caller learns how it went."""
    with held():
        answers: list[bool] = []
        job = writer.submit(Priority.CHANGE, lambda: answers.append(job.cancel()))

    assert job.result() is None
    assert answers == [False]


def test_close_commits_what_was_accepted(
    writer: Writer, held: Held, write: Write, notes: Notes
) -> None:
    """Also what takes more than one transaction."""
    with held():
        futures = [writer.submit(Priority.SWEEP, write(text)) for text in "abc"]
        closing = threading.Thread(target=writer.close)
        closing.start()
    closing.join()

    assert [future.result(0) for future in futures] == ["a", "b", "c"]
    assert notes() == ["a", "b", "c"]


def test_a_closed_writer_accepts_nothing(writer: Writer, write: Write) -> None:
    """Whoever comes late is told so."""
    writer.close()

    with pytest.raises(StoreUnavailable, match="the store is closed"):
        writer.submit(Priority.CHANGE, write("late"))


def test_closing_twice_is_closing_once(writer: Writer) -> None:
    """The second call returns at once."""
    writer.close()
    writer.close()
