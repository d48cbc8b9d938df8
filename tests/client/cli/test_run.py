"""`run`: any program as an agent."""

import os
import pty
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_registry_client import AgentRegistryClient
from agent_registry_client.testing import RegistryProcess

Start = Callable[..., Any]
Listed = Callable[[], set[str]]
Wait = Callable[..., Any]

ME = ["--id=me", "--name=Web", "--host=10.0.0.7", "--port=8001", "--ttl=1"]

#: Says what signals it gets, and ends with 7 on the second.
PROGRAM = """
import os, signal, sys, time
got = []
def hear(number, _):
    got.append(number)
    os.write(1, (signal.Signals(number).name + "\\n").encode())
    if len(got) == 2: sys.exit(7)
for number in (1, 2, 3, 10, 12, 15): signal.signal(number, hear)
print("up", flush=True)
while True: time.sleep(0.05)
"""
TALKS = [sys.executable, "-c", PROGRAM]


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 42", 42), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_is_the_programs(
    start: Start, listed: Listed, script: str, status: int
) -> None:
    """By the convention of shells, when a signal ended it; and the agent has left."""
    running = start("run", *ME, "--", "sh", "-c", script)

    assert running.wait(10) == status
    assert listed() == set()


def test_an_agent_lives_as_long_as_its_program(
    start: Start, client: AgentRegistryClient, listed: Listed
) -> None:
    """Beyond its TTL; registered before the program began."""
    see = (
        "from agent_registry_client import AgentRegistryClient as C;"
        "print([agent.agent_id for agent in C().agents()])"
    )
    running = start(
        "run",
        *ME,
        "--metadata",
        "zone=eu",
        "--",
        "sh",
        "-c",
        f'{sys.executable} -c "{see}"; read line; exit 3',
        stdin=-1,
    )
    seen_by_itself = running.stdout.readline()
    time.sleep(1.5)
    agent = client.get("me")

    output, errors = running.communicate("go\n")

    assert seen_by_itself == "['me']\n"
    assert (agent.is_alive, agent.address) == (True, "10.0.0.7:8001")
    assert agent.metadata == {"zone": "eu"}
    assert (running.returncode, output) == (3, "")
    assert "agent-registry: Agent me is registered\n" in errors
    assert listed() == set()


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on(start: Start, number: str) -> None:
    """Once each; the program decides what they mean."""
    running = start("run", *ME, "--", *TALKS)
    assert running.stdout.readline() == "up\n"

    running.send_signal(signal.Signals[f"SIG{number}"])
    heard = running.stdout.readline()
    running.send_signal(signal.SIGUSR1)

    assert heard == f"SIG{number}\n"
    assert running.communicate(timeout=10)[0] == "SIGUSR1\n"
    assert running.returncode == 7


def test_on_sigterm_the_agent_leaves_before_its_program(
    start: Start, listed: Listed, wait_until: Wait
) -> None:
    """Which may take its time to finish; other signals mean nothing to us."""
    running = start("run", *ME, "--", *TALKS)
    running.stdout.readline()
    running.send_signal(signal.SIGHUP)
    running.stdout.readline()
    kept = listed()
    patient = start("run", *ME, "--id", "b", "--", "sh", "-c", "trap '' TERM; sleep 9")
    wait_until(lambda: "b" in listed())

    patient.terminate()
    wait_until(lambda: "b" not in listed(), 3)

    assert "me" in kept
    assert patient.poll() is None


def test_a_ctrl_c_reaches_the_program_once(start: Start) -> None:
    """The terminal has sent it to both."""
    ours, theirs = pty.openpty()
    on_the_terminal = (
        "import fcntl, os, sys, termios;"
        f"fcntl.ioctl({theirs}, termios.TIOCSCTTY, 0);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    running = start(
        "run", *ME, "--", *TALKS, stdin=theirs, pass_fds=[theirs], wrap=on_the_terminal
    )
    assert running.stdout.readline() == "up\n"

    os.write(ours, b"\x03")
    first = running.stdout.readline()
    time.sleep(0.5)
    still = running.poll()
    os.write(ours, b"\x03")

    assert (first, still) == ("SIGINT\n", None)
    assert running.communicate(timeout=10)[0] == "SIGINT\n"
    assert running.returncode == 7
    os.close(ours)
    os.close(theirs)


