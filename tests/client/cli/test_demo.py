"""`demo`: under a minute from nothing to an expired agent."""

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import AgentInfo, AgentRegistryClient
from agent_registry_client.cli.demo import Demo
from agent_registry_client.cli.events import Look
from agent_registry_client.cli.watch import Lines
from agent_registry_client.testing import RegistryProcess

Start = Callable[..., Any]


def test_a_demo_lets_one_die_and_shows_it_expired(
    start: Start, start_registry: Callable[..., RegistryProcess]
) -> None:
    """Dead at its deadline, gone with the sweep; the others leave in the end."""
    registry = start_registry(leases__sweep_interval_seconds=5)
    began_at = time.monotonic()
    demo = start("demo", "--json", "--ttl", "3", "--url", registry.url)

    output, told = demo.communicate(timeout=50)

    events = [json.loads(line) for line in output.splitlines()]
    victims = [e for e in events if e["event"] in {"dead", "gone"}]
    assert demo.returncode == 0, told
    assert time.monotonic() - began_at < 50
    assert [e["event"] for e in events].count("registered") == 5
    assert [e["event"] for e in victims] == ["dead", "gone"]
    assert len({e["agent"]["agent_id"] for e in victims}) == 1
    for word in ("Starting 5 agents", "kill -9", "Dead, 3 s after", "Expired"):
        assert word in told
    assert AgentRegistryClient(registry.url).agents(include_dead=True) == ()


def test_a_demo_goes_on_where_the_sweep_was_there_before_its_look(
    registry: RegistryProcess,
    make_agent: Callable[..., AgentInfo],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The dead one was asked for once more, and it had gone meanwhile."""
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleep) as program:
        fleet = Look((make_agent("a"),), 0.0, ())
        seen = itertools.chain([fleet], itertools.repeat(Look((), 0.0, ())))
        demo = Demo(
            AgentRegistryClient(registry.url),
            Lines(as_json=True),
            seen,
            {"a": program},
            ends_at=time.monotonic() + 10,
        )
        demo.play()

    told = capsys.readouterr().err
    assert "Dead, 30 s after" in told
    assert "Expired" in told


def test_a_demo_waits_for_the_sweep_and_says_how_long(
    start: Start, start_registry: Callable[..., RegistryProcess]
) -> None:
    """Whoever has seen enough ends it, and nothing but the dead is left."""
    registry = start_registry(leases__sweep_interval_seconds=600)
    demo = start("demo", "--ttl", "1", "--url", registry.url)
    while "The next sweep removes it" not in (line := demo.stderr.readline()):
        assert line
    time.sleep(1)
    still = demo.poll()

    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=10)

    (dead,) = AgentRegistryClient(registry.url).agents(include_dead=True)
    assert "in 59" in line
    assert (still, demo.returncode) == (None, 130)
    assert dead.status == "dead"


def test_a_demo_whose_agents_are_refused_says_so(
    start: Start, start_registry: Callable[..., RegistryProcess]
) -> None:
    """At once, by what the registry grants."""
    registry = start_registry(leases__max_ttl_seconds=60)
    demo = start("demo", "--ttl", "61", "--url", registry.url)

    _, errors = demo.communicate(timeout=30)

    assert demo.returncode == 1
    assert "--ttl" in errors
