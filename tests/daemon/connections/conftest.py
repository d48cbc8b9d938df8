"""What the tests of all connections of a listener share."""

from collections import Counter
from collections.abc import Callable

import pytest

from api.metrics import ClosingCause
from daemon.connections import Connections, Limits

from .wire import Clock, Wire

LIMITS = Limits(
    request_seconds=10,
    response_seconds=30,
    keep_alive_seconds=75,
    unfinished_requests=4,
    unfinished_requests_per_peer=3,
)
MOST = 6


@pytest.fixture
def clock() -> Clock:
    """Return the clock that the connections go by."""
    return Clock()


@pytest.fixture
def closed() -> Counter[ClosingCause]:
    """Return what counts the causes."""
    return Counter()


@pytest.fixture
def connections(clock: Clock, closed: Counter[ClosingCause]) -> Connections:
    """Return connections with small limits."""
    return Connections(
        LIMITS,
        most=MOST,
        closed=lambda cause: closed.update([cause]),
        monotonic=clock,
    )


@pytest.fixture
def connect(connections: Connections) -> Callable[..., Wire]:
    """Return what opens a connection of a peer."""

    def connect(peer: str = "10.0.0.1") -> Wire:
        wire = Wire(peer)
        connections.opened(wire)
        return wire

    return connect
