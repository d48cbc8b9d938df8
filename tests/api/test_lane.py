"""The lanes answer as the routes behind them would."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from freezegun import freeze_time
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Scope

from api import AgentRegistryServer
from api.access import Authority
from api.lane import HeartbeatLane, ListingLane, RegistrationLane
from api.server import Security
from store import (
    AgentRecord,
    AgentRegistryRepository,
    SqliteAgentRegistryRepository,
    Storage,
    create_storage_backend,
)

REQUESTS = 2_000
KNOWN = ["a", "register", "heartbeats", "A.b_c:d~e-1", "x" * 255]
#: Ids that registrations name, good ones.
REGISTERED = ["a", "b", "a" * 255, "billing-1", "billing-2", "both-1"]
OWNED = {"billing-1": "billing", "both-1": "search"}
ROOT_PATHS = ["", "", "", "", "", "/agents", "/agents/register", "/x"]
IDS = [
    *KNOWN,
    *OWNED,
    *("unknown", "", ".", "..", "-a", "a b", "a/b", "ä", "a\n", "a\x00", "%61"),
    *("x" * 256, "a" * 5_000, "\ud800", "heartbeat"),
]
METHODS = ["POST"] * 12 + ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"]
PATHS = ["/agents/{}/heartbeat"] * 8 + [
    "/agents/{}/heartbeat/",
    "//agents/{}/heartbeat",
    "/agents/{}/Heartbeat",
    "/agents/{}/heartbeat\n",
]
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
    *([(b"authorization", b"Bearer root")], [(b"authorization", b"bearer  billing")]),
    *([(b"authorization", b"Bearer portal")], [(b"authorization", b"Bearer nobody")]),
    *([(b"authorization", b"Bearer root")] * 2, [(b"authorization", b"Basic root")]),
    [],
]
TWICE = [
    *((b"content-type", b"text/plain"), (b"content-type", b"application/json")),
    *((b"content-length", b"67"), (b"content-length", b"70000")),
]
BODIES = [b"", b"", b"", b"{}", b"\x00"]


class Answer(NamedTuple):
    """What a client would see."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def ask(app: ASGIApp, scope: Scope, body: bytes) -> Answer:
    """Send one request to an ASGI application."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(dict(scope), receive, send)
    start = sent[0]
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], list(start["headers"]), content)


async def ask_both(
    lane: HeartbeatLane, routes: ASGIApp, scope: Scope, body: bytes = b""
) -> Answer:
    """Send one request to the lanes and behind them; return their one answer."""
    by_lane = await ask(lane, scope, body)
    by_route = await ask(routes, scope, body)

    assert by_lane == by_route, (scope, body)
    return by_lane


def make_scope(
    path: str,
    method: str = "POST",
    headers: list[tuple[bytes, bytes]] | None = None,
    root_path: str = "",
    query: str = "",
) -> Scope:
    """Build what a server hands to an application."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(b"host", b"registry"), *(headers or [])],
        "scheme": "http",
        "server": ("127.0.0.1", 8790),
        "client": ("127.0.0.1", 50_000),
    }


@pytest.fixture
def whom() -> str:
    """Say who is let in."""
    return "anybody"


@pytest.fixture
def app(
    whom: str, store_url: str, repo: AgentRegistryRepository, authority: Authority
) -> FastAPI:
    """Return an application that serves `repo`, to everybody or to who is known."""
    security = Security(authority) if whom == "who is known" else Security()
    return AgentRegistryServer(store_url, repo, security=security).create_app()


#: How callers are kept out: credentials count only where somebody must be known.
KEPT_OUT: dict[str, set[int]] = {"anybody": set(), "who is known": {401, 403}}
for_whom = pytest.mark.parametrize("whom", KEPT_OUT)


@pytest.fixture
def lane(app: FastAPI) -> HeartbeatLane:
    """Return the lane in front of an application."""
    lanes = app.lanes  # type: ignore[attr-defined] # our own FastAPI
    assert isinstance(lanes, HeartbeatLane)
    assert isinstance(lanes._app, RegistrationLane)
    assert isinstance(lanes._app._app, ListingLane)
    return lanes


@pytest.fixture
def routes(lane: HeartbeatLane) -> ASGIApp:
    """Return the application behind the lanes."""
    return lane._app._app._app  # type: ignore[attr-defined, no-any-return] # as asserted


@for_whom
def test_heartbeats_are_answered_as_the_route_does(
    lane: HeartbeatLane,
    routes: ASGIApp,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    whom: str,
) -> None:
    """The same status, headers and bytes, for thousands of requests good and bad."""
    rng = random.Random(20261122)  # noqa: S311 - a seed, so that a failure repeats
    statuses = set()

    async def compare() -> None:
        for _ in range(REQUESTS):
            path = rng.choice(PATHS).format(rng.choice(IDS))
            headers = rng.sample(HEADERS, rng.choice([0, 0, 1, 1, 2, 3]))
            headers += rng.choice(CREDENTIALS)
            root_path = rng.choice(ROOT_PATHS)
            scope = make_scope(path, rng.choice(METHODS), headers, root_path)
            answer = await ask_both(lane, routes, scope, rng.choice(BODIES))
            statuses.add(answer.status)

    with freeze_time("2026-03-01T12:00:00Z", real_asyncio=True):
        for agent_id in [*KNOWN, *OWNED]:
            repo.add(make_record(agent_id, owner=OWNED.get(agent_id, "")))
        asyncio.run(compare())

    assert statuses >= {200, 404, 405, 422} | KEPT_OUT[whom]


