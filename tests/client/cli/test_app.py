"""The whole tree of commands: what each says of itself, and its document."""

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agent_registry_client
import pytest
import typer.main
from agent_registry_client import AgentInfo, Health
from agent_registry_client.cli.app import app
from agent_registry_client.cli.events import Event
from agent_registry_client.testing import RegistryProcess

CLIENT = Path(__file__).parent.parent.parent.parent / "client"
DOCUMENT = (CLIENT / "docs" / "command.md").read_text()
TREE = typer.main.get_command(app)
COMMANDS: dict[str, Any] = TREE.commands  # type: ignore[attr-defined]
NAMES = ["list", "get", "register", "deregister", "run", "wait", "watch", "health"]


def _cells(heading: str) -> list[str]:
    _, _, rest = DOCUMENT.partition(f"\n{heading}\n")
    return re.findall(r"(?m)^\| `(\w+)` \|", re.split(r"(?m)^#", rest)[0])


def test_the_commands_are_these() -> None:
    """In the order of a newcomer's questions, and the document has them all."""
    assert list(COMMANDS) == [*NAMES, "demo"]
    assert re.findall(r"(?m)^\| `(\w+)` \|", DOCUMENT)[: len(COMMANDS)] == [*COMMANDS]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_described(name: str) -> None:
    """By a sentence, an example that can be parsed, and a word on each option."""
    command = COMMANDS[name]
    summary, example = command.get_short_help_str(), command.epilog

    assert re.fullmatch(r"[A-Z].*[^.]\.", summary), summary
    assert example.startswith(f"Example: agent-registry {name}")
    for parameter in command.params:
        assert len(parameter.help) > 10, parameter.name
    words = example.removeprefix("Example: agent-registry ").split()[1:]
    command.make_context(name, words)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_each_command_but_run_speaks_json(name: str) -> None:
    """The output of `run` is its program's."""
    options = {word for parameter in COMMANDS[name].params for word in parameter.opts}

    assert {"--json", "--url"} <= options


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("### An agent", AgentInfo), ("### Health", Health)],
)
def test_the_shapes_are_written_down(heading: str, kind: Any) -> None:
    """Every member, in its order."""
    assert set(_cells(heading)) == {field.name for field in dataclasses.fields(kind)}


def test_the_events_are_written_down() -> None:
    """Their members, and their words as the code tells them."""
    cells = _cells("### An event")
    members = [field.name for field in dataclasses.fields(Event)]

    assert cells[: len(members)] == members
    assert "held" in cells


def test_the_version_is_told(invoke: Callable[..., Any]) -> None:
    """Of the client."""
    assert invoke("--version").stdout == agent_registry_client.__version__ + "\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["list", "--nonsense"], ["get"]])
def test_a_wrong_command_line_is_2(
    invoke: Callable[..., Any], arguments: list[str]
) -> None:
    """And what is wrong is said on standard error."""
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert "--help" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_completed(invoke: Callable[..., Any], shell: str) -> None:
    """By a script that asks the command."""
    script = invoke("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL="1")

    assert "_COMPLETE" in script.stdout


def test_ids_are_completed(
    start: Callable[..., Any], registry: RegistryProcess, summariser: str
) -> None:
    """From the registry; without one there are none, and no noise."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CLIENT),
        "_AGENT_REGISTRY_COMPLETE": "complete_bash",
        "COMP_WORDS": "agent-registry get summ",
        "COMP_CWORD": "2",
    }
    here = start(env=environ | {"AGENT_REGISTRY_URL": registry.url})
    away = start(env=environ | {"AGENT_REGISTRY_URL": "http://127.0.0.1:1"})

    assert here.communicate()[0].split() == [summariser]
    assert [text.strip() for text in away.communicate()] == ["", ""]


def test_without_its_extra_the_command_says_what_to_install() -> None:
    """The library itself does not need it."""
    program = (
        "import sys; sys.modules['typer'] = None\n"
        "from agent_registry_client.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(CLIENT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "pip install 'agent-registry-client[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
