"""Whatever is sent: no error of ours, and nothing that breaks a later answer."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

# The registry is shared by all examples on purpose: what one leaves behind must not
# harm the next.
SHARED = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
#: Any text but half surrogate pairs too, which JSON can carry as escapes.
TEXT = st.text(max_size=8) | st.sampled_from(["\ud800", "\x00", "a\n", "é", "10.0.0.7"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63), 2**63 - 1, 10**30])
    | st.floats()
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)
IDS = st.sampled_from(["a", "b", "register", "A.~:-_9"])
FIELDS = {
    "agent_id": IDS | VALUES,
    "agent_name": TEXT | VALUES,
    "host": st.just("h") | VALUES,
    "port": st.just(80) | VALUES,
    "ttl_seconds": st.just(60) | VALUES,
    "metadata": st.dictionaries(TEXT, VALUES, max_size=4) | VALUES,
}
METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"])
PARAMETERS = st.tuples(
    st.sampled_from(["name", "host", "limit", "cursor", "include_dead", "metadata.k"])
    | TEXT.map(lambda text: f"metadata.{text}")
    | TEXT,
    TEXT | st.integers().map(str),
)


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@SHARED
@given(wild=st.fixed_dictionaries({}, optional=FIELDS), tame=st.booleans())
def test_any_registration_is_taken_whole_or_refused(
    client: TestClient, make_body: Callable[..., Any], wild: Any, *, tame: bool
) -> None:
    """What is accepted comes back as sent; the list answers either way."""
    sent = (make_body() | wild) if tame else wild
    headers = {"Content-Type": "application/json"}

    answer = client.post("/agents/register", content=json.dumps(sent), headers=headers)

    assert answer.status_code in {200, 201, 400, 422}
    listed = client.get("/agents")
    assert listed.status_code == 200
    if answer.is_success:
        known = {agent["agent_id"]: agent for agent in listed.json()}
        assert {name: known[sent["agent_id"]][name] for name in sent} == sent


@SHARED
@given(body=st.binary(max_size=40))
def test_any_bytes_are_answered(client: TestClient, body: bytes) -> None:
    """Bytes that are no registration are refused as that."""
    headers = {"Content-Type": "application/json"}

    answer = client.post("/agents/register", content=body, headers=headers)

    assert answer.status_code in {400, 422}


@SHARED
@given(method=METHODS, steps=st.lists(TEXT | st.just("agents"), max_size=3))
def test_any_path_is_answered(
    client: TestClient, method: str, steps: list[str]
) -> None:
    """No path and method make an error of ours."""
    path = "/".join(_quoted(step) for step in steps)

    answer = client.request(method, f"http://testserver/{path}")

    assert answer.status_code < 500


@SHARED
@given(parameters=st.lists(PARAMETERS, max_size=4))
def test_any_question_is_answered(
    client: TestClient,
    register: Callable[..., Response],
    parameters: list[tuple[str, str]],
) -> None:
    """A list is filtered or refused; never does a question break it."""
    register(metadata={"k": [1, "x", None], "": {"deep": [[]]}})
    query = "&".join(f"{_quoted(name)}={_quoted(text)}" for name, text in parameters)

    answer = client.get(f"/agents?{query}")

    assert answer.status_code in {200, 422}
