"""One connection, from its wire to an application that a test holds back."""

import asyncio
import re
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from daemon.connections import Connections, Limits
from daemon.head import HeadCheck
from daemon.protocol import RegistryProtocol

GET = b"GET /one HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /one HTTP/1.1\r\nHost: localhost\r\n"


class Wire(asyncio.Transport):
    """What the protocol writes to; its other end is the test."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.7", 1), "sockname": ("10.0.0.1", 80)})
        self.packets: list[bytes] = []
        self.unread = 0
        self.ended = ""
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take it."""
        assert not self.ended
        self.packets.append(bytes(data))

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return bool(self.ended)

    def close(self) -> None:
        """Write it down."""
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        """Write it down."""
        self.ended = "aborted"

    def get_write_buffer_size(self) -> int:
        """Return what the test says."""
        return self.unread

    def pause_reading(self) -> None:
        """Write it down."""
        self.paused = True

    def resume_reading(self) -> None:
        """Write it down."""
        self.paused = False

    @property
    def written(self) -> bytes:
        """Return all that was written."""
        return b"".join(self.packets)

    @property
    def statuses(self) -> list[int]:
        """Return the statuses of what was answered."""
        return [int(n) for n in re.findall(rb"HTTP/1\.1 (\d+) ", self.written)]


class Client:
    """One connection to an application that holds its answers back until asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.seen: list[tuple[str, list[Any], bytes]] = []
        self.called = 0
        self.body = b"ok"
        self.failing = False
        self.hasty = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.now = 1_000.0
        self.closed: list[str] = []
        self.connections = Connections(
            limits, most=100, closed=self.closed.append, monotonic=lambda: self.now
        )
        self.wire = Wire()
        self._loop = loop
        config = uvicorn.Config(
            self._application, interface="asgi3", ws="none", log_config=None
        )
        config.load()
        self.protocol = RegistryProtocol(
            connections=self.connections,
            heads=HeadCheck(()),
            config=config,
            server_state=ServerState(),
            app_state={},
            _loop=loop,
        )
        self.protocol.connection_made(self.wire)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.called += 1
        body, more = b"", not self.hasty
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append(("gone", [], body))
                return
            body, more = body + message["body"], message["more_body"]
        self.seen.append((scope["path"], scope["headers"], body))
        await self.answers.wait()
        length = b"%d" % len(self.body)
        head = {"status": 200, "headers": [(b"content-length", length)]}
        await send({"type": "http.response.start"} | head)
        if self.failing:
            raise RuntimeError("on purpose")
        await send({"type": "http.response.body", "body": self.body})

    def send(self, *parts: bytes) -> None:
        """Send what comes in these parts, and let the loop turn."""
        for part in parts:
            if not self.wire.ended:
                self.protocol.data_received(part)
        self.turn()

    def turn(self) -> None:
        """Let the loop do what it has to."""
        for _ in range(8):
            self._loop.run_until_complete(asyncio.sleep(0))

    def leave(self) -> None:
        """Lose the connection, whatever goes on."""
        self.answers.set()
        self.protocol.connection_lost(None)
        self.turn()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.connections.sweep()
        self.turn()
