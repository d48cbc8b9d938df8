"""Right requests, mutated: no error of ours, and a list that equals a model's."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from store import AgentFilter, AgentRegistryRepository

FIELDS = ("agent_name", "host", "port", "ttl_seconds", "metadata")
JSON = (b"content-type", b"application/json")
#: What parsers read differently, or not at all.
POISON = [
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\r\n", b"%00", b"%2f", b"..", b"{}", b"[]"),
    *(b"NaN", b"1e999", b"-0", b"9223372036854775808", b"1" * 5_000, b"true", b"null"),
    *(
        b'"',
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b'"__proto__":1,',
        b"[" * 900,
        b"\xef\xbb\xbf",
    ),
    *(b'"agent_id":"a",', b'"owner":"root",', b" " * 70_000, b"<script>", b"\x1b[2J"),
]


class Request(NamedTuple):
    """What is sent."""

    method: bytes
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


LISTING = Request(b"GET", b"/agents", b"", (), b"")


class Mutator:
    """Makes right requests, and changes them at random; the same of the same seed."""

    def __init__(self, seed: int, body: dict[str, Any]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seed, to repeat a failure
        self._body = body

    def request(self) -> Request:
        """Return a request that was changed in none to a few places."""
        request = self._right()
        for _ in range(self._random.choice([0, 1, 1, 1, 2, 4])):
            request = self._mutated(request)
        return request

    def _right(self) -> Request:
        pick = self._random
        agent_id = pick.choice(["a", "b", "register", "heartbeats", "A.~:-_9"])
        path = f"/agents/{agent_id}".encode()
        kind = pick.randrange(6)
        if kind in (0, 1):
            body = self._body | {"agent_id": agent_id, "port": pick.randint(1, 65_535)}
            return _with_json(b"/agents/register", body)
        if kind == 2:
            return Request(b"POST", path + b"/heartbeat", b"", (), b"")
        if kind == 3:
            return _with_json(b"/agents/heartbeats", {"agent_ids": [agent_id, "gone"]})
        if kind == 4:
            return Request(b"DELETE", path, b"", (), b"")
        return Request(b"GET", b"/agents", b"name=A&limit=2&metadata.k=v", (), b"")

    def _mutated(self, request: Request) -> Request:
        pick = self._random
        place = pick.choice(["body"] * 6 + ["path", "query", "method", "headers"])
        if place == "headers":
            headers = [*request.headers, self._header()]
            pick.shuffle(headers)
            return request._replace(headers=tuple(headers[pick.randrange(2) :]))
        changed = self._bytes(getattr(request, place))
        return request._replace(**{place: changed})

    def _bytes(self, text: bytes) -> bytes:
        pick = self._random
        at = pick.randint(0, len(text))
        to = min(len(text), at + pick.choice([0, 1, 1, 3, 20]))
        put = pick.choice(
            [
                b"",
                pick.randbytes(pick.randint(1, 3)),
                pick.choice(POISON),
                text[at:to] * 2,
                text[: pick.randint(0, 40)],
            ]
        )
        return text[:at] + put + text[to:]

    def _header(self) -> tuple[bytes, bytes]:
        names = [b"content-type", b"content-length", b"transfer-encoding", b"expect"]
        values = [b"application/json", b"0", b"7", b"-1", b"chunked", b"text/plain"]
        name = self._random.choice(names)
        return name, self._random.choice([*values, self._bytes(b"application/json")])


def _with_json(path: bytes, body: dict[str, Any]) -> Request:
    content = json.dumps(body).encode()
    headers = (JSON, (b"content-length", b"%d" % len(content)))
    return Request(b"POST", path, b"", headers, content)


async def _send(app: FastAPI, request: Request) -> tuple[int, bytes]:
    """Return what an application answers a server that hands it such a request."""
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method.decode("latin-1"),
        "path": request.path.decode("utf-8", "replace"),
        "raw_path": request.path,
        "root_path": "",
        "query_string": request.query,
        "headers": [(b"host", b"registry"), *request.headers],
        "scheme": "http",
        "server": ("127.0.0.1", 8790),
        "client": ("127.0.0.1", 50_000),
    }
    received = iter([{"type": "http.request", "body": request.body}])

    async def receive() -> Message:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], content


def _understand(
    model: dict[str, dict[str, Any]], request: Request, status: int, content: bytes
) -> None:
    """Do to a model what an answer says that it did to the registry."""
    if status >= 300:
        return
    if request.method == b"DELETE":
        del model[request.path.decode().removeprefix("/agents/")]
    elif request.path == b"/agents/register":
        told = json.loads(content)
        sent = json.loads(request.body)
        model[sent["agent_id"]] = {name: sent.get(name, told[name]) for name in FIELDS}


def _described(listed: bytes) -> dict[str, dict[str, Any]]:
    return {
        agent["agent_id"]: {name: agent[name] for name in FIELDS}
        for agent in json.loads(listed)
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("inputs", "seed"),
    [
        (10_000, 20261125),
        *(pytest.param(100_000, n, marks=pytest.mark.torture) for n in range(10)),
    ],
)
def test_a_mutated_request_breaks_nothing(
    app: FastAPI,
    repo: AgentRegistryRepository,
    make_body: Callable[..., dict[str, Any]],
    inputs: int,
    seed: int,
) -> None:
    """No 5xx; after each, the list holds what was accepted, and nothing else."""
    mutator = Mutator(seed, make_body(ttl_seconds=86_400, metadata={"k": "v"}))
    model: dict[str, dict[str, Any]] = {}
    statuses = set()

    async def fuzz() -> None:
        for _ in range(inputs):
            request = mutator.request()
            status, content = await _send(app, request)
            assert status < 500, (request, content)
            statuses.add(status)
            _understand(model, request, status, content)
            # As the route lists, without the route, which takes as long as the call.
            listed = repo.list_page(AgentFilter()).body
            assert _described(listed) == model, (request, status)
        status, content = await _send(app, LISTING)
        assert (status, _described(content)) == (200, model)

    asyncio.run(fuzz())

    assert statuses >= {200, 201, 204, 400, 404, 405, 413, 415, 422}
