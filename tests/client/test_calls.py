"""What a call asks for, and what is made of its answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from agent_registry_client import (
    AgentInfo,
    AgentNotFound,
    AgentRegistryClient,
    Health,
    InvalidRequest,
    LimitReached,
    NotAllowed,
    NotARegistry,
    RegistryProblem,
    Unavailable,
    calls,
)
from agent_registry_client.calls import Answer
from agent_registry_client.models import read

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
