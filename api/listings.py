"""Listings under load: they wait for a bounded time, in a bounded memory."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.budget import Budget
from api.errors import unavailable

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Bytes of listings that may be on their way at once; 10,000 agents are about 3 MB.
MAX_UNSENT_BYTES = 64 * 1024 * 1024
#: How long a reader may take for its listing.
MAX_SECONDS = 30
#: How long the oldest listing may wait to be read before others are refused: it
#: waits behind a crowd, and heartbeats feel the crowd next.
MAX_WAIT_SECONDS = 2
#: The server takes the next slice when the socket has taken most of the one before.
_SLICE_BYTES = 256 * 1024


class Listings:
    """Knows the listings that are being read, and the bytes of those being sent."""

    def __init__(
        self,
        most_bytes: int = MAX_UNSENT_BYTES,
        seconds: float = MAX_SECONDS,
        *,
        most_wait_seconds: float = MAX_WAIT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unsent = Budget(most_bytes)
        self._seconds = seconds
        self._most_wait_seconds = most_wait_seconds
        self._monotonic = monotonic
        #: Since when each is asked for, the oldest first.
        self._asked: dict[Future[Any], float] = {}

    async def read(self, ask: Callable[[], "Future[T]"]) -> T:
        """Await the listing that `ask` has the store read.

        Raises:
            ProblemError: 503 when one waits for too long already; `ask` was not called.
                One that is being read, however long, waits no more.
        """
        now = self._monotonic()
        waiting = (since for one, since in self._asked.items() if not one.running())
        if now - next(waiting, now) > self._most_wait_seconds:
            raise unavailable("overloaded")
        asked = ask()
        self._asked[asked] = now
        try:
            return await asyncio.wrap_future(asked)
        finally:
            del self._asked[asked]

    def answer(self, body: bytes, headers: Mapping[str, str] | None) -> Response:
        """Return the answer that sends a listing; send it, for it counts from now.

        Raises:
            ProblemError: 503 when too much is unsent already. One listing may
                always be sent, however long.
        """
        self._unsent.take(len(body))
        return _Listing(self, body, headers)

    async def send(self, body: bytes, send: Send) -> None:
        """Send a body slice by slice, as fast as its reader takes it."""
        try:
            async with asyncio.timeout(self._seconds):
                for start in range(0, len(body), _SLICE_BYTES):
                    part = body[start : start + _SLICE_BYTES]
                    await send(_body(part, more=start + _SLICE_BYTES < len(body)))
        except TimeoutError:
            # The server closes a connection whose answer is not finished.
            log.warning(
                "A reader did not take its listing within %g s",
                self._seconds,
                extra={"action": "listing_cut"},
            )
        finally:
            self._unsent.give_back(len(body))


class _Listing(Response):
    def __init__(
        self, listings: Listings, body: bytes, headers: Mapping[str, str] | None
    ) -> None:
        super().__init__(body, headers=headers, media_type="application/json")
        self._listings = listings

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 - ASGI's own form
        receive: Receive,  # noqa: ARG002
        send: Send,
    ) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await self._listings.send(bytes(self.body), send)


def _body(part: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": part, "more_body": more}
