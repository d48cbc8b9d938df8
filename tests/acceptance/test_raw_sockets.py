"""Bytes as no client sends them, to a real daemon: each is answered, or cut off."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

HOST = b"Host: localhost\r\n"
GET = b"GET /agents/known-1 HTTP/1.1\r\n" + HOST
PLAIN = GET + b"\r\n"
POST = (
    b"POST /agents/register HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
)
BEAT = b"POST /agents/known-1/heartbeat HTTP/1.1\r\n" + HOST
DELETE = b"DELETE /agents/known-1 HTTP/1.1\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
BODY = json.dumps(
    {"agent_id": "known-1", "agent_name": "K", "host": "10.0.0.7", "port": 80}
).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
TOO_MUCH = 16_384
REQUEST_SECONDS = 1


class Case(NamedTuple):
    """What is sent, and the statuses of what is answered before the end."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]
    #: Whether the daemon closes the connection.
    closes: bool = True
    code: str = ""


CASES = [
    # Where a request ends.
    Case("two lengths", POST + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY, (400,)),
    Case("two equal lengths", POST + LENGTH * 2 + b"\r\n" + BODY, (400,)),
    Case("lengths in one line", POST + b"Content-Length: 3, 3\r\n\r\n{}\n", (400,)),
    Case("negative length", POST + b"Content-Length: -1\r\n\r\n", (400,)),
    Case("length with a sign", POST + b"Content-Length: +2\r\n\r\n{}", (400,)),
    Case("length in hex", POST + b"Content-Length: 0x2\r\n\r\n{}", (400,)),
    Case("no digits", POST + b"Content-Length: two\r\n\r\n{}", (400,)),
    Case("empty length", POST + b"Content-Length: \r\n\r\n{}", (400,)),
    Case("length beyond 64 bits", POST + b"Content-Length: 1%030d\r\n\r\n" % 0, (400,)),
    Case(
        "length, then chunked",
        POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (400,),
    ),
    Case(
        "chunked, then length",
        POST + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
        (400,),
    ),
    Case("gzip, chunked", GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", (400,)),
    Case("xchunked", GET + b"Transfer-Encoding: xchunked\r\n\r\n", (400,)),
    Case("identity", GET + b"Transfer-Encoding: identity\r\n\r\n", (400,)),
    Case(
        "chunked twice", GET + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", (400,)
    ),
    Case(
        "chunked in HTTP/1.0",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (400,),
    ),
    Case("chunk without an end", CHUNKED + b"2\r\n{}XX0\r\n\r\n", (400,)),
    Case("chunk ends by LF", CHUNKED + b"2\n{}\n0\n\n", (400,)),
    Case("chunk size is no number", CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", (400,)),
    Case("chunk size beyond 64 bits", CHUNKED + b"f" * 17 + b"\r\n", (400,)),
    Case(
        "a broken body deletes nobody",
        DELETE + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\naXX",
        (400,),
    ),
    Case(
        "trailers add no headers",
        b"GET /agents/known-1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        + HOST
        + b"\r\n0\r\nHost: evil.example\r\n\r\n",
        (200,),
        closes=False,
    ),
    Case("endless trailer", CHUNKED + b"0\r\nX: " + b"x" * 200 * TOO_MUCH, (431,)),
    # Lines and characters.
    Case("folded line", GET + b"X: a\r\n b\r\n\r\n", (400,)),
    Case("folded at once", b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", (400,)),
    Case("space before the colon", GET + b"X : a\r\n\r\n", (400,)),
    Case("no name", GET + b": a\r\n\r\n", (400,)),
    Case("bare LF", PLAIN.replace(b"\r\n", b"\n"), (400,)),
    Case("bare CR", GET + b"X: a\rb\r\n\r\n", (400,)),
    Case("NUL in a header", GET + b"X: a\0b\r\n\r\n", (400,)),
    Case("NUL in the path", b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("byte above ASCII", b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("empty lines before", b"\r\n\r\n" + PLAIN, (200,), closes=False),
    # Other protocols and versions.
    Case("no HTTP", b"no http at all\r\n\r\n", (400,)),
    Case("only zeros", b"\0" * 64, (400,)),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, (400,)),
    Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    Case("HTTP/2 by its version", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", (400,)),
    Case("HTTP/0.9", b"GET /\r\n\r\n", (400,)),
    Case("HTTP/1.2", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", (400,)),
    Case("small letters", b"get / http/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("HTTP/1.0", b"GET /agents/known-1 HTTP/1.0\r\n\r\n", (200,)),
    Case("HTTP/1.0 of a name", b"GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n", (421,)),
    Case("asked to close", GET + b"Connection: close\r\n\r\n", (200,)),
    # Upgrades.
    Case(
        "websocket",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
        (400,),
    ),
    Case("upgrade alone", GET + b"Upgrade: websocket\r\n\r\n", (400,)),
    Case("two upgrades", GET + H2C + b"Upgrade: websocket\r\n\r\n", (400,)),
    Case("h2c is ignored", GET + H2C + b"\r\n", (200,), closes=False),
    Case("h2c with a body", POST + H2C + LENGTH + b"\r\n" + BODY, (200,), closes=False),
    Case("junk behind h2c", GET + H2C + b"\r\n\0\0\0\x04\0", (200, 400)),
    Case("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("CONNECT to a path", b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    # Targets.
    Case(
        "whole URL of the same host",
        b"GET http://localhost/agents/known-1 HTTP/1.1\r\n" + HOST + b"\r\n",
        (200,),
        closes=False,
    ),
    Case(
        "whole URL of another host",
        b"GET http://evil.example/agents/known-1 HTTP/1.1\r\n" + HOST + b"\r\n",
        (400,),
    ),
    Case(
        "whole URL with a user",
        b"GET http://u@localhost/agents HTTP/1.1\r\n" + HOST + b"\r\n",
        (400,),
    ),
    Case("URL of a file", b"GET file:///x HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("no path", b"GET http://localhost HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("star", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (404,), closes=False),
    Case("star for GET", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case(
        "two slashes", b"GET //x/y HTTP/1.1\r\n" + HOST + b"\r\n", (404,), closes=False
    ),
    # Host and Origin.
    Case("no Host", b"GET / HTTP/1.1\r\n\r\n", (400,)),
    Case("two Hosts", PLAIN.replace(HOST, HOST * 2), (400,)),
    Case("empty Host", b"GET / HTTP/1.1\r\nHost: \r\n\r\n", (400,)),
    Case("Host with a user", b"GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n", (400,)),
    Case(
        "Host of another",
        DELETE + b"Host: evil.example\r\n\r\n",
        (421,),
        code="misdirected",
    ),
    Case(
        "foreign Origin",
        BEAT + b"Origin: http://evil.example\r\n\r\n",
        (403,),
        code="foreign_origin",
    ),
    Case("Origin null", BEAT + b"Origin: null\r\n\r\n", (403,)),
    Case("two Origins", BEAT + b"Origin: http://localhost\r\n" * 2 + b"\r\n", (400,)),
    Case(
        "Origin of our own",
        BEAT + b"Origin: http://localhost\r\n\r\n",
        (200,),
        closes=False,
    ),
    Case(
        "foreign Origin that only reads",
        GET + b"Origin: http://evil.example\r\n\r\n",
        (200,),
        closes=False,
    ),
    # Sizes.
    Case(
        "large header",
        GET + b"X: " + b"x" * TOO_MUCH + b"\r\n\r\n",
        (431,),
        code="header_too_large",
    ),
    Case("endless header", GET + b"X: " + b"x" * 20 * TOO_MUCH, (431,)),
    Case("many headers", GET + b"X: y\r\n" * 4_000 + b"\r\n", (431,)),
    Case("long path", b"GET /" + b"x" * TOO_MUCH + b" HTTP/1.1\r\n", (431,)),
    Case(
        "just not too large",
        GET + b"X: " + b"x" * 16_000 + b"\r\n\r\n",
        (200,),
        closes=False,
    ),
    Case("100 MB to come", POST + b"Content-Length: 104857600\r\n\r\n{}", (413,)),
    Case(
        "100 MB, and waits",
        POST + b"Content-Length: 104857600\r\nExpect: 100-continue\r\n\r\n",
        (413,),
    ),
    # Pipelines.
    Case("two at once", PLAIN * 2, (200, 400)),
    Case("a thousand at once", PLAIN * 1_000, (200, 400)),
    Case("a thousand beats", (BEAT + b"\r\n") * 1_000, (200, 400)),
    Case("junk behind a request", PLAIN + b"\x16\x03\x01", (200, 400)),
    Case("hidden in a body", POST + LENGTH + b"\r\n" + BODY + PLAIN, (200, 400)),
    # Half of one.
    Case("half a head", GET, (408,), code="request_timeout"),
    Case("half a body", POST + LENGTH + b"\r\n" + BODY[:9], (408,)),
    Case("nothing", b"", ()),
    Case("empty lines", b"\r\n" * 9, ()),
]


@pytest.fixture(scope="module")
def daemon(
    daemons_in: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Start a daemon that knows one agent; at the end it must be as it was."""
    with daemons_in(tmp_path_factory.mktemp("registry")) as start:
        daemon = start(AGENT_REGISTRY_LIMITS__REQUEST_SECONDS=str(REQUEST_SECONDS))
        daemon.call("POST", "/agents/register", json.loads(BODY))
        yield daemon
        assert daemon.call("GET", "/health")["status"] == "ok"
        assert list(daemon.agents()) == ["known-1"]
        assert "Traceback" not in daemon.log()
        assert len(daemon.log().splitlines()) < len(CASES)


def _answers(daemon: Any, sent: bytes) -> tuple[bytes, bool]:
    """Return all that is answered, and whether the connection was closed."""
    answer = b""
    with socket.create_connection((daemon.host, daemon.port), timeout=10) as client:
        with suppress(ConnectionError):  # cut off while it still sends
            client.sendall(sent)
        client.settimeout(3)
        try:
            while part := client.recv(65_536):
                answer += part
                if answer.endswith((b"}", b"]")):
                    client.settimeout(0.2)
        except TimeoutError:
            return answer, False
        except ConnectionError:
            pass
    return answer, True


def _statuses(answers: bytes) -> tuple[int, ...]:
    return tuple(map(int, re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", answers)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_no_client_sends_is_answered_rightly(daemon: Any, case: Case) -> None:
    """The statuses are these, an error is a problem, and the end is as it should be."""
    answers, closed = _answers(daemon, case.sent)

    assert (_statuses(answers), closed) == (case.statuses, case.closes)
    if closed and case.statuses and case.statuses[-1] >= 400:
        head, _, body = answers.rpartition(b"\r\n\r\n")
        assert b"application/problem+json" in head.rpartition(b"HTTP/1.1")[2]
        assert b"connection: close" in head.rpartition(b"HTTP/1.1")[2].lower()
        assert case.code in ("", json.loads(body)["code"])
