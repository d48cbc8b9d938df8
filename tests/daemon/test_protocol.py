"""HTTP below the application: what reaches it, what does not, and when."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from daemon.connections import Connections, Limits
from daemon.head import HeadCheck
from daemon.protocol import RegistryProtocol

GET = b"GET /one HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /one HTTP/1.1\r\nHost: localhost\r\n"


class Wire(asyncio.Transport):
    """What the protocol writes to; its other end is the test."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.7", 1), "sockname": ("10.0.0.1", 80)})
        self.packets: list[bytes] = []
        self.unread = 0
        self.ended = ""
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take it."""
        assert not self.ended
        self.packets.append(bytes(data))

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return bool(self.ended)

    def close(self) -> None:
        """Write it down."""
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        """Write it down."""
        self.ended = "aborted"

    def get_write_buffer_size(self) -> int:
        """Return what the test says."""
        return self.unread

    def pause_reading(self) -> None:
        """Write it down."""
        self.paused = True

    def resume_reading(self) -> None:
        """Write it down."""
        self.paused = False

    @property
    def written(self) -> bytes:
        """Return all that was written."""
        return b"".join(self.packets)

    @property
    def statuses(self) -> list[int]:
        """Return the statuses of what was answered."""
        return [int(n) for n in re.findall(rb"HTTP/1\.1 (\d+) ", self.written)]


class Client:
    """One connection to an application that holds its answers back until asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.seen: list[tuple[str, list[Any], bytes]] = []
        self.called = 0
        self.body = b"ok"
        self.failing = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.now = 1_000.0
        self.closed: list[str] = []
        self.connections = Connections(
            limits, most=100, closed=self.closed.append, monotonic=lambda: self.now
        )
        self.wire = Wire()
        self._loop = loop
        config = uvicorn.Config(
            self._application, interface="asgi3", ws="none", log_config=None
        )
        config.load()
        self.protocol = RegistryProtocol(
            connections=self.connections,
            heads=HeadCheck(()),
            config=config,
            server_state=ServerState(),
            app_state={},
            _loop=loop,
        )
        self.protocol.connection_made(self.wire)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.called += 1
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append(("gone", [], body))
                return
            body, more = body + message["body"], message["more_body"]
        self.seen.append((scope["path"], scope["headers"], body))
        await self.answers.wait()
        length = b"%d" % len(self.body)
        head = {"status": 200, "headers": [(b"content-length", length)]}
        await send({"type": "http.response.start"} | head)
        if self.failing:
            raise RuntimeError("on purpose")
        await send({"type": "http.response.body", "body": self.body})

    def send(self, *parts: bytes) -> None:
        """Send what comes in these parts, and let the loop turn."""
        for part in parts:
            if not self.wire.ended:
                self.protocol.data_received(part)
        self.turn()

    def turn(self) -> None:
        """Let the loop do what it has to."""
        for _ in range(8):
            self._loop.run_until_complete(asyncio.sleep(0))

    def leave(self) -> None:
        """Lose the connection, whatever goes on."""
        self.answers.set()
        self.protocol.connection_lost(None)
        self.turn()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.connections.sweep()
        self.turn()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Return what opens a connection, with limits over the defaults."""
    loop = asyncio.new_event_loop()
    clients: list[Client] = []

    def connect(**limits: Any) -> Client:
        clients.append(Client(loop, Limits(**limits)))
        return clients[-1]

    yield connect
    for client in clients:
        client.leave()
    loop.close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """Return a connection with the default limits."""
    return connect()


def _problem(wire: Wire) -> tuple[int, str]:
    head, _, body = wire.written.rpartition(b"\r\n\r\n")
    head = head[head.rindex(b"HTTP/1.1") :].lower()
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert wire.ended == "closed"
    problem = json.loads(body)
    return problem["status"], problem["code"]


@pytest.mark.parametrize(
    "sent",
    [
        b"no http at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        GET + b"content-length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(
    client: Client, sent: bytes
) -> None:
    """400, nothing of it repeated, and the connection is closed."""
    client.send(sent)

    assert _problem(client.wire) == (400, "http_error")
    assert client.closed == ["broken"]
    assert client.seen == []


def test_a_request_reaches_the_application_when_it_is_whole(client: Client) -> None:
    """Not before its last byte."""
    request = POST + b"Content-Length: 4\r\n\r\nbody"
    for byte in request[:-1]:
        client.send(bytes([byte]))
    before = client.called

    client.send(request[-1:])

    assert before == 0
    assert [(path, body) for path, _, body in client.seen] == [("/one", b"body")]
    assert client.wire.statuses == [200]


def test_many_requests_follow_each_other(client: Client) -> None:
    """On one connection, each answered before the next comes."""
    for _ in range(3):
        client.send(GET + b"\r\n")
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0\r\n", b"\r\n")

    assert client.wire.statuses == [200] * 6
    assert client.wire.ended == ""


@pytest.mark.parametrize("sent", [GET, POST + b"Content-Length: 9\r\n\r\nbody"])
def test_a_request_that_is_late_is_told_so(client: Client, sent: bytes) -> None:
    """408 at ten seconds after its first byte; a trickle extends nothing."""
    client.wait(5)
    client.send(sent[:-2])
    client.wait(9.9)
    client.send(sent[-2:])
    before = client.wire.ended

    client.wait(0.1)

    assert before == ""
    assert _problem(client.wire) == (408, "request_timeout")
    assert (client.closed, client.called) == (["late"], 0)


def test_each_request_has_its_own_time(client: Client) -> None:
    """Half a request after a long rest is late only ten seconds later."""
    client.send(GET + b"\r\n")
    client.wait(60)
    client.send(GET)
    client.wait(9)
    client.send(b"\r\n")
    client.wait(9)

    assert client.wire.statuses == [200, 200]
    assert client.wire.ended == ""


def test_a_connection_that_sends_nothing_is_closed_silently(client: Client) -> None:
    """There is no request to answer."""
    client.send(b"\r\n\r\n")

    client.wait(10)

    assert (client.wire.ended, client.wire.written) == ("closed", b"")


def test_a_connection_at_rest_is_kept_for_its_time(client: Client) -> None:
    """As long as configured, whatever empty lines come."""
    client.send(GET + b"\r\n")
    client.wait(74)
    client.send(b"\r\n")
    before = client.wire.ended

    client.wait(1)

    assert (before, client.wire.ended) == ("", "closed")
    assert client.closed == []


def test_a_connection_at_rest_whose_answer_is_unread_is_cut(client: Client) -> None:
    """Closing would wait for its reader for ever."""
    client.send(GET + b"\r\n")
    client.wire.unread = 1

    client.wait(75)

    assert client.wire.ended == "aborted"


def test_a_connection_at_rest_that_cannot_be_closed_is_cut(client: Client) -> None:
    """Where an answer waits that its transport does not know of, as over TLS."""
    client.send(GET + b"\r\n")
    client.wait(75)
    before = client.wire.ended

    client.wait(30)

    assert (before, client.wire.ended) == ("closed", "aborted")


@pytest.mark.parametrize("unread", [0, 1])
def test_who_is_closed_and_does_not_read_is_cut(client: Client, unread: int) -> None:
    """An answer that ends a connection has its time to be read too.

    Over TLS, a transport may have passed it on, and still wait.
    """
    client.wire.unread = unread
    client.send(GET + b"Connection: close\r\n\r\n")
    before = client.wire.ended

    client.wait(30)

    assert (before, client.wire.ended) == ("closed", "aborted")
    assert client.closed == ["slow_reader"]


def test_who_does_not_read_is_cut(client: Client) -> None:
    """From when more waits than should; not when it was read meanwhile."""
    client.answers.clear()
    client.send(GET + b"\r\n")
    client.protocol.pause_writing()
    client.wait(29)
    client.protocol.resume_writing()
    client.protocol.pause_writing()
    client.wait(1)
    before = client.wire.ended

    client.wait(29)

    assert (before, client.wire.ended) == ("", "aborted")


def test_what_is_unread_is_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it that waits in this connection."""
    monkeypatch.setattr("daemon.connections._MOST_UNREAD_BYTES", 2_000)
    client.answers.clear()
    client.send(GET + b"\r\n")
    for unread in (2_000, 2_001):
        client.wire.unread = unread
        client.protocol.pause_writing()
        client.protocol.resume_writing()

    assert client.wire.ended == "aborted"
    assert client.closed == ["crowded"]


