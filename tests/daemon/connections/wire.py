"""A connection that writes down what is said to it, and the clock it goes by."""

from daemon.connections import Connections


class Wire:
    """One connection, which writes down what is said to it."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.told: list[str] = []

    def expire(self) -> None:
        """Write it down."""
        self.told.append("expire")

    def close_idle(self) -> None:
        """Write it down."""
        self.told.append("close_idle")

    def abort(self) -> None:
        """Write it down."""
        self.told.append("abort")


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def rest(connections: Connections, wire: Wire) -> None:
    """Let a request come, and be answered."""
    connections.received(wire)
    connections.answered(wire)
