"""What reaches the application, and when; and how its answers leave."""

from collections.abc import Callable

import pytest

from .wire import GET, POST, Client


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


CLOSE_OR_H2C = b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        GET + CLOSE_OR_H2C + b"\r\n",
        b"GET /one HTTP/1.0\r\n" + H2C + b"\r\n",
        POST + CLOSE_OR_H2C + b"Content-Length: 4\r\n\r\nbody",
        POST + CLOSE_OR_H2C + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        POST + CLOSE_OR_H2C + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        POST + CLOSE_OR_H2C + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000,
    ],
)
@pytest.mark.parametrize("size", [1, 50, 99_999])
def test_a_wish_for_h2c_is_ignored_by_who_closes(
    connect: Callable[..., Client], request_: bytes, size: int
) -> None:
    """The answer is that of the same request without the wish."""
    wishing, plain = connect(), connect()
    for client, sent in (
        (wishing, request_),
        (plain, request_.replace(b"Upgrade: h2c\r\n", b"")),
    ):
        client.send(*(sent[at : at + size] for at in range(0, len(sent), size)))

    assert wishing.wire.statuses[-1:] == [200]
    assert wishing.wire.written == plain.wire.written
    assert wishing.seen[0][2] == plain.seen[0][2]
    assert wishing.wire.ended == "closed"


def test_http_1_0_closes_behind_its_answer(client: Client) -> None:
    """It may have no Host."""
    client.send(b"GET /one HTTP/1.0\r\n\r\n")

    assert client.wire.statuses == [200]
    assert client.wire.ended == "closed"


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
