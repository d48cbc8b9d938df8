"""The connections of a listener: all are known, and bounded in number and time.

A connection is unfinished while it owes a request, or the rest of one; being
answered; or at rest between two requests. It costs a client nothing to leave a
thousand unfinished, so they have a deadline and a most, and the oldest of them make
room for who comes next.
"""

import asyncio
import itertools
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from api.metrics import ClosingCause

log = logging.getLogger(__name__)

#: How often deadlines are looked at: one timer for all, where one for each request
#: cost a heartbeat more than everything that is checked here.
_SWEEP_SECONDS = 0.5
#: How many are closed in one turn of the loop, which others wait for: about 2 ms.
_CLOSED_AT_ONCE = 25
#: What was closed is told at most so often, however much it was.
_TELL_SECONDS = 10
#: Descriptors that are left to the store, its threads, and to what comes and goes.
_RESERVED_DESCRIPTORS = 100
#: Of requests that are not whole: 8,000 of 80 KiB would be 640 MB, and the service unit
#: has 512 MB; and whoever may send bulk heartbeats, of 4 MiB, needs but a hundred.
_MOST_HELD_BYTES = 64_000_000
#: Of answers that nobody reads, all together: one bulk heartbeat may be told of 2.6 MB.
_MOST_UNREAD_BYTES = 64_000_000


class Limits(NamedTuple):
    """What connections may take, in seconds, bytes and numbers."""

    request_seconds: float = 10
    response_seconds: float = 30
    keep_alive_seconds: float = 75
    drain_seconds: float = 10
    header_bytes: int = 16_384
    unfinished_requests: int = 8_000
    unfinished_requests_per_peer: int = 3_000


class Connection(Protocol):
    """What must be said to a connection; it says the rest itself."""

    #: The address of whoever is at the other end.
    peer: str

    def expire(self) -> None:
        """Give up a request that did not come in time."""

    def close_idle(self) -> None:
        """Close; nothing is on its way."""

    def abort(self) -> None:
        """Close at once, whatever is on its way."""


class _Bytes:
    """What each connection holds, by who began to first; and all of it."""

    def __init__(self) -> None:
        self.of: dict[Connection, int] = {}
        self.in_all = 0

    def add(self, connection: Connection, size: int) -> None:
        """Count so many more."""
        self.of[connection] = self.of.get(connection, 0) + size
        self.in_all += size

    def drop(self, connection: Connection) -> None:
        """Count none of a connection any more."""
        self.in_all -= self.of.pop(connection, 0)