def test_a_port_that_answers_is_waited_for(
    start: Start, listed: Listed, unused_port: int, wait_until: Wait, tmp_path: Path
) -> None:
    """The program runs, and is registered when it is ready."""
    wait = "touch up; while [ ! -e go ]; do sleep 0.05; done"
    serve = f"exec {sys.executable} -m http.server {unused_port}"
    script = f"{wait}; {serve}"
    start(
        "run",
        *ME,
        "--ready-port",
        str(unused_port),
        "--",
        "sh",
        "-c",
        script,
        cwd=tmp_path,
    )
    wait_until((tmp_path / "up").exists)
    time.sleep(0.5)
    before = listed()
    (tmp_path / "go").touch()

    wait_until(lambda: listed() == {"me"})

    assert before == set()


def test_a_port_that_somebody_has_already_is_not_taken_for_the_programs(
    start: Start, client: AgentRegistryClient, summariser: str, tmp_path: Path
) -> None:
    """A second copy would register, end, and deregister the first, which lives."""
    me = [*ME, f"--id={summariser}"]
    with socket.create_server(("127.0.0.1", 0)) as first:
        ready = f"--ready-port=127.0.0.1:{first.getsockname()[1]}"
        second = start("run", *me, ready, "--", "touch", "ran", cwd=tmp_path)
        _, errors = second.communicate(timeout=10)

    assert second.returncode == 1
    assert "takes connections" in errors
    assert client.get(summariser).is_alive
    assert not (tmp_path / "ran").exists()


def test_a_command_that_succeeds_is_waited_for(
    start: Start, listed: Listed, wait_until: Wait, tmp_path: Path
) -> None:
    """Tried again and again; what it prints is nobody's business."""
    check = ["--ready-cmd", "echo noise; test -e ready"]
    running = start(
        "run", *ME, *check, "--", "sh", "-c", "touch up; exec sleep 9", cwd=tmp_path
    )
    wait_until((tmp_path / "up").exists)
    time.sleep(0.5)
    before = listed()
    (tmp_path / "ready").touch()
    wait_until(lambda: listed() == {"me"})

    running.terminate()

    assert before == set()
    assert running.communicate(timeout=10)[0] == ""
    assert running.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("check", [["--ready-cmd", "sleep 60"], ["--ready-port", "1"]])
def test_a_program_that_ends_unready_was_never_registered(
    start: Start, client: AgentRegistryClient, check: list[str]
) -> None:
    """Its exit is passed on all the same."""
    running = start("run", *ME, *check, "--", "sh", "-c", "sleep 0.5; exit 5")

    _, errors = running.communicate(timeout=10)

    assert running.returncode == 5
    assert errors == ""
    assert client.agents(include_dead=True) == ()


def test_a_check_does_not_outlive_the_program(
    start: Start, tmp_path: Path, wait_until: Wait
) -> None:
    """However long it would take."""
    check = "echo $$ > check; exec sleep 60"
    running = start(
        "run",
        *ME,
        "--ready-cmd",
        check,
        "--",
        "sh",
        "-c",
        "sleep 0.5; exit 5",
        cwd=tmp_path,
    )

    assert running.wait(10) == 5
    checking = (tmp_path / "check").read_text().strip()
    wait_until(lambda: not Path("/proc", checking).exists(), 2)


def test_a_refusal_is_told_before_a_program_that_does_not_end(
    start: Start, tmp_path: Path
) -> None:
    """Which is killed after a while."""
    script = "trap '' TERM; touch up; while :; do sleep 0.1; done"
    began_at = time.monotonic()
    running = start(
        "run",
        *ME,
        "--port=0",
        "--ready-cmd=test -e up",
        "--",
        "sh",
        "-c",
        script,
        cwd=tmp_path,
    )

    while "[422 invalid_request]" not in (line := running.stderr.readline()):
        assert line
    told_after = time.monotonic() - began_at
    running.communicate(timeout=10)

    assert told_after < 4 < time.monotonic() - began_at
    assert running.returncode == 1


