"""The API's description of itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

SNAPSHOT = Path(__file__).with_name("openapi.json")
COMMON = {"500", "503"}
#: Answers without the store.
ALWAYS = {"metrics"}
#: Calls that anybody may make, and what the others answer who may not.
PUBLIC = {"health"}
REFUSED = {"401", "403"}
STATUSES = {
    "register": {"200", "201", "400", "413", "415", "422", "429"},
    "heartbeat": {"200", "404", "422"},
    "bulk_heartbeat": {"200", "400", "413", "415", "422"},
    "list_agents": {"200", "422"},
    "get_agent": {"200", "404"},
    "deregister": {"204", "404", "422"},
    "health": {"200"},
    "metrics": {"200"},
    "release_guard": {"204", "422"},
}


@pytest.fixture
def operations(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by id."""
    return {
        operation["operationId"]: operation
        for path in described["paths"].values()
        for operation in path.values()
    }


def test_every_status_of_every_call_is_described(
    operations: dict[str, dict[str, Any]],
) -> None:
    """No status is missing, and none is made up."""
    described = {name: set(found["responses"]) for name, found in operations.items()}

    assert described == {
        name: statuses
        | (COMMON - {"503"} if name in ALWAYS else COMMON)
        | (set() if name in PUBLIC else REFUSED)
        for name, statuses in STATUSES.items()
    }


def test_every_error_is_described_as_a_problem(
    operations: dict[str, dict[str, Any]],
) -> None:
    """The media type and the shape of errors are the same everywhere."""
    problem = {
        "application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"},
        }
    }

    for name, operation in operations.items():
        for status, response in operation["responses"].items():
            assert (response.get("content") == problem) == (status >= "400")
        if name in ALWAYS:
            continue
        retry = operation["responses"]["503"]["headers"]["Retry-After"]
        assert retry["schema"] == {"type": "integer"}


def test_every_answer_has_an_example(
    described: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    """An example has no field that its schema lacks, and lacks none required."""
    examples = [
        (content["schema"], content["example"])
        for operation in operations.values()
        for status, response in operation["responses"].items()
        for media_type, content in response.get("content", {}).items()
        if status < "400" and media_type == "application/json"
    ]
    for name in ("AgentRegistrationRequest", "BulkHeartbeat"):
        request = described["components"]["schemas"][name]
        examples += [(request, example) for example in request["examples"]]

    assert len(examples) == 9
    for schema, example in examples:
        one = example[0] if isinstance(example, list) else example
        found = _resolve(described, schema.get("items", schema))
        assert set(found.get("required", ())) <= set(one) <= set(found["properties"])


def test_every_parameter_is_described(operations: dict[str, dict[str, Any]]) -> None:
    """Ids have their grammar and an example, filters their bounds."""
    parameters = {
        parameter["name"]: parameter
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
    }

    assert set(parameters) == {
        *("agent_id", "include_dead", "name", "host", "limit", "cursor"),
        "metadata.KEY",
    }
    assert parameters["agent_id"]["schema"]["pattern"].startswith("^[A-Za-z0-9]")
    assert parameters["agent_id"]["schema"]["examples"]
    assert '"maximum": 10000' in json.dumps(parameters["limit"])
    for name in ("name", "host", "metadata.KEY"):
        assert r'"pattern": "^[^\\u0000]*$"' in json.dumps(parameters[name]["schema"])


def test_registering_links_to_what_an_agent_does_next(
    operations: dict[str, dict[str, Any]],
) -> None:
    """New or known, the answer leads to heartbeat, get and delete by its id."""
    for status in ("200", "201"):
        links = operations["register"]["responses"][status]["links"].values()
        linked = {link["operationId"] for link in links}
        assert linked == {"heartbeat", "get_agent", "deregister"}
        assert {str(link["parameters"]) for link in links} == {
            "{'agent_id': '$response.body#/agent_id'}"
        }


def test_document_is_whole(client: TestClient) -> None:
    """Every reference resolves, and FastAPI's own errors are not among them."""
    document = client.get("/openapi.json").json()
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))

    assert document["openapi"].startswith("3.1")
    for reference in references:
        assert _resolve(document, {"$ref": reference})
    assert {name.rpartition("/")[2] for name in references} | {
        "AgentInfo",
    } == set(document["components"]["schemas"])
    assert "ValidationError" not in json.dumps(document)


def test_document_changes_only_on_purpose(described: dict[str, Any]) -> None:
    """What clients are generated from is reviewed when it changes."""
    info = {**described["info"], "version": "*"}
    text = json.dumps({**described, "info": info}, indent=2, ensure_ascii=False) + "\n"
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(text)

    assert text == SNAPSHOT.read_text(), (
        f"The API's description changed. If it was meant to: delete {SNAPSHOT.name}, "
        "run this test again, which writes it, and review the difference."
    )


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found
