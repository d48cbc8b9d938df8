"""The API does what `/openapi.json` says of it, whatever is sent.

Schemathesis makes the requests, from the description itself, and judges the answers
by all of its checks; its state machine follows the links from call to call.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import ACCESS, Authority
from api.body import MAX_METADATA_DEPTH
from api.grammar import MAX_METADATA_BYTES
from api.server import Security
from store import AgentRegistryRepository

OPERATIONS = sorted(set(ACCESS) - {"openapi", "docs", "docs_file"})
CONFIG = {
    # Its own guesses of what links calls take `agent_id` for an agent that nobody
    # makes, and then never register one.
    "phases": {"stateful": {"inference": {"algorithms": []}}},
    # `GET /agents/heartbeats` is the agent of that id: the path takes more methods
    # than the document lists for it by its own name.
    "operations": [
        {
            "include-path": path,
            "checks": {"allow_header_conformance": {"enabled": False}},
        }
        for path in ("/agents/register", "/agents/heartbeats")
    ],
}


@pytest.fixture
def schema(
    store_url: str, repo: AgentRegistryRepository, authority: Authority
) -> OpenApiSchema:
    """Return the description of a registry that lets in only who is known."""
    server = AgentRegistryServer(store_url, repo, security=Security(authority))
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_asgi(
        "/openapi.json", server.create_app(), config=config
    )


@pytest.fixture
def listed(
    store_url: str, repo: AgentRegistryRepository
) -> Callable[[], list[dict[str, Any]]]:
    """Return what lists all agents of that registry, which must succeed."""
    client = TestClient(AgentRegistryServer(store_url, repo).create_app())

    def listed() -> list[dict[str, Any]]:
        answer = client.get("/agents?include_dead=true")
        assert answer.status_code == 200
        agents: list[dict[str, Any]] = answer.json()
        return agents

    return listed


def _sayable(case: Case) -> Case:
    """Mend what is right by the description, for what JSON Schema cannot say."""
    body = case.body
    if isinstance(body, dict):
        for name in ("port", "ttl_seconds"):  # 80.0 is an integer to it
            if isinstance(body.get(name), float) and body[name].is_integer():
                body[name] = int(body[name])
        metadata = body.get("metadata")
        if isinstance(metadata, dict) and not _storable(metadata):
            body["metadata"] = {}
    return case


def _storable(metadata: dict[str, Any]) -> bool:
    """Tell metadata that has the size, the depth, the text and the numbers we take."""
    text = json.dumps(metadata, ensure_ascii=False)
    depth = most = 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        most = max(most, depth)
    return (
        len(text.encode()) <= MAX_METADATA_BYTES
        and most <= MAX_METADATA_DEPTH
        and "\\u0000" not in text
        and all(abs(number) < 2**63 for number in _numbers(metadata))
    )


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [one for item in value.values() for one in _numbers(item)]
    if isinstance(value, list):
        return [one for item in value for one in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "examples", [12, pytest.param(2_000, marks=pytest.mark.torture)]
)
def test_every_call_does_as_described(
    schema: OpenApiSchema,
    listed: Callable[[], list[dict[str, Any]]],
    bearer: Callable[[str], dict[str, str]],
    operation: str,
    examples: int,
) -> None:
    """Right requests are taken, wrong ones refused, and neither breaks the list."""
    requests = schema.find_operation_by_id(operation).as_strategy()

    @settings(max_examples=examples, deadline=None, suppress_health_check=HealthCheck)
    @given(case=requests)
    def make(case: Case) -> None:
        _sayable(case).call_and_validate(headers=bearer("root"))

    make()
    assert isinstance(listed(), list)


@pytest.mark.parametrize(
    "examples", [25, pytest.param(2_000, marks=pytest.mark.torture)]
)
def test_calls_that_follow_each_other_do_as_described(
    schema: OpenApiSchema,
    repo: AgentRegistryRepository,
    listed: Callable[[], list[dict[str, Any]]],
    bearer: Callable[[str], dict[str, str]],
    examples: int,
) -> None:
    """Who registered is beaten for, found and removed, and gone after that."""
    seen: Counter[tuple[str, int]] = Counter()
    headers = bearer("root")

    class Machine(schema.as_state_machine()):  # type: ignore[misc] # made at run time
        def setup(self) -> None:
            # Each run begins alike, or none could be repeated.
            for agent in repo.list_all(include_dead=True):
                repo.delete(agent.agent_id)

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            _sayable(case)
            return {"headers": headers}

        def after_call(self, response: Any, case: Case) -> None:
            operation = case.operation.definition.raw["operationId"]
            seen[operation, response.status_code] += 1

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=HealthCheck,
        ),
    )

    links = [("heartbeat", 200), ("get_agent", 200), ("deregister", 204)]
    assert [link for link in links if not seen[link]] == []
    assert isinstance(listed(), list)
