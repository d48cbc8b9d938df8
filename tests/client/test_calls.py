import asyncio
import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from agent_registry_client import (
    AgentInfo,
    AgentNotFound,
    AgentRegistryClient,
    AsyncAgentRegistryClient,
    BulkRenewal,
    FieldError,
    GuardHealth,
    Health,
    InvalidRequest,
    LeaseTimeHealth,
    LimitReached,
    NotAllowed,
    NotARegistry,
    RegisteredAgent,
    RegistryProblem,
    Renewal,
    SweepHealth,
    Unavailable,
    calls,
)
from agent_registry_client.calls import Answer
from agent_registry_client.errors import error_of
from agent_registry_client.models import read

ROOT = Path(__file__).parent.parent
SCHEMAS = json.loads((ROOT / "api" / "openapi.json").read_text())["components"][
    "schemas"
]
AGENT = {
    "agent_id": "a",
    "agent_name": "A",
    "host": "::1",
    "port": 80,
    "ttl_seconds": 60,
    "metadata": {"skills": ["x"]},
    "is_alive": True,
    "status": "alive",
    "last_heartbeat": "2026-11-22T15:45:00.000000Z",
    "expires_at": "2026-11-22T15:46:00.000000Z",
    "registered_at": "2026-11-22T15:45:00.000000Z",
    "age_seconds": 0,
}


#: What a newer registry tells to some callers only: more may be missing than is said.
LENIENT = {Health}


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (AgentInfo, "AgentInfo"),
        (RegisteredAgent, "RegistrationAnswer"),
        (Renewal, "HeartbeatAnswer"),
        (BulkRenewal, "BulkHeartbeatAnswer"),
        (Health, "Health"),
        (SweepHealth, "SweepHealth"),
        (GuardHealth, "GuardHealth"),
        (LeaseTimeHealth, "LeaseTimeHealth"),
        (FieldError, "FieldError"),
    ],
)
def test_dataclasses_hold_what_the_api_describes(kind: type, schema: str) -> None:
    """Every member of an answer is there, by its name and its type, and no other."""
    described = SCHEMAS[schema]["properties"]
    required = SCHEMAS[schema].get("required", ())
    hints = get_type_hints(kind)

    assert set(hints) == set(described)
    for name, member in described.items():
        ours, theirs = shapes(hints[name]), described_shapes(member)
        assert ours - {"null"} == theirs - {"null"}, name
        may_be_null = "null" in theirs
        assert "null" in ours or not may_be_null, name
        if name not in required:
            assert name in defaults(kind), name
        elif kind not in LENIENT:
            assert ("null" in ours) == may_be_null, name


def defaults(kind: Any) -> set[str]:
    """Return the members that need not be told."""
    none = dataclasses.MISSING
    return {
        member.name
        for member in dataclasses.fields(kind)
        if member.default is not none or member.default_factory is not none
    }


def shapes(hint: Any) -> set[str]:
    """Return what JSON a type of ours is read from, one word for each alternative."""
    if isinstance(hint, UnionType):
        return set().union(*map(shapes, get_args(hint)))
    if get_origin(hint) is tuple:
        (item,) = shapes(get_args(hint)[0])
        return {f"array of {item}"}
    if get_origin(hint) is Mapping:
        value = get_args(hint)[1]
        return {f"object of {'anything' if value is Any else shapes(value).pop()}"}
    if dataclasses.is_dataclass(hint):
        return {hint.__name__}  # type: ignore[union-attr]
    names = {str: "string", datetime: "instant", int: "integer", float: "number"}
    return {(names | {bool: "boolean", NoneType: "null"})[hint]}


def described_shapes(member: dict[str, Any]) -> set[str]:
    """Return the same of what the API describes."""
    if "$ref" in member:
        name = member["$ref"].rpartition("/")[2]
        target = SCHEMAS[name]
        return {name} if "properties" in target else described_shapes(target)
    if "anyOf" in member:
        return set().union(*map(described_shapes, member["anyOf"]))
    if member.get("format") == "date-time":
        return {"instant"}
    if member["type"] == "array":
        return {f"array of {described_shapes(member['items']).pop()}"}
    if member["type"] == "object":
        values = member.get("additionalProperties")
        of = described_shapes(values).pop() if isinstance(values, dict) else "anything"
        return {f"object of {of}"}
    return {member["type"]}


