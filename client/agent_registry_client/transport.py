"""HTTP over the standard library: connections that are kept, and failover.

Why no HTTP library: this lives inside other people's programs. It brings nothing
that could collide with theirs, imports in a tenth of the time, and bounds a whole
call, where timeouts for each single read let an answer drip for ever.
"""

import functools
import http.client
import io
import os
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from agent_registry_client.calls import Answer, Call
from agent_registry_client.errors import (
    NotARegistry,
    RegistryError,
    RegistryProblem,
    Unreachable,
)
from agent_registry_client.version import __version__

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8790"

#: The registry keeps an idle connection for 75 s; who lets go first never races it.
IDLE_SECONDS = 60.0

#: A listing of a million agents is below this; what never ends is not.
MAX_ANSWER_BYTES = 1 << 30


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


class _Server:
    """One base URL and the idle connections to it; used by any thread."""

    def __init__(
        self, url: str, headers: dict[str, str], ssl_context: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("a registry's URL looks like http://host:8790")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "a registry's URL has no user, password, query or fragment"
            )
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self._secure = parts.scheme == "https"
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = headers
        self._ssl_context = ssl_context
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
            except ConnectionError as error:
                connection.close()
                # A kept one may have been closed by the server meanwhile.
                if kept is None:
                    raise Unreachable(f"{self.url}: {_said(error)}") from error
            except OSError as error:
                connection.close()
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
        connection.timeout = _left(ends_at)
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(_left(ends_at))
        connection.response_class = functools.partial(_response, ends_at)  # type: ignore[assignment]
        headers = self._headers
        if call.body is not None:
            headers = headers | {"Content-Type": "application/json"}
        connection.request(
            call.method, self._prefix + call.target, call.body or b"", headers
        )
        response = connection.getresponse()
        content = io.BytesIO()
        while chunk := response.read(1 << 16):
            if content.tell() + len(chunk) > MAX_ANSWER_BYTES:
                raise ValueError("an answer without an end")
            content.write(chunk)
        told = {name.lower(): value for name, value in response.getheaders()}
        response.close()
        if connection.sock is not None:
            self._idle.append((time.monotonic(), connection))
        return Answer(response.status, told, content.getvalue())

    def _take(self) -> http.client.HTTPConnection | None:
        while self._idle:
            try:
                since, connection = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _open(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self.host, self._port or 80)
        if self._ssl_context is None:  # 20 ms and 10 MB that plain HTTP does not need
            self._ssl_context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self.host, self._port or 443, context=self._ssl_context
        )


def _response(
    ends_at: float, sock: socket.socket, debuglevel: int = 0, method: str | None = None
) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_Until(sock, ends_at), debuglevel, method)  # type: ignore[arg-type]


def _close_all(idle: deque[tuple[float, http.client.HTTPConnection]]) -> None:
    while idle:
        idle.pop()[1].close()


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


class Transport:
    """Sends calls to the registry, or to the next one when it does not answer."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        timeout_seconds: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        headers = {"User-Agent": f"agent-registry-client/{__version__}"}
        token = (token or os.environ.get("AGENT_REGISTRY_TOKEN", "")).strip()
        if token:
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise ValueError("the token has characters that no header can carry")
            headers["Authorization"] = f"Bearer {token}"
        url = url or os.environ.get("AGENT_REGISTRY_URL") or DEFAULT_URL
        urls = url.split(",") if isinstance(url, str) else url
        self._servers = [_Server(one.strip(), headers, ssl_context) for one in urls]
        self._first = 0
        self.timeout_seconds = timeout_seconds

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs, in the order they were given."""
        return tuple(server.url for server in self._servers)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the base URLs."""
        return tuple(server.host for server in self._servers)

    def send(self, call: Call[T], timeout_seconds: float | None = None) -> T:
        """Return what the first registry that is well answers, from any thread.

        Begins with the one that answered last; each has `timeout_seconds`.

        Raises:
            RegistryError: none answered, or the answer is an error.
        """
        seconds = timeout_seconds or self.timeout_seconds
        failed: list[RegistryError] = []
        begin = self._first
        for turn in range(len(self._servers)):
            number = (begin + turn) % len(self._servers)
            server = self._servers[number]
            try:
                told = call.read(server.ask(call, seconds))
            except RegistryError as error:
                if error.temporary:
                    failed.append(error)
                    continue
                self._first = number
                raise
            self._first = number
            return told
        raise _summary(failed)

    def forget_connections(self) -> None:
        """Close idle connections; calls that come later open new ones."""
        for server in self._servers:
            server.forget_connections()


def _summary(failed: Iterable[RegistryError]) -> RegistryError:
    errors = list(failed)
    # A registry that says why it cannot is worth more than one that says nothing.
    for error in errors:
        if len(errors) == 1 or isinstance(error, RegistryProblem):
            return error
    return Unreachable("no registry answered: " + "; ".join(map(str, errors)))
