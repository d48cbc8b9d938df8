"""Connections to one registry, over the standard library's HTTP.

Why no HTTP library: this lives inside other people's programs. It brings nothing
that could collide with theirs, imports in a tenth of the time, and bounds a whole
call, where timeouts for each single read let an answer drip for ever. Only what the
system takes to resolve a name is beyond it: `resolv.conf` bounds that.
"""

import contextlib
import functools
import http.client
import io
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from agent_registry_client.calls import Answer, Call
from agent_registry_client.errors import NotARegistry, Unreachable

#: The registry keeps an idle connection for 75 s; who lets go first never races it.
IDLE_SECONDS = 60.0

#: The server closed the connection; under TLS sending says it in these words.
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class _Until(io.RawIOBase):
    """Reads a socket until an instant, whoever drips bytes into it."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._socket, self._ends_at = sock, ends_at
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Stand in for the socket, as `http.client.HTTPResponse` uses it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - a buffer
        """Read what is there, in what is left of the time."""
        self._socket.settimeout(_left(self._ends_at))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class Server:
    """One base URL and the idle connections to it; used by any thread."""

    def __init__(
        self, url: str, headers: dict[str, str], ssl_context: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not _is_host(self.host):
            raise ValueError("a registry's URL looks like http://host:8790")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "a registry's URL has no user, password, query or fragment"
            )
        if " " in url or not url.isprintable():
            raise ValueError("a registry's URL has no blanks")
        self.url = url.rstrip("/")
        self.secure = parts.scheme == "https"
        self._port = parts.port or (443 if self.secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._headers = headers
        self.ssl_context = ssl_context
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()
        # Not `__del__`: at exit too, and whatever else holds this.
        weakref.finalize(self, _close_all, self._idle)

    def ask(self, call: Call[Any], seconds: float) -> Answer:
        """Return what the server answers within so many seconds."""
        ends_at = time.monotonic() + seconds
        while True:
            kept = self._take()
            connection = kept or self._open()
            try:
                return self._exchange(connection, call, ends_at)
            except _CLOSED as error:
                connection.close()
                # A kept one may have been closed by the server meanwhile.
                if kept is None:
                    raise Unreachable(f"{self.url}: {_said(error)}") from error
            except OSError as error:
                connection.close()
                if kept is not None:  # what swallowed it may swallow the others too
                    self.forget_connections()
                raise Unreachable(f"{self.url}: {_said(error)}") from error
            except (http.client.HTTPException, ValueError, OverflowError) as error:
                connection.close()
                raise NotARegistry(
                    f"{self.url} answered with something that is no HTTP "
                    f"({type(error).__name__})"
                ) from error
            except BaseException:  # interrupted: half an answer may be on its way
                connection.close()
                raise

    def forget_connections(self) -> None:
        """Close what is idle."""
        _close_all(self._idle)

    def _exchange(
        self, connection: http.client.HTTPConnection, call: Call[Any], ends_at: float
    ) -> Answer:
        if connection.sock is None:
            connection.sock = self._connect(ends_at)
        connection.sock.settimeout(_left(ends_at))
        connection.response_class = functools.partial(_response, ends_at)  # type: ignore[assignment]
        headers = self._headers
        if call.body is not None:
            headers = headers | {"Content-Type": "application/json"}
        try:
            connection.request(
                call.method, self._prefix + call.target, call.body or b"", headers
            )
        except _CLOSED as error:
            return _early_answer(connection, call, error)
        answer = _answer(connection, call)
        if connection.sock is not None:
            self._idle.append((time.monotonic(), connection))
        return answer

    def _take(self) -> http.client.HTTPConnection | None:
        oldest = time.monotonic() - IDLE_SECONDS
        with contextlib.suppress(IndexError):  # none is left; or a thread was faster
            while self._idle[0][0] <= oldest:
                self._idle.popleft()[1].close()
            return self._idle.pop()[1]
        return None

    def _open(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, self._port)
        connection.default_port = 443 if self.secure else 80  # not named in Host
        return connection

    def _connect(self, ends_at: float) -> socket.socket:
        found = socket.getaddrinfo(self.host, self._port, type=socket.SOCK_STREAM)
        sock = connect(found, ends_at)
        sock.settimeout(_left(ends_at))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.secure:
            return sock
        if self.ssl_context is None:  # 20 ms and 10 MB that plain HTTP does not need
            self.ssl_context = ssl.create_default_context()
        return self.ssl_context.wrap_socket(sock, server_hostname=self.host)


def connect(found: Sequence[Any], ends_at: float) -> socket.socket:
    """Connect to one of what `getaddrinfo` found, giving each a fair part of the time.

    `socket.create_connection` gives all of it to each: the second of two would be
    tried after the call has ended.
    """
    for number, (family, kind, protocol, _, where) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(ends_at) / (len(found) - number))
            sock.connect(where)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed


def _answer(connection: http.client.HTTPConnection, call: Call[Any]) -> Answer:
    response = connection.getresponse()
    content = io.BytesIO()
    while chunk := response.read(1 << 16):
        if content.tell() + len(chunk) > call.max_answer_bytes:
            raise ValueError("an answer without an end")
        content.write(chunk)
    if response.length:  # `read` with an amount does not tell of what is missing
        raise http.client.IncompleteRead(b"", response.length)
    told = {name.lower(): value for name, value in response.getheaders()}
    response.close()
    return Answer(response.status, told, content.getvalue())


def _early_answer(
    connection: http.client.HTTPConnection, call: Call[Any], error: OSError
) -> Answer:
    # A registry reads no more of a body once it is too large (65,536 bytes): it answers
    # with 413 and closes, so that sending the rest fails while the answer is there.
    try:
        return _answer(connection, call)
    except (OSError, http.client.HTTPException):
        raise error from None
    finally:
        connection.close()


def _response(
    ends_at: float, sock: socket.socket, debuglevel: int = 0, method: str | None = None
) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_Until(sock, ends_at), debuglevel, method)  # type: ignore[arg-type]


def _close_all(idle: deque[tuple[float, http.client.HTTPConnection]]) -> None:
    while idle:
        idle.pop()[1].close()


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")  # as it will be for the resolver
    except UnicodeError:  # a label is empty, or too long
        return False
    return bool(name)


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
