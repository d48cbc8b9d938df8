"""Each example registers itself, does its work, and leaves."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import agent_registry_client
import pytest
from agent_registry_client import AgentRegistryClient
from agent_registry_client.testing import RegistryProcess

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def fetch(address: str, path: str) -> str:
    """Return what a web server answers."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def say(address: str, line: str) -> str:
    """Return what a server says to a line."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(line.encode())
        return connection.recv(100).decode()


#: What each does when it is asked; the shell's agent serves nobody.
WORKS: dict[str, Callable[[str], bool]] = {
    "fastapi_agent.py": lambda at: fetch(at, "/summarise?text=A.B") == '"A."',
    "asyncio_agent.py": lambda at: say(at, "hello\n") == "hello\n",
    "shell_agent.sh": lambda at: at.startswith("127.0.0.1:"),
    "perl_agent.sh": lambda at: fetch(at, "/") == "hello from perl\n",
}


def test_every_example_is_run_and_told_of() -> None:
    """Here and in their README."""
    described = (EXAMPLES / "README.md").read_text()
    files = {file.name for file in EXAMPLES.iterdir() if file.suffix in {".py", ".sh"}}

    assert files == set(WORKS)
    assert [name for name in files if f"({name})" not in described] == []


@pytest.mark.parametrize("name", WORKS)
def test_an_example_registers_works_and_leaves(
    name: str,
    run_example: Callable[[str], "subprocess.Popen[bytes]"],
    client: AgentRegistryClient,
    wait_until: Callable[..., Any],
) -> None:
    """On SIGTERM, as whatever runs agents ends them."""
    example = run_example(name)
    (agent,) = wait_until(client.agents)
    worked = wait_until(lambda: _works(name, agent.address))

    example.send_signal(signal.SIGTERM)
    example.wait(10)

    assert worked
    assert client.agents(include_dead=True) == ()


def test_a_second_copy_of_an_example_does_not_deregister_the_first(
    run_example: Callable[[str], "subprocess.Popen[bytes]"],
    client: AgentRegistryClient,
    wait_until: Callable[..., Any],
) -> None:
    """It finds the port taken before it registers, not after."""
    run_example("fastapi_agent.py")
    (first,) = wait_until(client.agents)
    wait_until(lambda: _works("fastapi_agent.py", first.address))

    second = run_example("fastapi_agent.py")

    assert second.wait(10) != 0
    assert [agent.agent_id for agent in client.agents()] == [first.agent_id]


def test_the_shells_agent_comes_back_when_it_was_forgotten(
    run_example: Callable[[str], "subprocess.Popen[bytes]"],
    client: AgentRegistryClient,
    wait_until: Callable[..., Any],
) -> None:
    """By its next beat."""
    run_example("shell_agent.sh")
    (agent,) = wait_until(client.agents)
    client.deregister(agent.agent_id)

    assert wait_until(client.agents)


def _works(name: str, address: str) -> bool:
    with contextlib.suppress(OSError):  # registered a moment before it serves
        return WORKS[name](address)
    return False


@pytest.fixture
def run_example(
    registry: RegistryProcess, unused_port: int, tmp_path: Path
) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Return a function that runs an example against the registry."""
    command = tmp_path / "agent-registry"  # wherever it is installed
    command.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m agent_registry_client.cli "$@"\n'
    )
    command.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    def run(name: str) -> "subprocess.Popen[bytes]":
        interpreter = sys.executable if name.endswith(".py") else "sh"
        for needed in {"shell": ["curl"], "perl_": ["perl"]}.get(name[:5], []):
            if shutil.which(needed) is None:
                pytest.skip(f"{needed} is not installed")
        started.append(
            subprocess.Popen(
                [interpreter, name, str(unused_port)],
                cwd=EXAMPLES,
                env={
                    "PATH": f"{tmp_path}:{os.environ['PATH']}",
                    "PYTHONPATH": str(Path(agent_registry_client.__path__[0]).parent),
                    "AGENT_REGISTRY_URL": registry.url,
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        return started[-1]

    yield run
    for example in started:
        if example.poll() is None:
            os.killpg(example.pid, signal.SIGKILL)
        example.wait()


@pytest.fixture
def unused_port() -> int:
    """Return a port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])
