"""The load generators: a closed loop and an open one.

Closed loop: every connection sends its next request as soon as the last is
answered; it finds how much a server can do. Open loop: requests are due at a fixed
rate, whatever the server does, and each is timed from when it was due. So a server
that stalls is charged with every request that should have been sent meanwhile
(a closed loop would send none, and see no wait).
"""

import gc
import itertools
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from bench.connections import NO_ANSWER, Connection, Connections, LoadFailed
from bench.dialects import HTTP, Dialect

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

_now = time.perf_counter


@dataclass(frozen=True)
class Load:
    """What is sent, and over how many connections."""

    address: tuple[str, int]
    requests: Sequence[bytes]
    connections: int = 64
    dialect: Dialect = HTTP
    #: Open a new connection for every request; such requests ask to close it.
    reconnect: bool = False
    #: Encrypt; the server's certificate is not verified.
    tls: bool = False
    #: Send each request once, and end when they are used up.
    once: bool = False
    #: A server that says nothing for so long is given up.
    patience_seconds: float = 15

    def source(self) -> Iterator[bytes]:
        """Yield what to send, one after the other."""
        return iter(self.requests) if self.once else itertools.cycle(self.requests)


class Beside(NamedTuple):
    """A large request, sent periodically on a connection of its own."""

    request: bytes
    every_seconds: float


class Figures(NamedTuple):
    """What one run of a generator saw."""

    seconds: float
    statuses: dict[int, int]
    #: Of every request, in seconds.
    latencies: list[float]
    #: Share of its core the generator used: near 1, it was the limit.
    generator_busy: float
    #: Of the large requests beside.
    latencies_beside: list[float]

    @property
    def requests(self) -> int:
        """How many were answered, or given up."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def all_ok(self, *, or_none: bool = False) -> "Figures":
        """Return the figures.

        Args:
            or_none: some may have got no answer; their latencies show it.

        Raises:
            LoadFailed: some answers were no 2xx.
        """
        passing = {NO_ANSWER} if or_none else set()
        if any(status // 100 != 2 for status in self.statuses.keys() - passing):  # noqa: PLR2004
            raise LoadFailed(f"answers by status: {self.statuses}")
        return self


def percentiles_ms(latencies: Iterable[float]) -> dict[str, float]:
    """Return the percentiles of latencies, in milliseconds, by name."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        name: ordered[round(share * last)] * 1000
        for name, share in _PERCENTILES.items()
        if ordered
    }


class _Tally:
    """Counts answers, and keeps their latencies."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._cpu = time.process_time()
        self.started = self._last = _now()

    def count(self, status: int, due_at: float, now: float) -> None:
        self._statuses[status] += 1
        self.latencies.append(now - due_at)
        self._last = now

    def figures(self, beside: "_Tally | None" = None) -> Figures:
        """Sum up; the run ended with the last answer."""
        cpu = time.process_time() - self._cpu
        return Figures(
            seconds=self._last - self.started,
            statuses=dict(self._statuses),
            latencies=self.latencies,
            generator_busy=cpu / (_now() - self.started),
            latencies_beside=beside.latencies if beside else [],
        )


def closed_loop(load: Load, seconds: float) -> Figures:
    """Keep every connection busy for so long, then await what is on its way."""
    source = load.source()
    with _connected(load) as connections:
        tally = _Tally()
        end = tally.started + seconds
        waiting = 0
        for connection, request in zip(connections, source, strict=False):
            connection.send(request, _now())
            waiting += 1
        while waiting:
            ready = connections.readable(load.patience_seconds)
            if not ready:
                raise LoadFailed(f"no answer within {load.patience_seconds} s")
            for connection in ready:
                status = connection.receive()
                if status is None:
                    continue
                now = _now()
                tally.count(status, connection.due_at, now)
                request = next(source, b"") if now < end else b""
                if not request:
                    connections.remove(connection)
                    waiting -= 1
                    continue
                if load.reconnect or status == NO_ANSWER:
                    now = _now()
                    connections.reopen(connection)
                connection.send(request, now)
        return tally.figures()


def open_loop(
    load: Load, seconds: float, rate: float, beside: Beside | None = None
) -> Figures:
    """Send at a fixed rate for so long; a request is timed from when it was due."""
    total = round(seconds * rate)
    with _connected(load) as connections:
        fleet = _Fleet(load, connections)
        large = _Large(load, beside, connections) if beside else None
        tally = fleet.tally
        give_up = tally.started + seconds + load.patience_seconds
        sent = 0
        while len(tally.latencies) < total and (now := _now()) < give_up:
            while sent < total and (due_at := tally.started + sent / rate) <= now:
                fleet.overdue.append(due_at)
                sent += 1
            fleet.send_overdue()
            if large:
                large.send_when_due(now)
            # Turns without sleeping: a timer's slack would be charged to the server.
            for connection in connections.readable(0):
                if large and connection is large.connection:
                    large.receive()
                else:
                    fleet.receive(connection)
        fleet.give_up()
        return tally.figures(large.tally if large else None)


class _Fleet:
    """The connections of an open loop: a due request takes the one idle longest."""

    def __init__(self, load: Load, connections: Connections) -> None:
        self.tally = _Tally()
        #: When each request was due that found no idle connection yet.
        self.overdue: deque[float] = deque()
        self._connections = connections
        self._source = load.source()
        self._idle = deque(connections)
        self._waiting: set[Connection] = set()

    def send_overdue(self) -> None:
        """Send what is due, as far as connections are idle."""
        while self.overdue and self._idle:
            connection = self._idle.popleft()
            connection.send(next(self._source), self.overdue.popleft())
            self._waiting.add(connection)

    def receive(self, connection: Connection) -> None:
        """Take what has arrived for a request."""
        status = connection.receive()
        if status is None:
            return
        self.tally.count(status, connection.due_at, _now())
        if status == NO_ANSWER:
            self._connections.reopen(connection)
        self._waiting.discard(connection)
        self._idle.append(connection)

    def give_up(self) -> None:
        """Count what was never answered, and what was never even sent."""
        now = _now()
        for due_at in [one.due_at for one in self._waiting] + list(self.overdue):
            self.tally.count(NO_ANSWER, due_at, now)


class _Large:
    """The periodic large request beside an open loop; one at a time."""

    def __init__(self, load: Load, beside: Beside, connections: Connections) -> None:
        self.connection = Connection(load.address, load.dialect, tls=load.tls)
        self.tally = _Tally()
        self._beside = beside
        self._due_at = _now()
        self._waiting = False
        connections.add(self.connection)

    def send_when_due(self, now: float) -> None:
        """Send the request, unless the last is still being answered."""
        if not self._waiting and now >= self._due_at:
            self.connection.send(self._beside.request, now)
            self._due_at += self._beside.every_seconds
            self._waiting = True

    def receive(self) -> None:
        """Take what has arrived."""
        status = self.connection.receive()
        if status is None:
            return
        if status // 100 != 2:  # noqa: PLR2004
            raise LoadFailed(f"the request beside was answered {status}")
        self.tally.count(status, self.connection.due_at, _now())
        self._waiting = False


@contextmanager
def _connected(load: Load) -> Iterator[Connections]:
    """Open the connections; meanwhile no garbage is collected, which would stall us."""
    connections = Connections()
    gc.disable()
    try:
        for _ in range(load.connections):
            connections.add(Connection(load.address, load.dialect, tls=load.tls))
        yield connections
    finally:
        connections.close()
        gc.enable()
        gc.collect()
