"""Sending listings: what readers who do not read may hold in memory is bounded."""

import asyncio
import logging
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import RETRY_AFTER_SECONDS, ProblemError

log = logging.getLogger(__name__)

#: Bytes of listings that may be on their way at once; 10,000 agents are about 3 MB.
MAX_UNSENT_BYTES = 64 * 1024 * 1024
#: How long a reader may take for its listing.
MAX_SECONDS = 30
#: The server takes the next slice when the socket has taken most of the one before.
_SLICE_BYTES = 256 * 1024


class Listings:
    """Counts the bytes of all listings that are being sent."""

    def __init__(
        self, most_bytes: int = MAX_UNSENT_BYTES, seconds: float = MAX_SECONDS
    ) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._unsent_bytes = 0

    def answer(self, body: bytes, headers: Mapping[str, str] | None) -> Response:
        """Return the answer that sends a listing; send it, for it counts from now.

        Raises:
            ProblemError: 503 when too much is unsent already. One listing may
                always be sent, however long.
        """
        if self._unsent_bytes and self._unsent_bytes + len(body) > self._most_bytes:
            retry_after = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise ProblemError(503, "overloaded", headers=retry_after)
        self._unsent_bytes += len(body)
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
            self._unsent_bytes -= len(body)


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
