"""Clients that hang up halfway."""

import asyncio

import pytest
from fastapi import FastAPI


@pytest.mark.parametrize("path", ["/agents/register", "/agents/summariser-1/heartbeat"])
def test_a_client_that_hangs_up_halfway_is_no_error(app: FastAPI, path: str) -> None:
    """Nothing is raised for the server to log; the answer reaches nobody."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ],
    }
    statuses = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        statuses.append(message.get("status"))

    asyncio.run(app(scope, receive, send))

    assert statuses[0] == 400
