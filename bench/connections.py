"""Raw sockets that ask and are answered, and which of them have something to read."""

import functools
import select
import socket
import ssl
from collections.abc import Iterator

from bench.dialects import Dialect

#: The status of a request whose connection was closed before an answer came.
NO_ANSWER = 0
_TIMEOUT_SECONDS = 15
_RECEIVE_BYTES = 256 * 1024


class LoadFailed(Exception):
    """The figures would mean nothing: answers were missing or wrong."""


class Connection:
    """One connection with at most one request on its way."""

    __slots__ = (
        *("_address", "_dialect", "_needed", "_received", "_tls", "due_at", "socket"),
    )

    def __init__(
        self, address: tuple[str, int], dialect: Dialect, *, tls: bool = False
    ) -> None:
        self._address = address
        self._tls = _trusting() if tls else None
        self._dialect = dialect
        self._received = bytearray()
        self._needed = 0
        #: When the request on its way was due.
        self.due_at = 0.0
        self.open()

    def open(self) -> None:
        """Connect, and say the protocol's hello."""
        self._received.clear()
        self.socket = socket.create_connection(self._address, _TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            self.socket = self._tls.wrap_socket(self.socket)
        if self._dialect.hello:
            self.socket.sendall(self._dialect.hello)
            while self.receive() is None:
                pass

    def send(self, request: bytes, due_at: float) -> None:
        """Send a request."""
        self.due_at = due_at
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Take what has arrived; return the reply's status once it is whole."""
        try:
            data: bytes | bytearray = self.socket.recv(_RECEIVE_BYTES)
        except ConnectionError:
            return NO_ANSWER
        if not data:
            return NO_ANSWER
        if self._received:
            self._received += data
            data = self._received
        if len(data) < self._needed:
            return None
        reply = self._dialect.read(data)
        if reply is None or len(data) < reply.size:
            self._received = bytearray(data) if data is not self._received else data
            self._needed = reply.size if reply else 0
            return None
        if len(data) > reply.size:
            raise LoadFailed("more was answered than asked for")
        self._received, self._needed = bytearray(), 0
        return reply.status


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Return what encrypts, and believes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # TLS 1.3 sends tickets behind the handshake: something to read, and no answer.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Connections:
    """A set of connections that are waited for together."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._by_number: dict[int, Connection] = {}

    def add(self, connection: Connection) -> None:
        """Wait for this connection too."""
        self._by_number[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)

    def readable(self, seconds: float) -> list[Connection]:
        """Return the connections with data, waiting at most so long for the first."""
        by_number = self._by_number
        return [by_number[number] for number, _ in self._poll.poll(seconds)]

    def reopen(self, connection: Connection) -> None:
        """Close the connection and open it anew."""
        self.remove(connection)
        connection.open()
        self.add(connection)

    def remove(self, connection: Connection) -> None:
        """Close the connection, and wait for it no more."""
        del self._by_number[connection.socket.fileno()]
        connection.socket.close()  # which the poll notices by itself

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._by_number.values())

    def close(self) -> None:
        """Close them all."""
        for connection in self:
            connection.socket.close()
        self._poll.close()
