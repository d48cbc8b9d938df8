"""What never reaches the application: no HTTP, too large, too late, too early."""

import json

import pytest

from .wire import GET, POST, Client, Wire


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