def test_a_program_that_is_ended_before_it_is_ready_is_not_registered(
    start: Start, client: AgentRegistryClient, wait_until: Wait, tmp_path: Path
) -> None:
    """Though it takes its time, and becomes ready meanwhile."""
    script = "trap 'touch told' TERM; touch up; while :; do sleep 0.1; done"
    running = start(
        "run",
        *ME,
        "--ready-cmd",
        "test -e told",
        "--",
        "sh",
        "-c",
        script,
        cwd=tmp_path,
    )
    wait_until((tmp_path / "up").exists)

    running.terminate()
    wait_until((tmp_path / "told").exists)
    time.sleep(0.6)

    assert client.agents(include_dead=True) == ()


def test_a_registry_that_is_away_holds_nothing_up(
    start: Start,
    registry: RegistryProcess,
    client: AgentRegistryClient,
    wait_until: Wait,
) -> None:
    """The program starts; the agent is registered when the registry is back."""
    registry.kill()
    running = start("run", *ME, "--", *TALKS)
    up = running.stdout.readline()
    registry.start()

    wait_until(lambda: [agent.agent_id for agent in client.agents()] == ["me"], 5)

    assert up == "up\n"


def test_who_was_never_registered_is_not_said_to_be_listed(start: Start) -> None:
    """Where nobody answered from the start."""
    running = start("run", *ME, "--url=http://127.0.0.1:1", "--", "true")

    _, errors = running.communicate(timeout=20)

    assert "me left, but may be listed" in errors


@pytest.mark.parametrize(
    ("check", "script"),
    [([], "touch up"), (["--ready-cmd", "test -e up"], "touch up; exec sleep 9")],
)
def test_an_agent_that_is_refused_ends_its_program(
    start: Start, check: list[str], script: str, tmp_path: Path
) -> None:
    """Nobody would find it; without a check it does not even begin."""
    running = start(
        "run",
        *ME,
        "--port",
        "0",
        *check,
        "--",
        "sh",
        "-c",
        script,
        cwd=tmp_path,
    )

    _, errors = running.communicate(timeout=10)

    assert running.returncode == 1
    assert "port" in errors
    assert "retrying" not in errors
    assert (tmp_path / "up").exists() == bool(check)


def test_a_program_that_cannot_be_run_is_126_or_127(
    start: Start, client: AgentRegistryClient, tmp_path: Path
) -> None:
    """As shells have it."""
    (tmp_path / "text").write_bytes(b"\x00 no program")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "plain").touch()
    missing = start("run", *ME, "--", "no-such-program")
    no_program = start("run", *ME, "--", str(tmp_path / "text"))
    plain = start("run", *ME, "--", str(tmp_path / "plain"))

    assert "no-such-program: not found" in missing.communicate(timeout=10)[1]
    assert "Exec format error" in no_program.communicate(timeout=10)[1]
    assert "plain: not executable" in plain.communicate(timeout=10)[1]
    assert missing.returncode == 127
    assert (no_program.returncode, plain.returncode) == (126, 126)
    assert client.agents(include_dead=True) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--ready-port", "1", "--ready-cmd", "true"],
        ["--ready-port", "http"],
        ["--ready-port", "0"],
        ["--ready-port", "localhost:70000"],
        ["--metadata", "zone"],
        ["--id", "a b"],
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    invoke: Callable[..., Any], wrong: list[str]
) -> None:
    """Before anything is registered or run."""
    assert invoke("run", *ME, *wrong, "--", "true").exit_code == 2


def test_the_options_of_the_program_are_its_own(start: Start) -> None:
    """Also without the two dashes."""
    running = start("run", *ME, "--quiet", "echo", "--quiet", "--id")

    assert running.communicate(timeout=10) == ("--quiet --id\n", "")


@pytest.fixture
def unused_port() -> int:
    """Return a port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])