class Connections:
    """Knows every connection, closes who is late, and makes room for who comes.

    Lives on the event loop: it takes no lock.

    Args:
        limits: what connections may take.
        most: how many there may be at once, of any kind.
        closed: called for each connection that is closed for a cause.
        monotonic: the clock.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        most: int,
        closed: Callable[[ClosingCause], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._most = most
        self._closed = closed
        self._now = monotonic
        self._open = 0
        # By deadline, since each of them waits equally long: the oldest come first.
        self._unfinished: dict[Connection, float] = {}
        self._resting: dict[Connection, float] = {}
        self._unread: dict[Connection, float] = {}
        self._unfinished_of: dict[str, dict[Connection, None]] = {}
        #: Of requests that are not whole.
        self._held = _Bytes()
        #: Of answers that wait to be read.
        self._left = _Bytes()
        self._untold: Counter[tuple[ClosingCause, str]] = Counter()
        self._tell_at = 0.0

    def opened(self, connection: Connection) -> None:
        """Admit a connection, which owes its first request from now on."""
        self._open += 1
        self.begun(connection)
        limits, of_peer = self.limits, self._unfinished_of[connection.peer]
        if len(of_peer) > limits.unfinished_requests_per_peer:
            self._make_room(of_peer)
        elif len(self._unfinished) > limits.unfinished_requests:
            self._make_room(self._unfinished)
        elif self._open > self._most:
            # The newcomer is unfinished too; it goes when all others are busy.
            alone = len(self._unfinished) == 1
            self._make_room(
                self._resting if alone and self._resting else self._unfinished
            )

    def begun(self, connection: Connection) -> None:
        """Expect the rest of a request that has begun."""
        self.forget(connection)
        self._unfinished[connection] = self._now() + self.limits.request_seconds
        self._unfinished_of.setdefault(connection.peer, {})[connection] = None

    def held(self, connection: Connection, size: int) -> None:
        """Count what came of a request whose rest is to come.

        Above what may be held in all, who has held some for longest makes room.
        """
        self._held.add(connection, size)
        if self._held.in_all > _MOST_HELD_BYTES:
            self._make_room(self._held.of)

    def received(self, connection: Connection) -> None:
        """Expect nothing: a request is whole, and is being answered."""
        # Most often it was at rest, and came in one piece.
        if self._resting.pop(connection, None) is None:
            self.forget(connection)

    def answered(self, connection: Connection) -> None:
        """Let a connection rest until its next request."""
        self._resting[connection] = self._now() + self.limits.keep_alive_seconds

    def stalled(self, connection: Connection, size: int) -> None:
        """Expect an answer to be read, of which so many bytes wait, too many.

        Above what may be unread in all, who has not read for longest makes room.
        """
        if connection in self._unread:
            return
        self._unread[connection] = self._now() + self.limits.response_seconds
        self._left.add(connection, size)
        if self._left.in_all > _MOST_UNREAD_BYTES:
            self._make_room(self._left.of)

    def flowing(self, connection: Connection) -> None:
        """Take note that the answer was read."""
        self._unread.pop(connection, None)
        self._left.drop(connection)

    def forget(self, connection: Connection) -> None:
        """Expect nothing any more."""
        self._resting.pop(connection, None)
        self._held.drop(connection)
        if self._unfinished.pop(connection, None) is not None:
            of_peer = self._unfinished_of[connection.peer]
            del of_peer[connection]
            if not of_peer:
                del self._unfinished_of[connection.peer]

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open -= 1
        self.forget(connection)
        self.flowing(connection)

    def count(self, cause: ClosingCause, connection: Connection) -> None:
        """Count a connection that is closed for a cause."""
        self._closed(cause)
        self._untold[cause, connection.peer] += 1

    def sweep(self) -> bool:
        """Close who is past a deadline; tell whether all of them are, and the log."""
        now = self._now()
        for connection in _due(self._unfinished, now):
            self.forget(connection)
            self.count(ClosingCause.LATE, connection)
            connection.expire()
        for connection in _due(self._unread, now):
            self.flowing(connection)
            self.count(ClosingCause.SLOW_READER, connection)
            connection.abort()
        for connection in _due(self._resting, now):
            self.forget(connection)
            connection.close_idle()
        if self._untold and now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            self._tell()
        return not any(
            _due(waiting, now)
            for waiting in (self._unfinished, self._unread, self._resting)
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep from now on, on this loop."""
        loop.call_later(_SWEEP_SECONDS if self.sweep() else 0, self.start, loop)

    def _make_room(self, crowd: Iterable[Connection]) -> None:
        for oldest in itertools.islice(crowd, 1):
            self.count(ClosingCause.CROWDED, oldest)
            self.forget(oldest)
            self.flowing(oldest)
            oldest.abort()

    def _tell(self) -> None:
        causes: Counter[str] = Counter()
        peers: Counter[str] = Counter()
        for (cause, peer), count in self._untold.items():
            causes[cause] += count
            peers[peer] += count
        self._untold.clear()
        ((peer, count),) = peers.most_common(1)
        log.info(
            "Closed connections: %s; %d of them with %s",
            ", ".join(
                f"{causes[cause]} {cause}" for cause in ClosingCause if causes[cause]
            ),
            count,
            peer or "nobody known",
            extra={"action": "connections_closed", **causes},
        )


def most_connections() -> int:
    """Return how many connections there may be; raise the soft limit for it.

    Descriptors run out before memory does. When they have, nobody is let in, and
    each attempt is a line in the log: so it never comes to that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(hard - _RESERVED_DESCRIPTORS, hard // 2)


def _due(waiting: dict[Connection, float], now: float) -> list[Connection]:
    """Return the oldest of those who are past their deadline."""
    oldest = itertools.islice(waiting.items(), _CLOSED_AT_ONCE)
    return [connection for connection, deadline in oldest if deadline <= now]
