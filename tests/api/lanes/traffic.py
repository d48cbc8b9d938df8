"""Requests, drawn by the thousand, and the two ways to their answers."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import pytest
from fastapi import FastAPI
from freezegun import freeze_time
from starlette.types import ASGIApp, Message, Scope

from api.lane import HeartbeatLane, ListingLane, RegistrationLane

Drawn = TypeVar("Drawn")
Headers = Sequence[tuple[bytes, bytes]]

REQUESTS = 2_000


def authorization(*credentials: bytes) -> Headers:
    """Build the headers that show so many credentials."""
    return [(b"authorization", credential) for credential in credentials]


#: Agents that are registered, and the owners of those that have one.
KNOWN = ["a", "register", "heartbeats", "A.b_c:d~e-1", "x" * 255]
OWNED = {"billing-1": "billing", "both-1": "search"}

METHODS = ["POST"] * 12 + ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"]
ROOT_PATHS = ["", "", "", "", "", "/agents", "/agents/register", "/x"]
HEADERS = [
    (b"content-length", b"0"),
    (b"content-length", b"2"),
    (b"content-length", b"-1"),
    (b"content-length", b"x"),
    (b"transfer-encoding", b"chunked"),
    (b"content-type", b"application/json"),
    (b"content-type", b"text/plain"),
    (b"accept", b"text/html"),
    (b"expect", b"100-continue"),
    (b"x-forwarded-for", b"10.0.0.1"),
]
CREDENTIALS = [
    authorization(b"Bearer root"),
    authorization(b"bearer  billing"),
    authorization(b"Bearer portal"),
    authorization(b"Bearer nobody"),
    authorization(b"Bearer root", b"Bearer root"),
    authorization(b"Basic root"),
    authorization(),
]
BODIES = [b"", b"", b"", b"{}", b"\x00"]

#: Stops the clock while a test runs, but not the event loop's.
at_noon = freeze_time("2026-03-01T12:00:00Z", real_asyncio=True)

#: Runs a test where anybody is let in, and where only who is known is; `kept_out` names
#: the statuses of those who are not.
for_whom = pytest.mark.parametrize(
    "kept_out", [set(), {401, 403}], ids=["anybody", "who is known"]
)


class Request(NamedTuple):
    """What a client sends."""

    path: str
    method: str = "POST"
    headers: Headers = ()
    root_path: str = ""
    query: str = ""
    body: bytes = b""

    def scope(self) -> Scope:
        """Build what a server hands to an application."""
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode("utf-8", "replace"),
            "root_path": self.root_path,
            "query_string": self.query.encode(),
            "headers": [(b"host", b"registry"), *self.headers],
            "scheme": "http",
            "server": ("127.0.0.1", 8790),
            "client": ("127.0.0.1", 50_000),
        }


class Answer(NamedTuple):
    """What a client would see."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Lanes:
    """The lanes of an application, and the routes behind them."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        first = app.lanes  # type: ignore[attr-defined] # our own FastAPI
        assert isinstance(first, HeartbeatLane)
        second = first._app
        assert isinstance(second, RegistrationLane)
        third = second._app
        assert isinstance(third, ListingLane)
        self.heartbeats, self.listings = first, third
        self._app, self._routes, self._runner = app, third._app, runner

    def ask(self, request: Request) -> Answer:
        """Send one request to the application, so that lanes come first."""
        return self._runner.run(_ask(self._app, request))

    def ask_both(
        self, request: Request, before_each: Callable[[], None] = lambda: None
    ) -> Answer:
        """Send one request to the lanes and to the routes; return their one answer."""
        before_each()
        by_lane = self.ask(request)
        before_each()
        by_route = self._runner.run(_ask(self._routes, request))

        assert by_lane == by_route, request
        return by_lane


async def _ask(app: ASGIApp, request: Request) -> Answer:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(request.scope(), receive, send)
    start = sent[0]
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], list(start["headers"]), content)


async def no_way(*_asgi: Any) -> None:
    """Stand, as an application, where no request may come."""
    raise AssertionError("a request came where none may")


def draw(one: Callable[[random.Random], Drawn], *, seed: int) -> list[Drawn]:
    """Draw as many as a test sends; with a seed, so that a failure repeats."""
    rng = random.Random(seed)  # noqa: S311 - as above
    return [one(rng) for _ in range(REQUESTS)]
