"""`list`, `get` and `health`."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from agent_registry_client import AgentInfo, AgentRegistryClient, Health
from agent_registry_client.cli.output import COLUMNS
from agent_registry_client.models import read
from agent_registry_client.testing import RegistryProcess

Invoke = Callable[..., Any]


def test_a_list_that_is_piped_is_columns(invoke: Invoke, summariser: str) -> None:
    """Separated by tabs, without a heading, none empty."""
    result = invoke("list")

    (line,) = result.stdout.splitlines()
    agent_id, status, left, *others = line.split("\t")
    assert (agent_id, status) == (summariser, "alive")
    assert left in {"59s", "60s"}
    assert others == ["60s", "10.0.0.7:8001", "Summariser", '{"zone": "eu"}']


def test_a_list_in_json_is_what_the_registry_told(
    invoke: Invoke, client: AgentRegistryClient, summariser: str
) -> None:
    """An array of agents, each with every member."""
    told = json.loads(invoke("list", "--json").stdout)

    (agent,) = (read(AgentInfo, one) for one in told)
    assert agent.agent_id == summariser
    assert agent.registered_at == client.get(summariser).registered_at
    assert told[0]["registered_at"].endswith("Z")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--name Summariser", 1),
        ("--name Nobody", 0),
        ("--host 10.0.0.7 --metadata zone=eu", 1),
        ("--metadata zone=us", 0),
        ('--metadata zone:="eu" --include-dead', 1),
    ],
)
@pytest.mark.usefixtures("summariser")
def test_a_list_is_filtered(invoke: Invoke, options: str, found: int) -> None:
    """As the library does; nobody is an answer, not an error."""
    result = invoke("list", "--json", *options.split())

    assert (result.exit_code, len(json.loads(result.stdout))) == (0, found)


@pytest.mark.parametrize("wrong", ["zone", "=eu", "zone:=eu", ":=1"])
def test_metadata_that_is_none_is_wrong_usage(invoke: Invoke, wrong: str) -> None:
    """It is told before anybody is asked."""
    result = invoke("list", "--metadata", wrong)

    assert result.exit_code == 2
    assert repr(wrong) in result.stderr


def test_one_agent_is_told_field_by_field(invoke: Invoke, summariser: str) -> None:
    """As lines for scripts, as an object for programs."""
    lines = dict(
        line.split("\t") for line in invoke("get", summariser).stdout.splitlines()
    )
    agent = read(AgentInfo, json.loads(invoke("get", summariser, "--json").stdout))

    assert lines["metadata"] == '{"zone": "eu"}'
    assert (lines["agent_id"], lines["port"]) == (summariser, "8001")
    assert agent.agent_id == summariser


def test_who_is_not_known_is_1(invoke: Invoke) -> None:
    """With a way to find who is; that it should register again is said to agents."""
    result = invoke("get", "nobody")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "agent-registry list" in result.stderr
    assert "register it" not in result.stderr


def test_an_id_that_is_none_is_wrong_usage(invoke: Invoke) -> None:
    """No registry is asked for it."""
    result = invoke("get", "a b", AGENT_REGISTRY_URL="http://127.0.0.1:1")

    assert result.exit_code == 2
    assert "'a b'" in result.stderr


def test_an_absent_registry_is_named(invoke: Invoke) -> None:
    """And why it is taken for absent."""
    result = invoke("list", "--url", "http://127.0.0.1:1")

    assert "http://127.0.0.1:1: Connection refused" in result.stderr


def test_a_list_on_a_terminal_is_a_table(
    start: Callable[..., Any], summariser: str
) -> None:
    """With a heading, and no tabs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    listing = start("list", stdout=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # nobody writes there any more
        while read := os.read(ours, 65536):
            seen += read

    assert listing.wait(10) == 0
    os.close(ours)
    heading, row = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).splitlines()
    assert heading.split() == ["ID", "STATUS", "LEFT", "TTL", *COLUMNS[4:]]
    assert row.split()[:2] == [summariser, "alive"]
    assert "\t" not in row


def test_health_is_told(invoke: Invoke) -> None:
    """Whole, and 0 while all is well."""
    result = invoke("health")
    health = read(Health, json.loads(invoke("health", "--json").stdout))

    assert result.exit_code == 0
    assert "sweep.overdue\tfalse\n" in result.stdout
    assert health.ok


@pytest.mark.parametrize(
    ("status", "told", "exit_code", "word"),
    [
        (200, b'{"status": "ok"}', 0, "ok"),
        (503, b'{"status": 503, "code": "sweep_overdue"}', 1, "sweep_overdue"),
    ],
)
def test_health_in_a_word_is_told_as_such(
    invoke: Invoke,
    play_registry: Callable[..., Any],
    status: int,
    told: bytes,
    exit_code: int,
    word: str,
) -> None:
    """Without lines of nothing, and with a way to hear more."""
    url = play_registry(lambda *_: (status, told)).url
    lines = invoke("health", "--url", url)
    whole = invoke("health", "--json", "--url", url)

    assert (lines.exit_code, whole.exit_code) == (exit_code, exit_code)
    assert lines.stdout == f"status\t{word}\n"
    assert "AGENT_REGISTRY_TOKEN" in lines.stderr
    assert json.loads(whole.stdout) == {
        field.name: word if field.name == "status" else None
        for field in dataclasses.fields(Health)
    }


class Unwell(BaseHTTPRequestHandler):
    """A registry whose sweep is overdue."""

    def do_GET(self) -> None:
        """Answer what it would."""
        body = b"""{"type": "about:blank", "title": "Service Unavailable",
            "status": 503, "code": "sweep_overdue", "detail": "No good sweep.",
            "version": "1", "uptime_seconds": 9.0, "agents": {}, "sweep": null}"""
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_registry_that_is_unwell_is_1(invoke: Invoke) -> None:
    """Its health is told all the same."""
    with HTTPServer(("127.0.0.1", 0), Unwell) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        result = invoke("health", "--json", AGENT_REGISTRY_URL=url)

    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "sweep_overdue"


def test_the_url_of_an_option_beats_the_environment(
    invoke: Invoke, registry: RegistryProcess, summariser: str
) -> None:
    """And several are tried in turn."""
    result = invoke(
        "list",
        "--url",
        f"http://127.0.0.1:1,{registry.url}",
        AGENT_REGISTRY_URL="http://127.0.0.1:2",
    )

    assert result.stdout.startswith(summariser)
