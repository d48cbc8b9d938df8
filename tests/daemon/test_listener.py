"""The socket, and the thread that serves HTTP on it."""

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI, Request

from daemon.connections import Limits
from daemon.head import Trust
from daemon.listener import HttpListener, bind, url_of
from daemon.systemd import Notifier, Watchdog


class Gate:
    """Where a request waits until it is let through."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        """Tell that somebody waits, and wait."""
        self.reached.set()
        self.opened.wait(10)


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """Return a listening socket."""
    bound = bind("127.0.0.1", 0)
    yield bound
    bound.close()


@pytest.fixture
def gate() -> Gate:
    """Return the gate that `GET /slow` waits at."""
    return Gate()


@pytest.fixture
def deaths() -> list[str]:
    """Return the list to which a listener's death is added."""
    return []


def _who(request: Request) -> str:
    """Tell who asks, and how."""
    assert request.client is not None
    return f"{request.url.scheme}://{request.client.host}"


@pytest.fixture
def trust(request: pytest.FixtureRequest) -> Trust:
    """Return whom the listener believes: nobody, unless a test says otherwise."""
    return getattr(request, "param", Trust())


@pytest.fixture
def listener(
    bound: socket.socket, gate: Gate, deaths: list[str], trust: Trust
) -> Iterator[HttpListener]:
    """Serve a small application on `bound`."""
    app = FastAPI()
    app.get("/slow")(gate.pass_through)
    app.get("/quick")(lambda: "done")
    app.get("/who")(_who)

    @app.post("/take")
    def take(body: dict[str, int]) -> None:
        del body

    listener = HttpListener(
        app,
        bound,
        limits=Limits(keep_alive_seconds=1, drain_seconds=1),
        trust=trust,
        closed=lambda _cause: None,
        on_death=lambda: deaths.append("died"),
    )
    listener.start()
    yield listener
    gate.opened.set()
    listener.stop()


@pytest.fixture
def connection(bound: socket.socket) -> Iterator[http.client.HTTPConnection]:
    """Return a connection to `bound`, not open yet."""
    connection = http.client.HTTPConnection(*bound.getsockname(), timeout=10)
    yield connection
    connection.close()


def _get(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_port_zero_takes_a_free_port(bound: socket.socket) -> None:
    """The socket knows which, and takes connections before anything serves them."""
    port = bound.getsockname()[1]

    socket.create_connection(("127.0.0.1", port)).close()

    assert port > 0


def test_a_taken_port_cannot_be_bound(bound: socket.socket) -> None:
    """The error is raised here, before anything else was started."""
    with pytest.raises(OSError, match="Address already in use"):
        bind("127.0.0.1", bound.getsockname()[1])


def test_a_name_that_does_not_resolve_cannot_be_bound() -> None:
    """It is an OSError, as a taken port is."""
    with pytest.raises(OSError, match=r"\[Errno"):
        bind("no-such-host.invalid", 0)


def test_ipv6_is_served_as_well() -> None:
    """The family follows from the address."""
    try:
        bound = bind("::1", 0)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")

    assert bound.family is socket.AF_INET6
    assert url_of(bound) == f"http://[::1]:{bound.getsockname()[1]}"
    bound.close()


@pytest.mark.usefixtures("listener")
def test_a_connection_carries_many_requests(
    connection: http.client.HTTPConnection,
) -> None:
    """It is kept alive, not opened anew."""
    connection.connect()
    connection.auto_open = 0

    assert [_get(connection, "/quick") for _ in range(3)] == [200, 200, 200]


@pytest.mark.usefixtures("listener")
def test_an_idle_connection_is_kept_as_long_as_configured(
    connection: http.client.HTTPConnection,
) -> None:
    """One second here: not less, and not the server's own default of five."""
    _get(connection, "/quick")
    began = time.monotonic()

    end_of_stream = connection.sock.recv(1)

    assert end_of_stream == b""
    assert 0.9 < time.monotonic() - began < 3


@pytest.mark.usefixtures("listener")
def test_nothing_tells_what_serves(connection: http.client.HTTPConnection) -> None:
    """No Server header."""
    connection.request("GET", "/quick")

    assert connection.getresponse().getheader("server") is None


@pytest.mark.usefixtures("listener")
@pytest.mark.parametrize(
    ("trust", "seen"),
    [
        (Trust(), "http://127.0.0.1"),
        (Trust(proxies=("10.0.0.0/8", "192.168.0.1")), "http://127.0.0.1"),
        (Trust(proxies=("127.0.0.1",)), "https://203.0.113.9"),
        (Trust(proxies=("127.0.0.0/8",)), "https://203.0.113.9"),
    ],
    indirect=["trust"],
)
def test_proxies_are_believed_from_listed_addresses_only(
    connection: http.client.HTTPConnection, seen: str
) -> None:
    """What they say of a client; by default nobody is believed."""
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}

    connection.request("GET", "/who", headers=forwarded)

    assert json.load(connection.getresponse()) == seen


