"""A tiny server to generate load against."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from bench.results import Results

#: Returns the pieces in which a request is answered, given its number from 1.
Answer = Callable[[int], list[bytes]]


class TinyServer(socketserver.ThreadingTCPServer):
    """Answers one request after the other, whatever they ask."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = cast("tuple[str, int]", self.server_address)
        #: How many connections and requests came so far.
        self.connections = 0
        self.requests = 0
        self.answer = answer
        self.answering = threading.Lock()


class _Handler(socketserver.StreamRequestHandler):
    server: TinyServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with self.server.answering:
            self.server.connections += 1
        while self._read_head():
            with self.server.answering:
                self.server.requests += 1
                pieces = self.server.answer(self.server.requests)
            if not pieces:
                return
            for piece in pieces:
                self.wfile.write(piece)

    def _read_head(self) -> bool:
        while (line := self.rfile.readline()) not in (b"", b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                self.length = int(line.partition(b":")[2])
        if line:
            self.rfile.read(getattr(self, "length", 0))
        return bool(line)


@pytest.fixture
def start_server() -> Iterator[Callable[[Answer], TinyServer]]:
    """Return a function that starts a server with these answers."""
    started: list[TinyServer] = []

    def start(answer: Answer) -> TinyServer:
        server = TinyServer(answer)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ok() -> bytes:
    """Return an answer that all is well."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def results() -> Results:
    """Return results of a few rows."""
    latency = {"p50": 1.0, "p90": 2.0, "p99": 9.0, "p99.9": 20.0, "max": 31.5}
    seen = {"rate": 9_000.0, "latency_ms": latency, "generator_busy": 0.5}
    busy = seen | {"generator_busy": 0.99}
    return Results(
        full=False,
        date="2026-11-22T15:45:00+00:00",
        commit="0123456789ab <with uncommitted changes & more>",
        machine={"cpu": "a processor", "cores": "2"},
        versions={"python": "3.11.7"},
        seconds=321.0,
        measures={
            "beat_bare": [0.7, 0.5, 0.65],
            "beat_naive": [5.0, 4.0, 7.5],
            "bulk_rate": [100_000.0],
            "open_p99": [9.0, 26.0, 12.0],
            "beat_redis": [0.3],
        },
        absent={"beat_consul": "no consul on PATH"},
        failures={"row": "answers by status: {404: 1}"},
        rounds={
            "heartbeats, 64 connections": {"ours": [seen], "bare": [busy]},
            "1,000 beats/s, open loop": {"ours": [busy, busy]},
        },
    )
