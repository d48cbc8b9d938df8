"""Whatever `/openapi.json` describes, the client can say and can read."""

import asyncio
import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from agent_registry_client import (
    AgentInfo,
    AgentRegistryClient,
    AsyncAgentRegistryClient,
    BulkRenewal,
    FieldError,
    GuardHealth,
    Health,
    LeaseTimeHealth,
    NotARegistry,
    RegisteredAgent,
    RegistryProblem,
    Renewal,
    SweepHealth,
    calls,
)
from agent_registry_client.errors import error_of

ROOT = Path(__file__).parent.parent
SCHEMAS = json.loads((ROOT / "api" / "openapi.json").read_text())["components"][
    "schemas"
]
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
