"""Bodies: what they are, and how large."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.body import MAX_BODY_BYTES

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("chunked", [False, True])
def test_body_may_have_64_kib_and_no_byte_more(
    client: TestClient, *, chunked: bool
) -> None:
    """The limit holds whether the length is declared or not, and ends the connection.

    What is left of the body is not read.
    """

    def send(size: int) -> Any:
        body = b" " * size
        content = iter([body[:1], body[1:]]) if chunked else body
        return client.post("/agents/register", content=content, headers=JSON)

    assert send(MAX_BODY_BYTES).status_code != 413
    refused = send(MAX_BODY_BYTES + 1)
    assert refused.status_code == 413
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"a": }', "Expecting value at line 1, column 7"),
        (b'{"a": "\n"}', "Invalid control character at line 1, column 8"),
    ],
)
def test_what_is_no_json_is_told_by_its_place(
    client: TestClient, body: bytes, what: str
) -> None:
    """So that its author finds it; what stands there is not repeated."""
    refused = client.post("/agents/register", content=body, headers=JSON)

    assert refused.json()["detail"] == f"The body is refused: {what}."


def test_endless_body_is_cut(app: FastAPI) -> None:
    """Chunks are read up to the limit, however many would follow."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/agents/register",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    read: list[int] = []
    answered: list[Any] = []

    async def receive() -> dict[str, Any]:
        read.append(1_000)
        return {"type": "http.request", "body": b"[" * 1_000, "more_body": True}

    async def send(message: Any) -> None:
        answered.append(message)

    asyncio.run(app(scope, receive, send))

    assert answered[0]["status"] == 413
    assert sum(read) == 66_000


def test_body_may_come_in_pieces(
    client: TestClient, make_body: Callable[..., dict[str, Any]]
) -> None:
    """A chunked registration is a registration, cut within a character or not."""
    text = json.dumps(make_body(agent_name="é"), ensure_ascii=False).encode()
    pieces = (text[n : n + 1] for n in range(len(text)))

    response = client.post("/agents/register", content=pieces, headers=JSON)

    assert (response.status_code, response.json()["agent_name"]) == (201, "é")


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
    ],
)
def test_body_of_another_media_type_is_refused(
    client: TestClient, media_type: str | None
) -> None:
    """What a foreign web page could send is no registration."""
    headers = {} if media_type is None else {"Content-Type": media_type}

    response = client.post("/agents/register", content=b"{}", headers=headers)

    assert response.status_code == 415


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "APPLICATION/JSON ; charset=utf-8", "application/json;x=y"],
)
def test_json_is_taken_by_any_spelling(client: TestClient, media_type: str) -> None:
    """Case and parameters of the media type do not matter."""
    headers = {"Content-Type": media_type}

    response = client.post("/agents/register", content=b"{}", headers=headers)

    assert response.status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/agents/register"),
        ("POST", "/agents/heartbeats"),
        ("POST", "/agents/a/heartbeat"),
        ("DELETE", "/agents/a"),
        ("GET", "/agents"),
        ("GET", "/health"),
        ("POST", "/guard/release"),
        ("GET", "/docs/files/swagger-ui.css"),
    ],
)
def test_a_newline_behind_a_path_makes_it_another(
    client: TestClient, make_body: Callable[..., dict[str, Any]], method: str, path: str
) -> None:
    """At which there is nothing, whatever the method."""
    response = client.request(method, f"{path}%0a", json=make_body())

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