@pytest.mark.parametrize(
    ("call", "schema"),
    [
        (
            calls.register(
                "a",
                agent_name="A",
                host="h",
                port=1,
                ttl_seconds=9,
                metadata={"zone": "eu"},
            ),
            "AgentRegistrationRequest",
        ),
        (calls.heartbeat_all(["a"]), "BulkHeartbeat"),
    ],
)
def test_a_body_is_what_the_api_takes(call: Any, schema: str) -> None:
    """All that can be said, and each of its type."""
    described = SCHEMAS[schema]["properties"]
    types = {str: "string", int: "integer", list: "array", dict: "object"}

    body = json.loads(call.body)

    assert {name: types[type(value)] for name, value in body.items()} == {
        name: member["type"] for name, member in described.items()
    }


def test_a_body_without_what_is_optional_has_what_is_required() -> None:
    """And no more: what is left out is the registry's to choose."""
    call = calls.register("a", agent_name="A", host="h", port=1)

    assert set(json.loads(call.body or b"")) == set(
        SCHEMAS["AgentRegistrationRequest"]["required"]
    )


def test_a_problem_is_read_as_the_api_describes_it() -> None:
    """Every member of it; those that no program needs are in the document."""
    described = SCHEMAS["Problem"]["properties"]
    problem = {name: name for name in described} | {
        "status": 422,
        "errors": [{"field": "port", "reason": "must be less"}],
    }

    error = error_of(422, json.dumps(problem).encode())

    assert isinstance(error, RegistryProblem)
    assert (error.status, error.code, error.detail) == (422, "code", "detail")
    assert error.errors == (FieldError("port", "must be less"),)
    assert error.document == problem


def test_a_newer_registry_does_not_break_an_old_client() -> None:
    """Members and words that nobody knows here yet are no mistakes."""
    newer = AGENT | {"status": "of tomorrow", "generation": 7}

    told = read(AgentInfo, newer)

    assert told.status == "of tomorrow"
    assert told.address == "[::1]:80"
    assert not hasattr(told, "generation")


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"\xff\xfe",
        b'{"agent_id": "a"}',
        json.dumps(AGENT | {"port": "80"}).encode(),
        json.dumps(AGENT | {"expires_at": "soon"}).encode(),
        b"[" * 100_000,
    ],
)
def test_an_answer_that_no_registry_gives_is_told_apart(told: bytes) -> None:
    """Whatever else answers with 200, the caller hears of one error."""
    with pytest.raises(NotARegistry):
        calls.get("a").read(Answer(200, {}, told))


@pytest.mark.parametrize(
    ("status", "code", "kind", "temporary"),
    [
        (400, "malformed_json", InvalidRequest, False),
        (422, "invalid_request", InvalidRequest, False),
        (404, "agent_not_found", AgentNotFound, False),
        (404, "not_found", RegistryProblem, False),
        (401, "no_such_token", NotAllowed, False),
        (403, "not_yours", NotAllowed, False),
        (401, "unauthenticated", NotAllowed, False),
        (403, "forbidden", NotAllowed, False),
        (408, "request_timeout", RegistryProblem, True),
        (421, "misdirected", RegistryProblem, False),
        (431, "header_too_large", InvalidRequest, False),
        (429, "quota_exceeded", LimitReached, True),
        (429, "too_many_registrations", LimitReached, True),
        (429, "slow_down", LimitReached, True),
        (500, "internal_error", RegistryProblem, True),
        (503, "store_unavailable", Unavailable, True),
        (503, "draining", Unavailable, True),
    ],
)
def test_problems_become_typed_errors(
    status: int, code: str, kind: type, *, temporary: bool
) -> None:
    """By their code, and by their status where the code is not known."""
    problem = {
        "status": status,
        "code": code,
        "detail": "No.",
        "errors": [{"field": "port", "reason": "must be less"}],
    }
    answer = Answer(status, {"retry-after": "7"}, json.dumps(problem).encode())

    with pytest.raises(kind) as caught:
        calls.get("a").read(answer)

    error = caught.value
    assert type(error) is kind
    assert isinstance(error, RegistryProblem)
    assert (error.status, error.code, error.detail) == (status, code, "No.")
    assert error.errors == (("port", "must be less"),)
    assert error.retry_after_seconds == 7
    assert error.temporary is temporary
    assert str(error) == f"No. [{status} {code}]: port must be less"