def registration(rng: random.Random) -> bytes:
    """Build the body of a registration: good, wrong in a field, or broken."""
    fields: dict[str, list[Any]] = {
        "agent_id": [
            "a",
            "b",
            "a" * 255,
            "billing-2",
            "billing-1",
            "both-1",
            "",
            "a/b",
            1,
            None,
        ],
        "agent_name": ["A", "é 😀", "x" * 256, "x" * 257, "a\x07", 1],
        "host": ["10.0.0.1", "::1", "a.example", "a b", "http://x", 1],
        "port": [1, 65_535, 0, 65_536, "80", 8.0, True],
        "ttl_seconds": [1, 60, 86_400, 86_401, 0, "60", None],
        "metadata": [{}, {"a": [1, {"b": None}]}, {"k": "x" * 5_000}, [], "m"],
        "owner": ["nobody"],
    }
    body = {name: values[0] for name, values in fields.items() if name != "owner"}
    for name in rng.sample(list(fields), rng.choice([0, 0, 1, 1, 2])):
        body[name] = rng.choice(fields[name])
    for name in rng.sample(list(body), rng.choice([0, 0, 0, 1])):
        del body[name]
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode()
    broken = [text[:-1], text + b" ", b"[]", b"", text[:-1] + b', "port": 1}']
    broken += [b'{"agent_id": NaN}', text.replace(b'"A"', b'"\\u0000"'), b"\xff"]
    return rng.choice([text] * 3 * len(broken) + broken)


@for_whom
def test_registrations_are_answered_as_the_route_does(
    lane: HeartbeatLane,
    routes: ASGIApp,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    whom: str,
) -> None:
    """The same status, headers and bytes, for good bodies and bad, new and known."""
    rng = random.Random(20261122)  # noqa: S311 - a seed, so that a failure repeats
    types = [b"application/json"] * 6
    types += [b"application/json; charset=utf-8", b"text/plain", b"application/x+json"]
    statuses = set()

    async def compare() -> None:
        for _ in range(REQUESTS):
            body = registration(rng)
            length = b"%d" % len(body)
            headers = [
                (b"content-type", rng.choice(types)),
                (b"content-length", rng.choice([length] * 9 + [b"70000", b"", b"x"])),
            ]
            headers = headers[: rng.choice([2, 2, 2, 2, 2, 1, 0])]
            if rng.random() < 0.1:  # a header twice: the first counts
                headers.insert(rng.choice([0, len(headers)]), rng.choice(TWICE))
            headers += rng.choice(CREDENTIALS)
            root_path = rng.choice(ROOT_PATHS)
            scope = make_scope("/agents/register", headers=headers, root_path=root_path)
            known = OWNED | ({"a": ""} if rng.random() < 0.5 else {})
            named = [one for one in REGISTERED if one.encode() in body]
            answers = []
            for app in (lane, routes):
                for agent_id in named:
                    repo.delete(agent_id)
                    if agent_id in known:
                        repo.add(make_record(agent_id, owner=known[agent_id]))
                answers.append(await ask(app, scope, body))
            assert answers[0] == answers[1], (headers, body)
            statuses.add(answers[0].status)

    with freeze_time("2026-03-01T12:00:00Z", real_asyncio=True):
        asyncio.run(compare())

    assert statuses >= {200, 201, 400, 413, 415, 422} | KEPT_OUT[whom]


def parameters(rng: random.Random) -> str:
    """Build the query of a listing: plain, with what is rare, wrong, or broken."""
    right = [
        *("limit=1", "limit=2", "limit=100", "limit=10000", "cursor=a", "cursor=A.b_c"),
        *("cursor=" + "x" * 255, "name=Summariser", "name=b.c:d~e_-1", "host=10.0.0.9"),
        *("host=a.example", "name=nobody"),
    ]
    rare = [
        *("include_dead=true", "include_dead=1", "metadata.zone=eu-1", "name=A+B"),
        *("name=A%20B", "n%61me=Summariser", "limit=007", "limit=+1", "limit=%31"),
        *("name=" + "x" * 253, "name=" + "x" * 256, "host=fe80::1", "cursor=a%3Ab", ""),
    ]
    wrong = [
        *("limit=0", "limit=10001", "limit=99999", "limit=1e3", "limit=", "limit"),
        *("limit=1_0", "limit=-1", "cursor=", "cursor=-a", "cursor=a\n", "cursor=%C3"),
        *("cursor=" + "x" * 256, "name=" + "x" * 257, "name=a%00", "host=a%", "=a"),
        *("zone=eu-1", "metadata.=a", "Limit=1", "name=a=b", "include_dead=maybe", "ä"),
    ]
    kinds = [right] * 4 + [rare, wrong]
    several = [
        rng.choice(rng.choice(kinds)) for _ in range(rng.choice([0, 1, 1, 2, 3]))
    ]
    return rng.choice(["&"] * 9 + ["&&", ";"]).join(several)