@pytest.mark.parametrize("size", [1, 16_384])
def test_a_head_that_is_too_large_is_refused(client: Client, size: int) -> None:
    """431, whether it comes at once or in pieces, and before it is whole."""
    head = GET + b"X: " + b"x" * 16_384

    client.send(*(head[at : at + size] for at in range(0, len(head), size)))

    assert _problem(client.wire) == (431, "header_too_large")


@pytest.mark.parametrize(("headers", "status"), [(100, 200), (101, 431)])
def test_too_many_headers_are_refused(
    client: Client, headers: int, status: int
) -> None:
    """However short they are: in memory each is as large as a long one."""
    client.send(GET + b"a:\r\n" * (headers - 1) + b"\r\n")

    assert client.wire.statuses == [status]


def test_a_large_body_is_no_head(client: Client) -> None:
    """Its bytes do not count, in one piece with the head or in many."""
    body = b"x" * 60_000
    request = POST + b"Content-Length: 60000\r\n\r\n" + body

    client.send(request)
    client.send(*(request[at : at + 999] for at in range(0, len(request), 999)))

    assert client.wire.statuses == [200, 200]
    assert [seen[2] for seen in client.seen] == [body, body]


def test_a_trailer_adds_no_header(client: Client) -> None:
    """Nobody has judged it."""
    client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")

    client.send(b"0\r\nHost: evil.example\r\n\r\n", GET + b"\r\n")

    ((_, headers, _), *_) = client.seen
    assert [value for name, value in headers if name == b"host"] == [b"localhost"]
    assert client.wire.statuses[0] == 200


