"""Listings on their way to readers who do not read."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from api.errors import ProblemError
from api.listings import Listings
from api.models import AgentInfo
from store import AgentFilter, AgentRecord, AgentRegistryRepository, AgentView
from store.leases import status

BODY = b"x" * 1_000_000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Reader:
    """A client that takes so many parts of an answer, then no more."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.taken: list[Message] = []

    async def take(self, message: Message) -> None:
        """Take a part, or never return."""
        if len(self.taken) > self.parts:
            await asyncio.Event().wait()
        self.taken.append(message)


async def never() -> Message:
    """Receive nothing."""
    raise AssertionError("a listing reads no request")


async def send(listings: Listings, reader: Reader) -> None:
    """Send one listing to a reader."""
    answer = listings.answer(BODY, None)
    await answer({"type": "http"}, never, reader.take)


def test_listing_arrives_whole() -> None:
    """In slices, the last of which says so."""
    reader = Reader(parts=99)

    asyncio.run(send(Listings(), reader))

    start, *parts = reader.taken
    assert dict(start["headers"])[b"content-length"] == b"1000000"
    assert b"".join(part["body"] for part in parts) == BODY
    assert [part["more_body"] for part in parts] == [True, True, True, False]


def test_readers_who_do_not_read_are_bounded() -> None:
    """Beyond the limit a listing is refused, until one of those has arrived."""

    async def crowd() -> None:
        listings = Listings(most_bytes=2 * len(BODY), seconds=60)
        stuck = [asyncio.create_task(send(listings, Reader(1))) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(ProblemError) as refused:
            listings.answer(BODY, None)
        assert (refused.value.status_code, refused.value.code) == (503, "overloaded")

        stuck[0].cancel()
        await asyncio.wait(stuck[:1])
        await send(listings, Reader(99))
        stuck[1].cancel()

    asyncio.run(crowd())


def test_one_listing_may_be_longer_than_the_limit() -> None:
    """Or a large fleet could never be listed whole."""
    reader = Reader(parts=99)

    asyncio.run(send(Listings(most_bytes=1), reader))

    assert reader.taken[-1]["more_body"] is False


def test_a_reader_that_takes_too_long_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """And what it held is free again."""

    async def cut() -> None:
        listings = Listings(most_bytes=len(BODY), seconds=0.01)
        await send(listings, Reader(1))
        await send(listings, Reader(99))

    asyncio.run(cut())

    assert [record.action for record in caplog.records] == ["listing_cut"]  # type: ignore[attr-defined] # our own field


@pytest.mark.parametrize(
    "over",
    [
        {},
        {"agent_name": 'quote " backslash \\ 😀 é \u2028'},
        {"metadata": {"deep": [{"a": [1, 2.5, 1e300, True, None, "é\n\t"]}], "": ""}},
        {"metadata": {"__proto__": {"<script>": "</script>"}, "big": 2**63 - 1}},
        {"ttl_seconds": 1},
        {"ttl_seconds": 86_400, "port": 65_535, "host": "::1"},
        {"last_heartbeat": NOON, "registered_at": NOON},
        {"last_heartbeat": NOON.replace(microsecond=1)},
        {"last_heartbeat": NOON + timedelta(hours=1)},
        {"last_heartbeat": NOON - timedelta(days=300)},
    ],
)
@pytest.mark.parametrize("seconds", [0, 39.999999, 40, 41.5, 59.999999, 60, 3600])
def test_listing_tells_what_the_single_answer_tells(
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    over: dict[str, Any],
    seconds: float,
) -> None:
    """The database renders every member as `AgentInfo` does."""
    now = NOON + timedelta(seconds=seconds)
    record = repo.add(make_record(**{"last_heartbeat": NOON} | over))

    page = repo.list_page(AgentFilter(include_dead=True), now=now)

    judged = status(
        last_heartbeat=record.last_heartbeat,
        ttl_seconds=record.ttl_seconds,
        expires_at=record.expires_at,
        now=now,
    )
    view = AgentView(record, judged, now)
    single = json.loads(AgentInfo.of(view).model_dump_json())
    (listed,) = json.loads(page.body)
    assert listed == single
    assert list(listed) == list(single)


@pytest.mark.parametrize("waits", [True, False])
def test_who_comes_to_a_crowd_is_refused(*, waits: bool) -> None:
    """When the oldest listing waits too long to be read; not when it is read long."""
    now = [0.0]
    listings = Listings(most_wait_seconds=2, monotonic=lambda: now[0])
    first: Future[str] = Future()
    if not waits:
        first.set_running_or_notify_cancel()

    def answered() -> "Future[str]":
        future: Future[str] = Future()
        future.set_result("read")
        return future

    async def crowd() -> list[str]:
        reading = asyncio.create_task(listings.read(lambda: first))
        await asyncio.sleep(0)
        told = []
        for now[0] in (2.0, 2.1):
            try:
                told.append(await listings.read(answered))
            except ProblemError as refused:
                told.append(f"{refused.code} {refused.headers}")
        first.set_result("read")
        return [*told, await reading, await listings.read(answered)]

    told = asyncio.run(crowd())

    second = "overloaded {'Retry-After': '1'}" if waits else "read"
    assert told == ["read", second, "read", "read"]


def test_sixty_readers_find_the_answer_of_one(
    app: FastAPI, repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
) -> None:
    """What was sent is counted no longer."""
    repo.add(make_record())
    client = TestClient(app)

    assert {client.get("/agents").status_code for _ in range(60)} == {200}


def test_a_list_amid_registrations_is_one_snapshot(
    client: TestClient, watch: Callable[..., Any]
) -> None:
    """Whoever registered last in it, all who did so before are in it as well."""
    watched = watch(
        lambda: [
            (agent["agent_id"], agent["metadata"]["generation"])
            for agent in client.get("/agents").json()
        ]
    )

    assert watched.torn == []
    assert watched.different > 10
    assert watched.rate > 1000