@pytest.mark.usefixtures("listener")
def test_every_answer_says_how_it_may_be_used(
    connection: http.client.HTTPConnection,
) -> None:
    """Nobody guesses its type, and nobody keeps it."""
    connection.request("GET", "/quick")

    headers = connection.getresponse().headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_stopping_finishes_what_is_in_flight(
    listener: HttpListener, connection: http.client.HTTPConnection, gate: Gate
) -> None:
    """The answer still comes; then the thread has ended."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(_get, connection, "/slow")
        gate.reached.wait(10)
        stopping = pool.submit(listener.stop)
        with pytest.raises(TimeoutError):
            stopping.result(0.3)

        gate.opened.set()

        assert answer.result(10) == 200
        stopping.result(10)
    assert "http-listener" not in {thread.name for thread in threading.enumerate()}


def test_stopping_answers_what_was_sent_but_not_read_yet(
    listener: HttpListener, bound: socket.socket, gate: Gate
) -> None:
    """A loop that is late accepts a connection and is told to stop at once."""
    listener.call_soon(gate.pass_through)
    gate.reached.wait(10)
    with (
        ThreadPoolExecutor() as pool,
        socket.create_connection(bound.getsockname(), timeout=10) as client,
    ):
        client.sendall(b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stopping = pool.submit(listener.stop)
        time.sleep(0.2)  # uvicorn looks every 0.1 s whether it is to stop

        gate.opened.set()

        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        stopping.result(10)


def test_stopping_hangs_up_on_half_a_request(
    listener: HttpListener,
    bound: socket.socket,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once, without an answer and without an error in the log."""
    caplog.set_level(logging.WARNING)
    with socket.create_connection(bound.getsockname(), timeout=10) as client:
        client.sendall(
            b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab"
        )
        time.sleep(0.2)  # nothing tells when it was read
        began = time.monotonic()

        listener.stop()

        assert time.monotonic() - began < 0.9
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
    assert caplog.messages == []


def test_a_stopped_listener_is_not_dead(
    listener: HttpListener, deaths: list[str]
) -> None:
    """Only an end that nobody asked for is told."""
    listener.stop()

    assert deaths == []


def test_an_end_that_nobody_asked_for_is_told(
    listener: HttpListener, deaths: list[str]
) -> None:
    """Whoever started the listener hears of it."""
    listener._server.should_exit = True
    listener._thread.join()

    assert deaths == ["died"]


def test_calls_run_on_the_loop(listener: HttpListener) -> None:
    """From any thread; after the stop they are dropped."""
    ran: list[asyncio.AbstractEventLoop] = []
    done = threading.Event()

    listener.call_soon(lambda: ran.append(asyncio.get_running_loop()))
    listener.call_soon(done.set)
    done.wait(10)
    listener.stop()
    listener.call_soon(lambda: ran.append(asyncio.get_running_loop()))

    assert ran == [listener._server.loop]


@pytest.mark.parametrize("systemd", ["abstract"], indirect=True)
def test_a_blocked_loop_starves_the_watchdog(
    listener: HttpListener, gate: Gate, systemd: tuple[str, socket.socket]
) -> None:
    """Fed while the loop turns, not while a call holds it, and again afterwards."""
    name, heard = systemd
    watchdog = Watchdog(Notifier({"NOTIFY_SOCKET": name}), listener.call_soon)

    watchdog.feed()
    _let_the_loop_turn(listener.call_soon)
    watchdog.feed()
    fed = [heard.recv(100), heard.recv(100)]
    listener.call_soon(gate.pass_through)
    gate.reached.wait(10)
    heard.settimeout(0.2)
    watchdog.feed()  # the proof came before the loop was blocked
    fed.append(heard.recv(100))
    watchdog.feed()
    with pytest.raises(TimeoutError):
        heard.recv(100)
    gate.opened.set()
    _let_the_loop_turn(listener.call_soon)
    watchdog.feed()
    fed.append(heard.recv(100))

    assert fed == [b"WATCHDOG=1"] * 4


def _let_the_loop_turn(call_soon: Callable[[Callable[[], None]], None]) -> None:
    turned = threading.Event()
    call_soon(turned.set)
    assert turned.wait(10)