def test_an_error_without_a_problem_document_is_none_of_a_registry() -> None:
    """A proxy's page is not taken for the registry's word."""
    with pytest.raises(NotARegistry, match="502"):
        calls.get("a").read(Answer(502, {}, b"<html>Bad gateway</html>"))


def test_that_the_registry_is_unwell_is_an_answer() -> None:
    """Health tells of a 503 as of anything else, its code as the status."""
    told = {
        "status": 503,
        "code": "sweep_overdue",
        "version": "1.0",
        "uptime_seconds": 1,
        "sweep": None,
    }

    health = calls.health().read(Answer(503, {}, json.dumps(told).encode()))

    assert (health.ok, health.status) == (False, "sweep_overdue")
    assert (health.uptime_seconds, health.agents) == (1.0, None)


@pytest.mark.parametrize(
    ("status", "told", "word"),
    [
        (200, {"status": "ok"}, "ok"),
        (503, {"status": 503, "code": "store_unavailable"}, "store_unavailable"),
    ],
)
def test_health_may_be_told_in_a_word(
    status: int, told: dict[str, Any], word: str
) -> None:
    """To those who may not read more, everything else is unknown."""
    health = calls.health().read(Answer(status, {}, json.dumps(told).encode()))

    assert health == Health(status=word)
    assert (health.ok, health.version, health.agents) == (word == "ok", None, None)


@pytest.mark.parametrize("told", [b"{}", b"[]", b'{"status": 1}', b"<html>"])
@pytest.mark.parametrize("status", [200, 503])
def test_what_tells_nothing_of_its_health_is_no_registry(
    status: int, told: bytes
) -> None:
    """Much answers with 200."""
    with pytest.raises(NotARegistry):
        calls.health().read(Answer(status, {}, told))


@pytest.mark.parametrize("agent_id", ["", ".", "..", "../x", "a/b", "a\n", "ä", "-a"])
def test_an_id_that_cannot_be_is_not_asked_for(agent_id: str) -> None:
    """It would name another path."""
    with pytest.raises(ValueError, match="cannot be the id"):
        calls.get(agent_id)


def test_filters_are_sent_as_the_protocol_writes_them() -> None:
    """Text as it is, other values as JSON, all of it escaped."""
    call = calls.agents(
        name="A & B", metadata={"gpu": True, "rank": 2, "zone": "a b"}, limit=5
    )

    assert call.target == (
        "/agents?name=A+%26+B&limit=5&metadata.gpu=true&metadata.rank=2&metadata.zone=a+b"
    )


ARGUMENTS: dict[str, dict[str, Any]] = {
    "register": {"agent_id": "a", "agent_name": "A", "host": "10.0.0.7", "port": 1},
    "heartbeat": {"agent_id": "a"},
    "heartbeat_all": {"agent_ids": ["a"]},
    "agents": {},
    "get": {"agent_id": "a"},
    "deregister": {"agent_id": "a"},
    "health": {},
    "metrics": {},
    "release_guard": {},
}


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_every_operation_of_the_api_is_a_method(
    play_registry: Callable[..., Any], *, in_a_loop: bool
) -> None:
    """What the API describes, both clients can say."""
    described = json.loads((ROOT / "api" / "openapi.json").read_text())["paths"]
    operations = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
    }
    registry = play_registry(lambda *_: (418, None))
    client: Any = AgentRegistryClient(registry.url)
    if in_a_loop:
        client = AsyncAgentRegistryClient(registry.url)

    for name, arguments in ARGUMENTS.items():
        with contextlib.suppress(NotARegistry):
            told = getattr(client, name)(**arguments)
            if in_a_loop:
                asyncio.run(told)

    said = {
        (method, re.sub("/a(?=/|$)", "/{agent_id}", path))
        for method, path, _ in registry.asked
    }
    assert operations <= said


class _Later(BaseHTTPRequestHandler):
    """The calls that the registry does not answer yet."""

    def do_GET(self) -> None:
        assert self.path == "/metrics"
        self._answer(200, b"agents 3\n")

    def do_POST(self) -> None:
        assert self.path == "/guard/release"
        self._answer(204, b"")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def later_url() -> Iterator[str]:
    """Return the URL of what answers those calls."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Later) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_metrics_and_the_guard_are_spoken_to(later_url: str) -> None:
    """Metrics are text; releasing the guard answers nothing."""
    client = AgentRegistryClient(later_url)

    assert client.metrics() == "agents 3\n"
    assert client.release_guard() is None  # type: ignore[func-returns-value]