def test_a_large_body_reaches_the_application_as_it_comes(client: Client) -> None:
    """It is for the call to say how much is too much; what is lost is told to it."""
    client.send(POST + b"Content-Length: 99999999\r\n\r\n" + b"x" * 9)
    client.send(b"x" * 9)

    client.wait(10)

    assert client.seen == [("gone", [], b"x" * 18)]
    assert client.wire.statuses == [408]


def test_who_asks_before_sending_is_told_to_go_on(client: Client) -> None:
    """Expect: 100-continue."""
    client.send(POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    told = client.wire.written

    client.send(b"body")

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.wire.statuses == [100, 200]


@pytest.mark.parametrize("body", [b"ok", b"", b"HTTP/1.1 100 Continue", b"x" * 9_999])
def test_an_answer_leaves_in_one_packet(client: Client, body: bytes) -> None:
    """Its head waits for its body."""
    client.body = body

    client.send(GET + b"\r\n")

    (packet,) = client.wire.packets
    assert packet.startswith(b"HTTP/1.1 200 OK\r\n")
    assert packet.endswith(b"\r\n\r\n" + body)


def test_a_large_answer_is_not_copied_to_leave_with_its_head(client: Client) -> None:
    """Its head goes before it."""
    client.body = b"x" * 99_999

    client.send(GET + b"\r\n")

    head, body = client.wire.packets
    assert head.endswith(b"content-length: 99999\r\n\r\n")
    assert body == client.body


def test_a_head_without_a_body_leaves_alone(client: Client) -> None:
    """HEAD, of which the body is not sent, and then another request."""
    client.send(b"HEAD /one HTTP/1.1\r\nHost: localhost\r\n\r\n")
    alone = client.wire.written

    client.send(GET + b"\r\n")

    assert alone.endswith(b"content-length: 2\r\n\r\n")
    assert client.wire.statuses == [200, 200]
    assert client.wire.written.endswith(b"\r\n\r\nok")


def test_an_answer_that_breaks_off_shows_its_head(client: Client) -> None:
    """And that it is not whole."""
    client.failing = True

    client.send(GET + b"\r\n")

    assert client.wire.statuses == [200]
    assert client.wire.ended == "closed"


@pytest.mark.parametrize("behind", [GET + b"\r\n", GET[:9], b"\0", POST[:9] + GET])
@pytest.mark.parametrize("times", [1, 100])
def test_nothing_is_pipelined(client: Client, behind: bytes, times: int) -> None:
    """The first is answered rightly, then comes one 400, however much was sent."""
    client.answers.clear()
    client.send(GET + b"\r\n" + behind * times)
    client.send(behind)
    before = client.wire.written

    client.answers.set()
    client.turn()

    assert before == b""
    assert client.wire.statuses == [200, 400]
    assert _problem(client.wire) == (400, "http_error")
    assert len(client.seen) == 1


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


@pytest.mark.parametrize(
    "request_", [GET + H2C + b"\r\n", POST + H2C + b"Content-Length: 4\r\n\r\nbody"]
)
@pytest.mark.parametrize("size", [1, 999])
def test_a_wish_for_h2c_is_ignored(client: Client, request_: bytes, size: int) -> None:
    """With its body, in whatever pieces; and the connection goes on."""
    client.send(*(request_[at : at + size] for at in range(0, len(request_), size)))
    client.send(GET + b"\r\n")

    assert client.wire.statuses == [200, 200]
    assert client.seen[0][2] == request_.partition(b"\r\n\r\n")[2]


def test_a_wish_for_h2c_may_have_its_body_behind_it(client: Client) -> None:
    """The JDK's client sends head and body apart; reading goes on between them."""
    client.send(POST + H2C + b"Content-Length: 4\r\n\r\n")
    paused = client.wire.paused

    client.send(b"body")

    assert not paused
    assert client.wire.statuses == [200]
    assert client.seen[0][2] == b"body"


def test_http_1_0_closes_behind_its_answer(client: Client) -> None:
    """It may have no Host."""
    client.send(b"GET /one HTTP/1.0\r\n\r\n")

    assert client.wire.statuses == [200]
    assert client.wire.ended == "closed"


def test_a_stop_closes_what_is_unfinished_at_once(
    connect: Callable[..., Client],
) -> None:
    """Half a request has nothing to lose; one that is whole is answered."""
    half, nothing, whole = connect(), connect(), connect()
    half.send(POST + b"Content-Length: 9\r\n\r\nbody")
    whole.answers.clear()
    whole.send(GET + b"\r\n")

    for client in (half, nothing, whole):
        client.protocol.shutdown()
    ended = [client.wire.ended for client in (half, nothing, whole)]
    whole.answers.set()
    whole.turn()

    assert ended == ["closed", "closed", ""]
    assert (whole.wire.statuses, whole.wire.ended) == ([200], "closed")


def test_the_oldest_unfinished_connection_is_cut_for_a_new_one(
    client: Client,
) -> None:
    """Without a word: it costs nothing to make more of them."""
    client.send(GET)

    client.protocol.abort()

    assert (client.wire.ended, client.wire.written) == ("aborted", b"")


@pytest.mark.parametrize(
    ("parts", "held"),
    [
        ([POST], [len(POST)]),
        ([POST + b"Content-Length: 9\r\n\r\n", b"1234"], [len(POST) + 21, 4]),
        ([POST + b"Content-Length: 1\r\n\r\n1"], []),
        ([GET + b"\r\n"], []),
        ([POST + b"Content-Length: 70000\r\n\r\n", b"1234"], [len(POST) + 25, 4]),
    ],
)
def test_what_came_of_a_request_is_held_until_it_is_whole(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    parts: list[bytes],
    held: list[int],
) -> None:
    """Head and body; nothing is counted for one that comes in one piece."""
    counted: list[int] = []
    monkeypatch.setattr(
        client.connections, "held", lambda _protocol, size: counted.append(size)
    )

    client.send(*parts)

    assert counted == held


@pytest.mark.parametrize(
    "length", [b"Transfer-Encoding: chunked", b"Content-Length: 9999999"]
)
def test_what_the_application_reads_as_it_comes_is_held_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, length: bytes
) -> None:
    """It keeps what it has of a body until it has all of it."""
    monkeypatch.setattr("daemon.connections._MOST_HELD_BYTES", 100_000)
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    client.send(POST + length + b"\r\n\r\n", chunk, chunk, chunk)
    begun = (client.called, client.wire.ended)

    client.send(chunk)
    client.leave()

    assert (begun, client.wire.ended) == ((1, ""), "aborted")
    assert client.seen[0][0] == "gone"


@pytest.mark.parametrize("part", [POST, POST + b"Content-Length: 9\r\n\r\n1234"])
def test_who_makes_room_leaves_no_body_behind(
    client: Client, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    """It is to free memory at once, not when garbage is collected."""
    monkeypatch.setattr("daemon.connections._MOST_HELD_BYTES", 10)

    client.send(part)

    assert client.wire.ended == "aborted"
    assert client.called == 0
    assert not (client.protocol.cycle and client.protocol.cycle.body)
