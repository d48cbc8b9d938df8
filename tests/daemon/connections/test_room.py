"""How many connections there may be, and who makes room for the next."""

import resource
from collections import Counter
from collections.abc import Callable

import pytest

from api.metrics import ClosingCause
from daemon.connections import Connections, most_connections

from .wire import Clock, Wire, rest


def _crowd(
    connections: Connections, connect: Callable[..., Wire], count: int
) -> list[Wire]:
    """Open connections whose requests are being answered."""
    crowd = []
    for _ in range(count):
        crowd.append(connect())
        connections.received(crowd[-1])
    return crowd


def test_the_oldest_of_a_peer_makes_room_for_its_next(
    connect: Callable[..., Wire], closed: Counter[ClosingCause]
) -> None:
    """Not somebody else's, though it is older."""
    other = connect("10.0.0.2")
    wires = [connect() for _ in range(3)]

    newest = connect()

    assert [wire.told for wire in (other, *wires, newest)] == [
        [],
        ["abort"],
        [],
        [],
        [],
    ]
    assert closed == {ClosingCause.CROWDED: 1}


def test_the_oldest_of_all_makes_room_for_the_next(
    connect: Callable[..., Wire],
) -> None:
    """When many peers have a few each."""
    wires = [connect(f"10.0.0.{number}") for number in range(4)]

    newest = connect("10.0.0.9")

    assert [wire.told for wire in (*wires, newest)] == [["abort"], [], [], [], []]


def test_who_has_held_bytes_for_longest_makes_room_for_more(
    connections: Connections,
    connect: Callable[..., Wire],
    closed: Counter[ClosingCause],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not who owes a request for longer, and holds nothing."""
    monkeypatch.setattr("daemon.connections._MOST_HELD_BYTES", 100)
    idle, first, second = connect("10.0.0.1"), connect("10.0.0.2"), connect("10.0.0.3")
    connections.held(first, 40)
    connections.held(second, 50)
    connections.held(first, 10)
    before = list(first.told)

    connections.held(second, 1)
    connections.held(second, 49)

    assert before == []
    assert [wire.told for wire in (idle, first, second)] == [[], ["abort"], []]
    assert closed == {ClosingCause.CROWDED: 1}


@pytest.mark.parametrize("how", ["received", "begun", "lost"])
def test_bytes_are_held_until_their_request_is_not(
    connections: Connections,
    connect: Callable[..., Wire],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Whole, given up or gone: it makes room by itself."""
    monkeypatch.setattr("daemon.connections._MOST_HELD_BYTES", 100)
    first, second = connect(), connect()
    connections.held(first, 100)
    getattr(connections, how)(first)

    connections.held(second, 100)

    assert (first.told, second.told) == ([], [])


def test_who_has_not_read_for_longest_makes_room_for_other_answers(
    connections: Connections,
    connect: Callable[..., Wire],
    closed: Counter[ClosingCause],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read, or cut already, is not counted."""
    monkeypatch.setattr("daemon.connections._MOST_UNREAD_BYTES", 100)
    read, *wires = [connect() for _ in range(3)]
    for wire in (read, *wires):
        connections.received(wire)
    connections.stalled(read, 60)
    connections.flowing(read)
    connections.stalled(wires[0], 60)
    before = list(wires[0].told)

    connections.stalled(wires[1], 41)
    connections.stalled(read, 59)

    assert (before, wires[0].told) == ([], ["abort"])
    assert read.told == wires[1].told == []
    assert closed == {ClosingCause.CROWDED: 1}


def test_who_rests_or_is_answered_is_not_counted(
    connections: Connections, connect: Callable[..., Wire]
) -> None:
    """Only who owes a request counts against the limits of those."""
    resting, answered = connect(), connect()
    rest(connections, resting)
    connections.received(answered)

    wires = [connect() for _ in range(3)]

    assert [wire.told for wire in (resting, answered, *wires)] == [[]] * 5


def test_a_request_that_begins_after_a_rest_counts_again(
    connections: Connections, connect: Callable[..., Wire]
) -> None:
    """As the youngest: it has just begun."""
    rested = connect()
    rest(connections, rested)
    wires = [connect() for _ in range(2)]
    connections.begun(rested)

    connect()

    assert [wire.told for wire in (rested, *wires)] == [[], ["abort"], []]


def test_when_descriptors_are_used_up_who_owes_goes_first(
    connections: Connections, connect: Callable[..., Wire]
) -> None:
    """Before anybody who rests, though that one is older."""
    resting = _crowd(connections, connect, 5)
    for wire in resting:
        connections.answered(wire)
    unfinished = connect()

    newest = connect()

    told = [wire.told for wire in (*resting, unfinished, newest)]
    assert told == [[]] * 5 + [["abort"], []]


def test_else_who_rested_longest_goes(
    connections: Connections, connect: Callable[..., Wire]
) -> None:
    """It loses nothing but a connection."""
    resting = _crowd(connections, connect, 6)
    for wire in reversed(resting):
        connections.answered(wire)

    newest = connect()

    told = [wire.told for wire in (*resting, newest)]
    assert told == [[]] * 5 + [["abort"], []]


def test_else_the_newcomer_goes(
    connections: Connections, connect: Callable[..., Wire]
) -> None:
    """When everybody is being answered, nobody is interrupted."""
    busy = _crowd(connections, connect, 6)

    newest = connect()

    assert [wire.told for wire in (*busy, newest)] == [[]] * 6 + [["abort"]]


def test_who_is_lost_makes_room(
    connections: Connections, connect: Callable[..., Wire], clock: Clock
) -> None:
    """It is known no more, in any respect."""
    for _ in range(20):
        wire = connect()
        connections.stalled(wire, 1)
        connections.lost(wire)
    clock.now += 100

    connections.sweep()

    assert wire.told == []
    assert not connections._unfinished_of


def test_descriptors_are_left_to_others() -> None:
    """The soft limit is raised to the hard one, and a hundred are kept."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        most = most_connections()

        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert most == hard - 100
