"""TLS handshakes, which count as what any connection owes until it is whole.

An event loop tells of a TLS connection only once its handshake is done: half-done
ones, which cost a client nothing, could take every descriptor unseen.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from daemon.connections import Connections

#: Where nobody can be accepted, as without a descriptor, that is tried again.
_RETRY_SECONDS = 0.1
#: More than `Connections` takes to hang up on who does not read, and to count it.
_LEFT_TO_HANG_UP_SECONDS = 1


class TlsServer:
    """Accepts connections, and leads each through its handshake.

    It has of asyncio's servers what uvicorn asks of them.

    Args:
        bound: the listening socket; it stays the caller's to close.
        tls: what to serve with.
        make_protocol: makes what speaks on each connection from then on.
        connections: has a handshake given up that is late, or one of too many.
    """

    def __init__(
        self,
        bound: socket.socket,
        tls: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        connections: Connections,
    ) -> None:
        self._tls = tls
        self._make_protocol = make_protocol
        self._connections = connections
        # While a connection closes, what was answered on it is read, too.
        self._closing_seconds = (
            connections.limits.response_seconds + _LEFT_TO_HANG_UP_SECONDS
        )
        self._handshakes: set[asyncio.Task[None]] = set()
        bound.settimeout(0)
        self._accepting = asyncio.create_task(self._accept(bound))

    def close(self) -> None:
        """Accept nobody any more."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Give up the handshakes that are half-done: nothing was asked by then."""
        for handshake in self._handshakes:
            handshake.cancel()
        await asyncio.wait([self._accepting, *self._handshakes])

    async def _accept(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(bound)
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            handshake = loop.create_task(self._shake_hands(accepted, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, address: Any) -> None:  # noqa: ANN401 - of any family
        handshake = _Handshake(
            accepted, address, self._make_protocol, self._connections
        )
        self._connections.opened(handshake)
        loop = asyncio.get_running_loop()
        try:
            # What fails is the client's doing, and is not told: it could fill the log.
            with suppress(OSError):
                await loop.connect_accepted_socket(
                    lambda: handshake,
                    accepted,
                    ssl=self._tls,
                    ssl_shutdown_timeout=self._closing_seconds,
                )
        finally:
            handshake.end()


class _Handshake(asyncio.Protocol):
    """A connection before its handshake is done."""

    def __init__(
        self,
        accepted: socket.socket,
        address: Any,  # noqa: ANN401 - of any family
        make_protocol: Callable[[], asyncio.Protocol],
        connections: Connections,
    ) -> None:
        self._accepted = accepted
        self._make_protocol = make_protocol
        self._connections = connections
        self._ended = False
        self.peer: str = address[0] if address else ""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - of any loop
        """Give way to what speaks from now on, which counts in its stead."""
        # Before that counts: at the most connections both together were one too many,
        # and this one, the only one unfinished, had to go for it.
        self.end()
        protocol = self._make_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def end(self) -> None:
        """Count no more, however it ended; once."""
        if not self._ended:
            self._ended = True
            self._connections.lost(self)

    def expire(self) -> None:
        """Give up: no more time."""
        self.abort()

    def close_idle(self) -> None:
        """Give up; it is never at rest."""
        self.abort()

    def abort(self) -> None:
        """Hang up, which ends the handshake as a client's going would."""
        with suppress(OSError):
            self._accepted.shutdown(socket.SHUT_RDWR)
