"""The token: it is sent, and shown nowhere."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from agent_registry_client import AgentRegistryClient, NotARegistry

from .recording import Recording

CANARY = "canary-4711"


def test_the_token_is_sent_and_never_shown(
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in a repr, a log line or an error."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AGENT_REGISTRY_TOKEN", f"{CANARY}\n")
    client = AgentRegistryClient(recording.url)
    recording.told = (
        401,
        b'{"status": 401, "code": "unauthorized", "detail": "Who are you?"}',
    )
    description = {"agent_name": "A", "host": "10.0.0.7", "port": 1}
    with pytest.raises(Exception, match="Who are you") as caught:
        client.agents()
    registration = client.registered("a", **description)  # type: ignore[arg-type]

    assert recording.asked[0]["Authorization"] == f"Bearer {CANARY}"
    for shown in (client, registration, caught.value, client._transport, caplog.text):
        assert CANARY not in f"{shown} {shown!r}"


def test_the_command_shows_no_token(recording: Recording) -> None:
    """It sends it; neither its output nor the list of processes has it."""
    seen: list[bytes] = []
    recording.on_asked = lambda: seen.extend(
        file.read_bytes() for file in Path("/proc").glob(f"{command.pid}/cmdline")
    )
    recording.told = (401, b'{"status": 401, "code": "unauthenticated"}')
    environ = {
        "AGENT_REGISTRY_TOKEN": CANARY,
        "AGENT_REGISTRY_URL": recording.url,
        "PATH": os.environ["PATH"],
    }
    command = subprocess.Popen(
        [sys.executable, "-m", "agent_registry_client.cli", "list"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    told = command.communicate(timeout=20)

    assert command.returncode == 1
    assert recording.asked[0]["Authorization"] == f"Bearer {CANARY}"
    assert len(seen) == 1
    assert CANARY.encode() not in seen[0]
    assert "AGENT_REGISTRY_TOKEN" in told[1]
    assert CANARY not in "".join(told)


def test_a_token_follows_no_redirect(recording: Recording) -> None:
    """Whoever answers may not send it elsewhere."""
    recording.told = (302, b"")
    recording.headers = {"Location": recording.url + "/elsewhere"}

    with pytest.raises(NotARegistry):
        AgentRegistryClient(recording.url, token=CANARY).agents()

    assert len(recording.asked) == 1


@pytest.mark.parametrize("token", [f"{CANARY}\nX: y", f"{CANARY} x", f"{CANARY}é"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    """Without repeating it."""
    with pytest.raises(ValueError, match="token") as caught:
        AgentRegistryClient(token=token)

    assert CANARY not in str(caught.value)
