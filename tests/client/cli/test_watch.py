"""`watch`."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import AgentRegistryClient
from agent_registry_client.testing import RegistryProcess

Start = Callable[..., Any]
MEMBERS = ["at", "event", "agent", "error"]


@pytest.fixture
def hear(start: Start) -> Callable[..., Callable[[], dict[str, Any]]]:
    """Return a function that watches, and returns one that waits for an event."""

    def watch(*options: str) -> Callable[[], dict[str, Any]]:
        watching = start("watch", "--json", "--interval", "0.1", *options)

        def hear() -> dict[str, Any]:
            event: dict[str, Any] = json.loads(watching.stdout.readline())
            assert list(event) == MEMBERS
            return event

        return hear

    return watch


def test_each_change_is_a_line(
    hear: Callable[..., Any], client: AgentRegistryClient, summariser: str
) -> None:
    """Of JSON, with the agent as `get` tells it."""
    me: dict[str, Any] = {"agent_name": "Summariser", "host": "h", "port": 1}
    next_event = hear("--name", "Summariser")
    first = next_event()
    client.register("other", **me | {"agent_name": "Other"})
    client.register("b", **me)
    new = next_event()
    client.register("b", **me | {"ttl_seconds": 1})
    ages = [next_event() for _ in range(3)]
    client.deregister("b")
    last = next_event()

    assert (first["event"], first["agent"]["agent_id"]) == ("present", summariser)
    assert first["agent"]["metadata"] == {"zone": "eu"}
    assert (new["event"], new["agent"]["agent_id"]) == ("registered", "b")
    assert [event["event"] for event in ages] == ["updated", "late", "dead"]
    assert (last["event"], last["agent"]["status"]) == ("gone", "dead")
    assert last["error"] is None


def test_a_registry_that_goes_away_is_an_event(
    hear: Callable[..., Any], registry: RegistryProcess, client: AgentRegistryClient
) -> None:
    """And the watch goes on when it is back."""
    client.register("a", agent_name="A", host="h", port=1)
    next_event = hear()
    next_event()
    registry.kill()
    away = next_event()
    registry.start()
    back = next_event()

    assert (away["event"], away["agent"]) == ("unreachable", None)
    assert "Connection refused" in away["error"]
    assert back["event"] == "reachable"


def test_piped_without_json_a_change_is_columns(start: Start, summariser: str) -> None:
    """The time and the event before those of a list."""
    line = start("watch").stdout.readline().rstrip("\n").split("\t")

    assert re.fullmatch(r"\d\d:\d\d:\d\d", line[0])
    assert line[1:4] == ["present", summariser, "alive"]


def test_ctrl_c_ends_a_watch(start: Start, summariser: str) -> None:
    """Quietly, and with the status that shells give it."""
    watching = start("watch")
    assert summariser in watching.stdout.readline()

    watching.send_signal(signal.SIGINT)

    assert watching.communicate(timeout=10)[1] == ""
    assert watching.returncode == 130


def test_a_reader_that_has_seen_enough_ends_a_watch(
    start: Start, client: AgentRegistryClient, summariser: str
) -> None:
    """As `| head -1` does."""
    watching = start("watch", "--interval", "0.1")
    assert summariser in watching.stdout.readline()

    watching.stdout.close()
    client.deregister(summariser)

    assert watching.wait(10) != 0
    assert watching.stderr.read() == ""


def test_on_a_terminal_deadlines_count_down(start: Start, summariser: str) -> None:
    """In place."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    watching = start("watch", stdout=theirs)
    os.close(theirs)
    seen = b""
    give_up_at = time.monotonic() + 10
    while b"58s" not in seen and time.monotonic() < give_up_at:
        seen += os.read(ours, 65536)

    watching.send_signal(signal.SIGINT)
    watching.wait(10)

    with contextlib.suppress(OSError):
        seen += os.read(ours, 65536)
    os.close(ours)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode()
    assert "1 alive" in text
    assert re.search(rf"{summariser} +alive +5[89]s +60s +10.0.0.7:8001", text)
    assert "\x1b[?25h" in seen.decode()  # the cursor is back
