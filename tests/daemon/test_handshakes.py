"""TLS handshakes that are not finished, of which a client can hold thousands."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from api.metrics import ClosingCause
from daemon.connections import Limits
from daemon.head import Trust
from daemon.listener import HttpListener, bind
from daemon.tls import ReloadableContext, TlsFiles

#: The beginning of a client's first record, of which the rest never comes.
HALF = b"\x16\x03\x01\x02\x00\x01"
#: More than the buffers of both ends take while nobody reads.
LONG = "x" * 20_000_000


class Served:
    """A listener with TLS, and what was closed on it."""

    def __init__(self, client: ssl.SSLContext, limits: Limits) -> None:
        self._client = client
        self.closed: list[ClosingCause] = []
        self.bound = bind("127.0.0.1", 0)
        app = FastAPI()
        app.add_api_route("/well", lambda: "well")
        app.add_api_route("/long", lambda: LONG)
        app.add_api_route("/short", lambda: LONG[:60_000])
        self.listener = HttpListener(
            app,
            self.bound,
            limits=limits,
            trust=Trust(),
            tls=ReloadableContext(TlsFiles(Path("cert.pem"), Path("key.pem"))),
            closed=self.closed.append,
            on_death=lambda: None,
        )
        self.listener.start()

    def connect(self) -> socket.socket:
        """Open a connection, and no more."""
        return socket.create_connection(self.bound.getsockname(), timeout=10)

    def half(self) -> socket.socket:
        """Begin a handshake."""
        connected = self.connect()
        connected.sendall(HALF)
        return connected

    def ask(self) -> bytes:
        """Make a call as a client that knows what it does."""
        with contextlib.closing(self.asking()) as asking:
            asking.request("GET", "/well")
            return asking.getresponse().read()

    def asking(self) -> http.client.HTTPSConnection:
        """Return who may ask, more than once."""
        return http.client.HTTPSConnection(
            *self.bound.getsockname(), timeout=10, context=self._client
        )


@pytest.fixture
def serve(authorities: Any) -> Iterator[Callable[..., Served]]:
    """Return what serves with limits over the defaults."""
    with contextlib.ExitStack() as stack:

        def serve(**limits: float) -> Served:
            given = {"request_seconds": 30, "drain_seconds": 1} | limits
            served = Served(authorities.client(), Limits(**given))  # type: ignore[arg-type]
            stack.callback(served.bound.close)
            stack.callback(served.listener.stop)
            return served

        yield serve


def _ended(connected: socket.socket) -> bool:
    """Tell whether the other end hung up; wait for it."""
    with contextlib.suppress(ConnectionResetError):
        return connected.recv(1) == b""
    return True


@pytest.mark.parametrize(
    "limit", ["unfinished_requests", "unfinished_requests_per_peer"]
)
@pytest.mark.parametrize("begin", [Served.connect, Served.half])
def test_the_oldest_handshake_makes_room_for_who_comes(
    serve: Callable[..., Served], limit: str, begin: Callable[[Served], socket.socket]
) -> None:
    """Whether or not it began; whoever is quick is served among any crowd."""
    served = serve(**{limit: 5})
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(begin(served)) for _ in range(9)]

        answer = served.ask()

        assert answer == b'"well"'
        assert all(map(_ended, crowd[:5]))
        assert set(served.closed) == {ClosingCause.CROWDED}
        crowd[-1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            crowd[-1].recv(1)


def test_at_the_most_connections_who_rested_longest_makes_room(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the newcomer, of whom there is one before and after the handshake."""
    monkeypatch.setattr("daemon.listener.most_connections", lambda: 3)
    served = serve()
    with contextlib.ExitStack() as stack:
        resting = [
            stack.enter_context(contextlib.closing(served.asking())) for _ in range(3)
        ]
        for asking in resting:
            asking.request("GET", "/well")
            asking.getresponse().read()

        answers = [served.ask(), served.ask()]

    assert answers == [b'"well"'] * 2
    assert served.closed[:1] == [ClosingCause.CROWDED]


def test_a_handshake_that_fails_leaves_nothing_behind(
    serve: Callable[..., Served],
) -> None:
    """Whatever was sent, and by whoever goes away in the middle of it."""
    served = serve(unfinished_requests=5)
    for _ in range(20):
        with served.connect() as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: r\r\n\r\n")
            assert _ended(plain)
        served.half().close()

    answer = served.ask()

    assert answer == b'"well"'
    assert served.closed == []


def test_a_handshake_that_is_late_is_given_up(serve: Callable[..., Served]) -> None:
    """At the end of the time that a request has, and counted as one."""
    served = serve(request_seconds=0.2)

    with served.connect() as silent, served.half() as half:
        assert _ended(silent)
        assert _ended(half)

    assert set(served.closed) == {ClosingCause.LATE}


def test_a_stop_does_not_wait_for_handshakes(serve: Callable[..., Served]) -> None:
    """Nobody has asked anything on them."""
    served = serve()
    with served.connect() as silent, served.half() as half:
        served.ask()
        began = time.monotonic()

        served.listener.stop()

        assert time.monotonic() - began < 5
        assert _ended(silent)
        assert _ended(half)


def test_a_stop_waits_for_no_farewell(serve: Callable[..., Served]) -> None:
    """A client at rest reads nothing, and so cannot answer that it is closed."""
    served = serve(drain_seconds=30)
    with contextlib.closing(served.asking()) as resting:
        resting.request("GET", "/well")
        resting.getresponse().read()
        began = time.monotonic()

        served.listener.stop()

        assert time.monotonic() - began < 10


def test_an_answer_is_read_to_its_end_during_a_stop(
    serve: Callable[..., Served],
) -> None:
    """Over a slow link too: it has the time of any answer."""
    served = serve(drain_seconds=30)
    with (
        contextlib.closing(served.asking()) as slow,
        ThreadPoolExecutor() as pool,
    ):
        slow.request("GET", "/long")
        answer = slow.getresponse()
        stopping = pool.submit(served.listener.stop)
        time.sleep(0.8)  # the link is slow

        assert len(answer.read()) == len(LONG) + len('""')
        stopping.result(10)


def test_who_reads_no_answer_is_hung_up_on_behind_its_end(
    serve: Callable[..., Served],
) -> None:
    """Closing waits for its reader for ever, and of little no buffer tells."""
    served = serve(response_seconds=0.1)
    served.bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    with contextlib.closing(served.asking()) as silent:
        silent.connect()
        silent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent.request("GET", "/short", headers={"Connection": "close"})
        with silent.getresponse():  # of which the head is read
            limit = time.monotonic() + 10
            while not served.closed and time.monotonic() < limit:
                time.sleep(0.05)

    assert served.closed == [ClosingCause.SLOW_READER]
