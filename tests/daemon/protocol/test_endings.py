"""When a connection is closed or cut: for its time, for what it holds, at a stop."""

from collections.abc import Callable

import pytest

from .wire import GET, POST, Client


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


def test_the_oldest_unfinished_connection_is_cut_for_a_new_one(
    client: Client,
) -> None:
    """Without a word: it costs nothing to make more of them."""
    client.send(GET)

    client.protocol.abort()

    assert (client.wire.ended, client.wire.written) == ("aborted", b"")


LARGE = POST + b"Content-Length: 70000\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        LARGE,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"10001\r\n" + b"x" * 65_537,
        POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_an_answer_says_that_the_rest_of_a_body_is_not_read(
    client: Client, sent: bytes
) -> None:
    """It closes, and nothing is expected any more."""
    client.hasty = True
    client.send(sent)

    client.wait(10)

    assert client.wire.statuses == [200]
    assert b"connection: close\r\n" in client.wire.written
    assert (client.wire.ended, client.closed) == ("closed", [])


@pytest.mark.parametrize(
    ("version", "ended"), [(b"HTTP/1.1", ""), (b"HTTP/1.0", "closed")]
)
def test_a_large_body_that_is_whole_ends_no_connection(
    client: Client, version: bytes, ended: str
) -> None:
    """Where its answer begins behind its last byte."""
    client.answers.clear()
    client.send(LARGE.replace(b"HTTP/1.1", version), b"x" * 69_999, b"x")

    client.answers.set()
    client.turn()

    assert client.wire.statuses == [200]
    assert (b"connection: close\r\n" in client.wire.written) == bool(ended)
    assert client.wire.ended == ended


def test_a_small_body_that_nobody_reads_ends_no_connection(client: Client) -> None:
    """It is whole before the application is called."""
    client.hasty = True

    client.send(POST + b"Content-Length: 4\r\n\r\n", b"body")
    client.send(GET + b"\r\n")

    assert client.wire.statuses == [200, 200]
    assert b"connection" not in client.wire.written


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
