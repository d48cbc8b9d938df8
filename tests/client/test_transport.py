"""The URLs and timeouts that are taken, and which registry is asked next."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import (
    AgentNotFound,
    AgentRegistryClient,
    Unavailable,
    Unreachable,
)
from agent_registry_client.testing import RegistryProcess

from .recording import Recording


@pytest.fixture
def unused_url() -> str:
    """Return the URL of nobody."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_the_url_comes_from_the_environment(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is given; without either it is the daemon's default."""
    assert AgentRegistryClient().urls == ("http://127.0.0.1:8790",)
    monkeypatch.setenv("AGENT_REGISTRY_URL", f"http://10.9.9.9:1/, {recording.url}/")
    assert AgentRegistryClient().urls == ("http://10.9.9.9:1", recording.url)
    assert AgentRegistryClient(recording.url).urls == (recording.url,)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8790",
        "ftp://host",
        "http://",
        "http://me:secret@host",
        "http://host?token=secret",
        "http://host:port",
        "http://a,,http://b",
        "http://a b",
        "http://a\tb",
        "http://a..b",
        "http://.a",
        "http://" + "a" * 64,
        "http://a/ b",
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    """And not repeated: there may be a secret in it."""
    with pytest.raises(ValueError, match=r".") as caught:
        AgentRegistryClient(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a.", "http://[::1]:1", "http://1.2.3.4/b"])
def test_a_url_that_is_one_is_taken(url: str) -> None:
    """A name may end with the root's dot."""
    assert AgentRegistryClient(url).urls == (url,)


@pytest.mark.parametrize("seconds", [None, 0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused_at_once(seconds: Any) -> None:
    """Beats would fail by it, or wait for ever."""
    with pytest.raises(ValueError, match="timeout_seconds"):
        AgentRegistryClient(timeout_seconds=seconds)


def test_the_next_registry_is_asked_when_the_first_is_away(
    registry: RegistryProcess, unused_url: str
) -> None:
    """And from then on it is asked first."""
    client = AgentRegistryClient([unused_url, registry.url])

    assert client.agents() == ()
    assert client._transport._first == 1
    with pytest.raises(AgentNotFound):
        client.get("a")


def test_the_next_registry_is_asked_when_the_first_is_unwell(
    recording: Recording, registry: RegistryProcess
) -> None:
    """A 503 is a reason to ask another one; a 404 is an answer."""
    recording.told = (503, b'{"code": "store_unavailable", "detail": "Later."}')

    assert AgentRegistryClient([recording.url, registry.url]).agents() == ()


def test_when_none_is_well_the_one_that_answered_is_heard(
    recording: Recording, unused_url: str
) -> None:
    """Its reason is worth more than silence; silence names every registry."""
    recording.told = (503, b'{"code": "store_unavailable", "detail": "Later."}')

    with pytest.raises(Unavailable, match="Later"):
        AgentRegistryClient([unused_url, recording.url]).agents()
    with pytest.raises(Unreachable, match=f"{unused_url}: .*{unused_url}/b: "):
        AgentRegistryClient([unused_url, f"{unused_url}/b"]).agents()


def test_an_agent_moves_to_the_next_registry(
    start_registry: Callable[..., RegistryProcess],
    registry: RegistryProcess,
    described: dict[str, Any],
    wait_until: Callable[..., Any],
) -> None:
    """And is registered there within one interval."""
    second = start_registry()
    client = AgentRegistryClient([registry.url, second.url])
    with client.registered("a", **described):
        registry.kill()

        other = AgentRegistryClient(second.url)
        wait_until(other.agents, 2)
