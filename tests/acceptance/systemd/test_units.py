"""The units of deploy/ do under systemd what they promise.

They are the very files, installed where they say, with all of their hardening.
"""

from collections.abc import Callable
from typing import Any

import pytest

SERVICE, SOCKET = "agent-registry.service", "agent-registry.socket"
STATE = "/var/lib/agent-registry/"
ADDRESS = ("127.0.0.1", 8790)
BODY = {"agent_id": "called", "agent_name": "Called", "host": "10.0.0.7", "port": 80}
TIMES = 3
#: The best of three; on a machine that is busy, two starts of a daemon are granted.
SLOWEST_SECONDS = 2
#: As an operator may set it: the 30 s of the unit are long for a test.
IMPATIENT = "[Service]\nWatchdogSec=2\n"


@pytest.fixture
def registry(machine: Any) -> Any:
    """Return the machine, with a registry that knows `called`, and a clean slate."""
    # More than five starts a minute would be taken for a crash loop.
    machine.systemctl("reset-failed", SERVICE, SOCKET)
    machine.systemctl("start", SERVICE)
    machine.call("POST", "/agents/register", BODY)
    return machine


@pytest.fixture
def replaced(registry: Any, wait_until: Callable[..., Any]) -> Callable[[str], bool]:
    """Return what tells whether another daemon than that process serves now."""

    def replaced(pid: str) -> bool:
        shown = registry.shown(SERVICE)
        return shown["ActiveState"] == "active" and shown["MainPID"] != pid

    return lambda pid: wait_until(lambda: replaced(pid), 20)


def _start_seconds(registry: Any) -> float:
    shown = registry.shown(SERVICE)
    began = int(shown["InactiveExitTimestampMonotonic"])
    return (int(shown["ActiveEnterTimestampMonotonic"]) - began) / 1_000_000


def test_the_hardened_daemon_serves_the_socket_of_its_unit(registry: Any) -> None:
    """Ready is what it says, the state directory its own, the watchdog on."""
    health = registry.call("GET", "/health")
    service, socket = registry.shown(SERVICE), registry.shown(SOCKET)

    assert health["status"] == "ok"
    assert health["agents"]["alive"] == 1
    assert (service["Type"], service["ActiveState"]) == ("notify", "active")
    assert (service["DynamicUser"], service["User"]) == ("yes", "agent-registry")
    assert service["WatchdogUSec"] == "30s"
    assert service["LimitCORE"] == "0"
    assert int(service["WatchdogTimestampMonotonic"]) > 0
    assert socket["SubState"] == "running"
    assert "agent-registry.db" in registry.run("ls", STATE)
    assert "Serving the socket that systemd passed" in registry.journal()


def test_restarts_under_load_refuse_nobody(
    registry: Any,
    callers_of: Callable[..., Any],
    record_property: Callable[[str, object], None],
) -> None:
    """Three times: who calls meanwhile is answered by the next daemon."""
    granted = max(SLOWEST_SECONDS, 2 * _start_seconds(registry))
    fared = []
    for _ in range(TIMES):
        with callers_of(ADDRESS, prefix=registry.on_network) as finish:
            registry.systemctl("restart", SERVICE)
            fared.append(finish())
    record_property("restart", str(fared))

    assert [calls["refused"] for calls in fared] == [0] * TIMES
    assert min(calls["slowest_seconds"] for calls in fared) < granted
    assert registry.call("GET", "/agents/called")["is_alive"]


def test_kills_under_load_refuse_nobody(
    registry: Any,
    callers_of: Callable[..., Any],
    replaced: Callable[[str], bool],
    record_property: Callable[[str, object], None],
) -> None:
    """Three times kill -9: systemd starts another, which knows the same agents."""
    fared = []
    for _ in range(TIMES):
        killed = registry.shown(SERVICE)["MainPID"]
        with callers_of(ADDRESS, prefix=registry.on_network) as finish:
            registry.systemctl("kill", "--signal=KILL", SERVICE)
            replaced(killed)
            fared.append(finish())
    record_property("kill", str(fared))

    assert [calls["refused"] for calls in fared] == [0] * TIMES
    assert registry.call("GET", "/agents/called")["is_alive"]


def test_the_watchdog_replaces_who_stands_still(
    registry: Any, replaced: Callable[[str], bool]
) -> None:
    """Another daemon takes the socket over, and knows the same agents."""
    with registry.edited(SERVICE, IMPATIENT):
        registry.systemctl("restart", SERVICE)
        still = registry.shown(SERVICE)["MainPID"]

        registry.systemctl("kill", "--signal=STOP", SERVICE)
        replaced(still)

        assert "Watchdog timeout" in registry.journal()
        assert registry.call("GET", "/agents/called")["is_alive"]


def test_who_stops_the_socket_stops_the_daemon_cleanly(registry: Any) -> None:
    """Status 0, nothing in the journal that went wrong, and nobody listens."""
    registry.systemctl("stop", SOCKET)

    stopped = registry.shown(SERVICE)
    assert (stopped["ActiveState"], stopped["Result"]) == ("inactive", "success")
    assert stopped["ExecMainStatus"] == "0"
    assert "Traceback" not in registry.journal()
    assert registry.journal().count("Stopped\n") > 0
    assert registry.run("ls", STATE).split() == [
        "agent-registry.db",
        "agent-registry.db.lock",
        "agent-registry.db.reserve",
    ]
