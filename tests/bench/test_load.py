import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.connections import NO_ANSWER, LoadFailed
from bench.load import Beside, Load, closed_loop, open_loop, percentiles_ms

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)

Start = Callable[..., Any]


def test_closed_loop_counts_each_answer_by_its_status(
    start_server: Start, ok: bytes
) -> None:
    """Good and bad answers are told apart, and every latency is kept."""
    server = start_server(lambda number: [MISSING if number % 3 == 0 else ok])

    figures = closed_loop(Load(server.address, [GET] * 30, 4, once=True), 5)

    assert figures.statuses == {200: 20, 404: 10}
    assert len(figures.latencies) == 30
    with pytest.raises(LoadFailed, match="404"):
        figures.all_ok()


def test_closed_loop_ends_when_its_time_is_over(start_server: Start, ok: bytes) -> None:
    """Requests are repeated until then, and the last of them awaited."""
    server = start_server(lambda _: [ok])

    figures = closed_loop(Load(server.address, [GET], 2), 0.1)

    assert figures.statuses == {200: server.requests}
    assert 0.1 <= figures.seconds < 1
    assert figures.rate == pytest.approx(server.requests / figures.seconds)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([CHUNKED], id="chunks"),
        pytest.param([bytes([byte]) for byte in CHUNKED], id="chunks, byte by byte"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 900000\r\n\r\n", b"x" * 900_000],
            id="a large body",
        ),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], id="no body"),
    ],
)
def test_an_answer_ends_where_it_says(start_server: Start, pieces: list[bytes]) -> None:
    """However it arrives, one answer is counted for one request."""
    server = start_server(lambda _: pieces)

    figures = closed_loop(Load(server.address, [GET] * 6, 2, once=True), 5)

    assert sum(figures.all_ok().statuses.values()) == server.requests == 6


def test_an_answer_too_many_is_an_error(start_server: Start, ok: bytes) -> None:
    """Figures of a server that is misread would mean nothing."""
    server = start_server(lambda _: [ok + ok])

    with pytest.raises(LoadFailed, match="more was answered"):
        closed_loop(Load(server.address, [GET], 1), 1)


def test_a_hang_up_is_counted_and_survived(start_server: Start, ok: bytes) -> None:
    """The connection is opened anew, and the load goes on."""
    server = start_server(lambda number: [ok] if number != 5 else [])

    figures = closed_loop(Load(server.address, [GET] * 10, 1, once=True), 5)

    assert figures.statuses == {200: 9, NO_ANSWER: 1}
    assert server.connections == 2


def test_every_request_may_have_a_connection_of_its_own(
    start_server: Start, ok: bytes
) -> None:
    """As many connections are opened as requests are sent."""
    server = start_server(lambda _: [ok])
    load = Load(server.address, [GET] * 10, 1, reconnect=True, once=True)

    closed_loop(load, 5).all_ok()

    assert server.connections == 10


def test_a_silent_server_fails_a_closed_loop(start_server: Start) -> None:
    """It is not waited for without end."""
    server = start_server(lambda _: [b"HTTP/1.1 200 OK\r\n"])

    with pytest.raises(LoadFailed, match="no answer"):
        closed_loop(Load(server.address, [GET], 1, patience_seconds=0.1), 0.1)


def test_open_loop_charges_a_stall_to_all_that_was_due_meanwhile(
    start_server: Start, ok: bytes
) -> None:
    """200 a second, 0.3 s without an answer: some 60 requests waited, not one."""

    def stalling(number: int) -> list[bytes]:
        time.sleep(0.3 if number == 20 else 0)
        return [ok]

    figures = open_loop(Load(start_server(stalling).address, [GET], 2), 0.6, 200)

    waited = [latency for latency in figures.latencies if latency > 0.05]
    assert figures.statuses == {200: 120}
    assert 40 <= len(waited) <= 75
    assert 0.29 <= max(figures.latencies) < 0.6


def test_open_loop_keeps_to_its_rate(start_server: Start, ok: bytes) -> None:
    """A fast server is not asked more often than was said."""
    server = start_server(lambda _: [ok])

    figures = open_loop(Load(server.address, [GET], 4), 0.3, 100)

    assert figures.statuses == {200: 30}
    assert figures.seconds == pytest.approx(0.3, abs=0.1)


def test_open_loop_charges_what_is_never_answered(start_server: Start) -> None:
    """Sent or not, each request counts, with the time it was waited for."""
    server = start_server(lambda _: [b"HTTP/1.1 200 OK\r\n"])
    load = Load(server.address, [GET], 2, patience_seconds=0.2)

    figures = open_loop(load, 0.1, 100)

    assert figures.statuses == {NO_ANSWER: 10}
    assert min(figures.latencies) > 0.19
    assert figures.all_ok(or_none=True) is figures


def test_open_loop_sends_a_large_request_beside(start_server: Start, ok: bytes) -> None:
    """Its latencies are kept apart."""
    server = start_server(lambda _: [ok])
    beside = Beside(GET, every_seconds=0.1)

    figures = open_loop(Load(server.address, [GET], 2), 0.35, 100, beside)

    assert figures.statuses == {200: 35}
    assert len(figures.latencies_beside) == 4


def test_percentiles_are_in_milliseconds() -> None:
    """Of a thousand latencies, the tenth from the end is the 99th percentile."""
    told = percentiles_ms(number / 1000 for number in range(1001))

    assert told == pytest.approx(
        {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 1000}
    )
    assert percentiles_ms([]) == {}