@for_whom
def test_listings_are_answered_as_the_route_does(
    lane: HeartbeatLane,
    routes: ASGIApp,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    whom: str,
) -> None:
    """The same status, headers and bytes: pages, links, names, and what is refused."""
    rng = random.Random(20261126)  # noqa: S311 - a seed, so that a failure repeats
    statuses = set()
    links = set()

    async def compare() -> None:
        for _ in range(REQUESTS):
            headers = rng.sample(HEADERS, rng.choice([0, 0, 0, 1, 2]))
            headers += rng.choice(CREDENTIALS)
            scope = make_scope(
                rng.choice(["/agents"] * 20 + ["/agents/", "//agents", "/agents\n"]),
                rng.choice(["GET"] * 20 + METHODS),
                headers,
                rng.choice(ROOT_PATHS),
                parameters(rng),
            )
            answer = await ask_both(lane, routes, scope, rng.choice(BODIES))
            statuses.add(answer.status)
            links.update(value for name, value in answer.headers if name == b"link")

    with freeze_time("2026-03-01T12:00:00Z", real_asyncio=True):
        for agent_id in [*KNOWN, *OWNED]:
            repo.add(make_record(agent_id, owner=OWNED.get(agent_id, "")))
        repo.add(make_record("named", agent_name="b.c:d~e_-1", host="10.0.0.9"))
        asyncio.run(compare())

    assert statuses >= {200, 404, 405, 422} | KEPT_OUT[whom]
    assert links


@pytest.mark.parametrize(
    "query", ["", "limit=100", "limit=100&cursor=a.b:c~d", "name=Summariser&host=::1"]
)
def test_a_plain_listing_never_reaches_the_route(
    lane: HeartbeatLane, query: str
) -> None:
    """As a client pages, and as it asks who does its work."""

    async def refuse(*_asgi: Any) -> None:
        raise AssertionError("the lane let a plain listing pass")

    lane._app._app._app = refuse  # type: ignore[attr-defined] # as asserted
    scope = make_scope("/agents", "GET", query=query)

    assert asyncio.run(ask(lane, scope, b"")).status == 200


@pytest.mark.parametrize(
    "path", ["/agents/a/heartbeat", "/agents/register", "/agents?limit=1"]
)
def test_a_failure_in_a_lane_is_a_problem_and_is_raised(
    store_url: str, path: str, make_body: Callable[..., dict[str, Any]]
) -> None:
    """So that the server logs it, as with a route."""

    class Broken(SqliteAgentRegistryRepository):
        def submit(self, *_args: Any, **_kwargs: Any) -> Any:
            raise ZeroDivisionError

    database = create_storage_backend(store_url).database
    broken = Broken(database)  # type: ignore[arg-type] # SQLite's own
    client = TestClient(
        AgentRegistryServer("", broken).create_app(), raise_server_exceptions=False
    )
    content = {"json": make_body()} if path.endswith("register") else {}
    method = "GET" if "?" in path else "POST"

    answer = client.request(method, path, **content)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


def test_lane_and_route_answer_alike_when_the_store_is_away(
    lane: HeartbeatLane, routes: ASGIApp, storage: Storage
) -> None:
    """503 with Retry-After."""
    storage.database.open()
    storage.database.close()

    scope = make_scope("/agents/a/heartbeat")

    answer = asyncio.run(ask_both(lane, routes, scope))

    assert answer.status == 503
    assert (b"retry-after", b"1") in answer.headers


def test_a_plain_heartbeat_never_reaches_the_route(
    lane: HeartbeatLane,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
) -> None:
    """Many clients announce an empty body; that is none."""
    repo.add(make_record("a"))

    async def refuse(*_asgi: Any) -> None:
        raise AssertionError("the lane let a plain heartbeat pass")

    lane._app = refuse
    empty = [(b"content-length", b"0")]
    scope = make_scope("/agents/a/heartbeat", headers=empty)

    assert asyncio.run(ask(lane, scope, b"")).status == 200


def test_lanes_stand_outside_of_middleware_that_is_added_later(
    app: FastAPI, repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
) -> None:
    """Nothing that others add slows the heartbeats down."""
    repo.add(make_record("a"))

    class Closed:
        def __init__(self, app: ASGIApp) -> None:
            """Stand in front of an application, and let nobody pass."""

        async def __call__(self, *_asgi: Any) -> None:
            raise AssertionError("a heartbeat reached the middleware")

    app.add_middleware(Closed)

    answer = asyncio.run(ask(app, make_scope("/agents/a/heartbeat"), b""))
    assert answer.status == 200
