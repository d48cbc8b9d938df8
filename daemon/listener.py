"""The socket, and the thread that serves HTTP on it."""

import asyncio
import functools
import os
import socket
import ssl
import threading
from collections.abc import Callable
from math import ceil
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.metrics import ClosingCause
from daemon.connections import Connections, Limits, most_connections
from daemon.handshakes import TlsServer
from daemon.head import HeadCheck, Trust
from daemon.protocol import RegistryProtocol
from daemon.tls import HSTS

_BACKLOG = 2048
#: Before a stop hangs up on who is idle: time for what was sent already to be read.
_LAST_REQUESTS_SECONDS = 0.05
#: Of every answer; they cost a heartbeat half a microsecond.
_HEADERS = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
#: After hanging up: how long handlers may take to notice before they are cancelled.
_LEFT_TO_HANG_UP_SECONDS = 1


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address; port 0 takes a free one.

    Connections queue from here on, before anything serves them.

    Raises:
        OSError: the address is taken, not ours, or cannot be resolved.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket, scheme: str = "http") -> str:
    """Return where a listening socket is reached: `http://...`, or `unix:...`."""
    address = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        # An abstract name begins with NUL, and is written with an @.
        return "unix:" + os.fsdecode(address).replace("\0", "@")
    host, port = address[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Server(uvicorn.Server):
    """A server that says when it serves, and hangs up on who drains too slowly."""

    def __init__(
        self,
        config: uvicorn.Config,
        serving: threading.Event,
        connections: Connections,
    ) -> None:
        super().__init__(config)
        self._serving = serving
        self._connections = connections
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # As uvicorn does it with sockets that it is given, but for TLS.
        self.servers = [await self._serve_on(bound) for bound in sockets or []]
        self.started = True
        self.loop = asyncio.get_running_loop()
        self._connections.start(self.loop)
        self._serving.set()

    async def _serve_on(self, bound: socket.socket) -> Any:  # noqa: ANN401 - a server
        if self.config.ssl is not None:
            return TlsServer(
                bound, self.config.ssl, self._make_protocol, self._connections
            )
        return await asyncio.get_running_loop().create_server(
            self._make_protocol, sock=bound, backlog=self.config.backlog
        )

    def _make_protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state={}
        )
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drain_seconds = self._connections.limits.drain_seconds
        await self._read_last_requests(sockets or [])
        asyncio.get_running_loop().call_later(drain_seconds, self._hang_up)
        await super().shutdown(sockets)

    async def _read_last_requests(self, sockets: list[socket.socket]) -> None:
        # Uvicorn hangs up at once on whoever was accepted and not read yet: 7 of 8
        # callers, once. Twice, as a loop that is late runs its timers before it reads.
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()
        for _ in range(2):
            await asyncio.sleep(_LAST_REQUESTS_SECONDS)

    def _hang_up(self) -> None:
        # Uvicorn cancels what is left: a traceback, and a 500 to a client whose
        # request never arrived whole. A lost connection ends it without either.
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _spoken_by(tls: ssl.SSLContext | None) -> dict[str, Any]:
    if tls is None:
        return {"headers": _HEADERS}
    return {
        "headers": [*_HEADERS, HSTS],
        "ssl_context_factory": lambda _config, _default: tls,
    }


class HttpListener:
    """Serves an application in a thread of its own, on a socket that is bound.

    In the main thread uvicorn would take the signals, and after draining raise
    SIGTERM again: the clean-ups of everything else would never run.

    Args:
        app: the application; its lifespan is not run.
        bound: the listening socket; it stays the caller's to close.
        limits: what connections may take; `stop` waits for requests in flight for
            its `drain_seconds`.
        trust: the names it goes by, and the proxies it believes.
        tls: what to serve with; None without TLS. A handshake takes no longer than a
            request may.
        closed: called for each connection that is closed for a cause.
        on_death: called when serving ends without `stop`.
    """

    def __init__(  # noqa: PLR0913 - each a choice of its own
        self,
        app: FastAPI,
        bound: socket.socket,
        *,
        limits: Limits,
        trust: Trust,
        tls: ssl.SSLContext | None = None,
        closed: Callable[[ClosingCause], None],
        on_death: Callable[[], None],
    ) -> None:
        self._bound = bound
        self._on_death = on_death
        self._stopping = False
        self._serving = threading.Event()
        connections = Connections(limits, most=most_connections(), closed=closed)
        protocol: Any = functools.partial(
            RegistryProtocol, connections=connections, heads=HeadCheck(trust.hosts)
        )
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(trust.proxies),
                forwarded_allow_ips=list(trust.proxies),
                timeout_graceful_shutdown=ceil(limits.drain_seconds)
                + _LEFT_TO_HANG_UP_SECONDS,
                backlog=_BACKLOG,
                **_spoken_by(tls),
            ),
            self._serving,
            connections,
        )
        self._thread = threading.Thread(
            target=self._serve, name="http-listener", daemon=True
        )

    def start(self) -> None:
        """Serve; returns once requests are answered.

        Raises:
            RuntimeError: serving ended as it began; the log says why.
        """
        self._thread.start()
        self._serving.wait()
        if self._server.loop is None:
            raise RuntimeError("serving ended as it began")

    def stop(self) -> None:
        """Stop accepting, finish what is in flight, and end the thread."""
        self._stopping = True
        self._server.should_exit = True
        self._thread.join()

    def call_soon(self, call: Callable[[], Any]) -> None:
        """Run `call` on the event loop, as soon as it turns."""
        if self._server.loop is not None and not self._stopping:
            self._server.loop.call_soon_threadsafe(call)

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._bound])
        finally:
            self._serving.set()
            if not self._stopping:
                self._on_death()
