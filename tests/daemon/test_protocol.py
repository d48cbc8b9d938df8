"""What is answered to bytes that are no HTTP."""

import json
import socket
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from daemon.listener import HttpListener, bind


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """Serve an application that is never reached, on a free port."""
    with bind("127.0.0.1", 0) as bound:
        listener = HttpListener(
            FastAPI(),
            bound,
            keep_alive_seconds=5,
            drain_seconds=1,
            on_death=lambda: None,
        )
        listener.start()
        yield bound
        listener.stop()


@pytest.mark.parametrize(
    "sent",
    [
        b"no http at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(
    bound: socket.socket, sent: bytes
) -> None:
    """400, nothing of it repeated, and the connection is closed."""
    with socket.create_connection(bound.getsockname()) as client:
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    assert (json.loads(body)["status"], json.loads(body)["code"]) == (400, "http_error")
