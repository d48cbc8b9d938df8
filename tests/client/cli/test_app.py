"""The whole tree of commands: what each says of itself, and its document."""

import dataclasses
import json
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
from agent_registry_client import AgentInfo, Health, Unreachable
from agent_registry_client.cli.app import app
from agent_registry_client.cli.events import Event, Watched
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


def test_the_events_are_written_down(make_agent: Callable[..., AgentInfo]) -> None:
    """Their members, and every word that a watch can say."""
    watched = Watched()
    looks = [
        watched.saw([make_agent("a")]),
        watched.saw([make_agent("a", port=1), make_agent("b")]),
        *(watched.saw([make_agent("a", port=1, status=word)]) for word in STATUSES),
        watched.saw([make_agent("a", port=1)]),
        watched.missed(Unreachable("x")),
        watched.saw([]),
    ]
    said = {event.event for look in looks for event in look.events}
    cells = _cells("### An event")
    members = [field.name for field in dataclasses.fields(Event)]

    assert cells[: len(members)] == members
    assert set(cells[len(members) :]) == said


#: Of an agent, as the API describes them.
STATUSES = json.loads((CLIENT.parent / "tests" / "api" / "openapi.json").read_text())[
    "components"
]["schemas"]["Status"]["enum"]

AGENT = _cells("### An agent")
SHAPES = {
    "list": ("list --include-dead", AGENT),
    "get": ("get summariser-1", AGENT),
    "register": (
        "register --id w --name W --host 10.0.0.7 --port 1",
        [*AGENT, "outcome", "heartbeat_interval_seconds"],
    ),
    "deregister": ("deregister summariser-1", ["agent_id"]),
    "wait": ("wait --name Summariser", AGENT),
    "health": ("health", _cells("### Health")),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.usefixtures("summariser")
def test_what_is_said_in_json_is_what_is_written_down(
    invoke: Callable[..., Any], name: str
) -> None:
    """One value, whole, with these members and no others; `watch` has its own test."""
    command, members = SHAPES[name]

    told = json.loads(invoke(*command.split(), "--json").stdout)

    assert isinstance(told, list) == (name in {"list", "wait"})
    assert set(told[0] if isinstance(told, list) else told) == set(members)


def test_each_command_that_reads_has_a_shape() -> None:
    """Those that go on and on tell events."""
    assert {*SHAPES, "run", "watch", "demo"} == {*COMMANDS}


RUN = "run --id me --name Web --host 10.0.0.7 --port 8001 --quiet --"
STATUS_OF = {
    "0": "list",
    "1": "get nobody",
    "2": "list --nonsense",
    "3": "list --url http://127.0.0.1:1",
    "126": f"{RUN} /etc/hostname",
    "127": f"{RUN} no-such-program",
    "128 + N": f"{RUN} {sys.executable} -c import(os);os.kill(os.getpid(),9)",
}


def test_every_exit_status_is_written_down() -> None:
    """And no other."""
    _, _, rest = DOCUMENT.partition("\n## Exit statuses\n")

    assert re.findall(r"(?m)^\| (\d[\d +N]*) \|", rest) == [*STATUS_OF]


@pytest.mark.parametrize("status", STATUS_OF)
def test_each_exit_status_is_what_it_is_said_to_be(
    start: Callable[..., Any], status: str
) -> None:
    """As a shell sees it."""
    words = STATUS_OF[status].replace("import(os)", "import\tos").split(" ")
    done = start(*(word.replace("\t", " ") for word in words))

    done.communicate(timeout=20)

    assert done.returncode == (137 if status == "128 + N" else int(status))


ASKED = {
    "get": ["a"],
    "deregister": ["a"],
    "register": ["--id=w", "--name=W", "--host=h", "--port=1"],
    "wait": ["--timeout=0"],
}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_each_command_but_run_says_that_no_registry_answers(
    invoke: Callable[..., Any], name: str
) -> None:
    """By its status, and where to find one; `run` waits for it."""
    result = invoke(name, *ASKED.get(name, []), "--url", "http://127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (3, "")
    assert "make run" in result.stderr


def test_the_version_is_told(invoke: Callable[..., Any]) -> None:
    """Of the client."""
    assert invoke("--version").stdout == agent_registry_client.__version__ + "\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["list", "--nonsense"],
        ["get"],
        ["watch", "--interval", "0"],
        ["watch", "--interval", "1e10"],
        ["watch", "--interval", "inf"],
        ["watch", "--interval", "nan"],
        ["wait", "--timeout", "nan"],
    ],
)
def test_a_wrong_command_line_is_2(
    invoke: Callable[..., Any], arguments: list[str]
) -> None:
    """And what is wrong is said on standard error."""
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert "--help" in result.stderr


CLOSED = "import os, sys; os.close(1); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize(
    "command", ["list", "list --json", "health", "deregister summariser-1"]
)
@pytest.mark.usefixtures("summariser")
def test_an_output_that_is_closed_is_1(start: Callable[..., Any], command: str) -> None:
    """In words, not as a mistake of ours, and not in silence."""
    done = start(*command.split(), wrap=CLOSED)

    said = done.communicate(timeout=20)[1].splitlines()

    assert said[0] == "agent-registry: standard output is closed"
    assert (done.returncode, len(said)) == (1, 2)


@pytest.mark.parametrize("command", ["list", "health --json", "watch", "--help"])
@pytest.mark.usefixtures("summariser")
def test_an_output_without_room_is_1(start: Callable[..., Any], command: str) -> None:
    """It is told once; at the exit too Python tries to write what is left."""
    with Path("/dev/full").open("w") as full:
        done = start(*command.split(), stdout=full)

    said = done.communicate(timeout=20)[1].splitlines()

    assert said[0] == "agent-registry: No space left on device"
    assert (done.returncode, len(said)) == (1, 2)


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
