"""The command, in this process and as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import agent_registry_client
import pytest
from agent_registry_client import AgentInfo, AgentRegistryClient
from agent_registry_client.cli.app import app
from agent_registry_client.models import read
from agent_registry_client.testing import RegistryProcess
from typer.testing import CliRunner

Invoke = Callable[..., Any]


@pytest.fixture(autouse=True)
def _hangups_mean_something() -> Iterator[None]:
    """Take them as a terminal's programs do, also where nohup runs the tests.

    What is ignored stays so in all that is started: tests of SIGHUP waited for ever.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def invoke(registry: RegistryProcess) -> Invoke:
    """Return a function that runs the command against the registry."""

    def invoke(*arguments: str, **environ: str) -> Any:
        environ = {"AGENT_REGISTRY_URL": registry.url} | environ
        return CliRunner().invoke(app, arguments, env=environ)

    return invoke


@pytest.fixture
def start(registry: RegistryProcess) -> Iterator[Callable[..., Any]]:
    """Return a function that starts the command as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, wrap: str = "", **over: Any) -> "subprocess.Popen[str]":
        settings: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "start_new_session": True,
            "env": {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(agent_registry_client.__path__[0]).parent),
                "AGENT_REGISTRY_URL": registry.url,
            },
        }
        command = [sys.executable, "-m", "agent_registry_client.cli", *arguments]
        if wrap:  # a program that does something first
            command = [sys.executable, "-c", wrap, *command]
        started.append(subprocess.Popen(command, **settings | over))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # whatever it runs, too
        process.communicate()


@pytest.fixture
def make_agent() -> Callable[..., AgentInfo]:
    """Return a function that builds what the registry tells of an agent."""

    def make(agent_id: str = "a", **over: Any) -> AgentInfo:
        told: dict[str, Any] = {
            "agent_id": agent_id,
            "agent_name": "Summariser",
            "host": "10.0.0.7",
            "port": 8001,
            "ttl_seconds": 30,
            "metadata": {},
            "is_alive": True,
            "status": "alive",
            "last_heartbeat": "2026-11-22T15:45:00.000000Z",
            "expires_at": "2026-11-22T15:45:30.000000Z",
            "registered_at": "2026-11-22T15:00:00.000000Z",
            "age_seconds": 10.0,
        }
        agent: AgentInfo = read(AgentInfo, told | over)
        return agent

    return make


@pytest.fixture
def summariser(client: AgentRegistryClient) -> str:
    """Register an agent, and return its id."""
    client.register(
        "summariser-1",
        agent_name="Summariser",
        host="10.0.0.7",
        port=8001,
        metadata={"zone": "eu"},
    )
    return "summariser-1"
