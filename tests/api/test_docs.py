"""The page for people."""

import asyncio
import base64
import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient


def test_docs_need_no_internet(client: TestClient) -> None:
    """The page refers to nothing outside this process, and all it names is there."""
    page = client.get("/docs")
    referred = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page.text)

    assert page.status_code == 200
    assert "/openapi.json" in referred
    assert len(referred) == 4
    for reference in referred:
        assert reference.startswith("/")
        assert not reference.startswith("//")
        assert client.get(reference).status_code == 200


def test_docs_run_only_what_they_are_made_of(client: TestClient) -> None:
    """The script within the page is allowed by its hash, and no other is."""
    page = client.get("/docs")

    policy = page.headers["content-security-policy"]
    (script,) = re.findall(r"(?s)<script>(.*?)</script>", page.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "name",
    [
        *("", "none", "__init__.py", "%00", "a" * 5000, "%ff"),
        *("%2e%2e/%2e%2e/x", "/etc/passwd"),
    ],
)
def test_docs_serve_only_their_own_files(client: TestClient, name: str) -> None:
    """Whatever else is asked for is not there."""
    response = client.get(f"/docs/files/{name}")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def _open_files() -> set[str]:
    """Return the names of what is open in this process."""
    names = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            names.add(descriptor.readlink().name)
    return names


def test_a_slow_reader_of_docs_takes_neither_descriptor_nor_much_memory(
    app: FastAPI,
) -> None:
    """180 of them had used up what is left to the store."""
    name = "swagger-ui-bundle.js"
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/docs/files/{name}",
        "query_string": b"",
        "headers": [],
    }
    sent: list[bytes] = []
    opened: set[str] = set()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        opened.update(_open_files())

    asyncio.run(app(scope, receive, send))

    assert sum(map(len, sent)) > 1_000_000
    assert max(map(len, sent)) <= 64 * 1024
    assert name not in opened
