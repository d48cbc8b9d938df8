"""How long a connection has for what it does, and what is told of who was closed."""

import logging
from collections import Counter
from collections.abc import Callable

import pytest

from api.metrics import ClosingCause
from daemon.connections import Connections

from .wire import Clock, Wire, rest


def test_a_connection_that_sends_nothing_expires(
    connections: Connections, connect: Callable[..., Wire], clock: Clock
) -> None:
    """At its deadline, not before, and once."""
    wire = connect()
    clock.now += 9.9
    connections.sweep()
    before = list(wire.told)
    clock.now += 0.1

    connections.sweep()
    connections.sweep()

    assert (before, wire.told) == ([], ["expire"])


def test_the_first_byte_gives_a_request_its_own_time(
    connections: Connections, connect: Callable[..., Wire], clock: Clock
) -> None:
    """The deadline is counted from there, and those behind it keep their order."""
    first, second = connect(), connect()
    clock.now += 5
    connections.begun(first)
    clock.now += 5

    connections.sweep()

    assert (first.told, second.told) == ([], ["expire"])


def test_a_request_that_is_being_answered_has_no_deadline(
    connections: Connections, connect: Callable[..., Wire], clock: Clock
) -> None:
    """However long its answer takes."""
    wire = connect()
    connections.received(wire)
    clock.now += 1_000

    connections.sweep()

    assert wire.told == []


def test_a_connection_at_rest_is_closed_after_its_time(
    connections: Connections,
    connect: Callable[..., Wire],
    clock: Clock,
    closed: Counter[ClosingCause],
) -> None:
    """As idle, which is no cause that is counted."""
    wire = connect()
    rest(connections, wire)
    clock.now += 74
    rest(connections, wire)
    clock.now += 74
    connections.sweep()
    before = list(wire.told)
    clock.now += 1

    connections.sweep()

    assert (before, wire.told) == ([], ["close_idle"])
    assert not closed


def test_an_answer_that_is_not_read_is_cut(
    connections: Connections,
    connect: Callable[..., Wire],
    clock: Clock,
    closed: Counter[ClosingCause],
) -> None:
    """From when it began to wait, however often that is told."""
    wire = connect()
    connections.received(wire)
    connections.stalled(wire, 1)
    clock.now += 20
    connections.stalled(wire, 1)
    clock.now += 10

    connections.sweep()

    assert wire.told == ["abort"]
    assert closed == {ClosingCause.SLOW_READER: 1}


def test_a_reader_that_reads_on_is_not_cut(
    connections: Connections, connect: Callable[..., Wire], clock: Clock
) -> None:
    """Each time it has read what waited, its time begins anew."""
    wire = connect()
    connections.received(wire)
    for _ in range(3):
        connections.stalled(wire, 1)
        clock.now += 20
        connections.sweep()
        connections.flowing(wire)
    clock.now += 100

    connections.sweep()

    assert wire.told == []


def test_what_was_closed_is_told_in_one_line(
    connections: Connections,
    connect: Callable[..., Wire],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By cause, with the address that most of it came from; every ten seconds."""
    caplog.set_level(logging.INFO)
    for peer in ("10.0.0.1", "10.0.0.2", "10.0.0.2"):
        connect(peer)
    connections.count(ClosingCause.BROKEN, connect("10.0.0.2"))
    clock.now += 10
    connections.sweep()
    for _ in range(9):
        connections.count(ClosingCause.BROKEN, Wire("10.0.0.3"))
        clock.now += 1
        connections.sweep()
    told = list(caplog.messages)
    clock.now += 1
    connections.sweep()

    assert told == ["Closed connections: 4 late, 1 broken; 4 of them with 10.0.0.2"]
    assert caplog.messages[1:] == [
        "Closed connections: 9 broken; 9 of them with 10.0.0.3"
    ]
