"""What an application answers, on its way out."""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

#: Before the head that answers, a client may be told to go on.
_CONTINUE = STATUS_LINE[100]
#: To copy more than this costs more than a packet does.
_MOST_JOINED_BYTES = 32_768


class Reply(asyncio.Transport):
    """Writes the answers of one connection: each head with the first of its body.

    ASGI lets a server hold the head until then. Sent by itself it costs a packet of
    its own, and wakes the client once more: 8 of a heartbeat's 70 us.

    Args:
        transport: where answers go.
    """

    __slots__ = ("_head", "_transport", "expects_head")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        #: What is written next is a head.
        self.expects_head = False
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hold a head; send all else as it comes."""
        if self.expects_head:
            head = bytes(data)
            self.expects_head = head.startswith(_CONTINUE)
            if not self.expects_head:
                self._head = head
                return
        elif self._head:
            if len(data) > _MOST_JOINED_BYTES:
                self.flush()
            else:
                data = self._head + data
                self._head = b""
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head behind which nothing comes."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Close behind all that was written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether nothing can be written any more."""
        return self._transport.is_closing()
