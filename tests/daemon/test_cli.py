"""The command."""

import os
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from daemon.cli import main
from daemon.config import Config
from daemon.listener import bind
from store import create_storage_backend

Run = Callable[..., Result]
COMMAND = [sys.executable, "-W", "error", "-m", "daemon"]
SIGNALS = [signal.SIGTERM, signal.SIGINT]
HANDLED = [*SIGNALS, signal.SIGHUP]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, restored_logging: None) -> Iterator[Run]:
    """Return a function that runs the command to its end, here in the test's folder."""
    del restored_logging
    kept = {number: signal.getsignal(number) for number in HANDLED}

    def run(*arguments: str, **environ: str) -> Result:
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
        return CliRunner().invoke(main, arguments)

    yield run
    for number, handler in kept.items():
        signal.signal(number, handler)


def _foreign() -> None:
    database = sqlite3.connect("notes.db")
    database.execute("CREATE TABLE notes (note TEXT)")
    database.close()


def _contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path.cwd().iterdir()}


def test_the_version_is_that_of_the_distribution(run: Run) -> None:
    """It is printed alone, for programs to read."""
    done = run("--version")

    assert (done.exit_code, done.stdout) == (0, version("agent-registry") + "\n")


def test_the_help_names_every_option(run: Run) -> None:
    """And where the configuration is sought."""
    done = run("--help")

    assert done.exit_code == 0
    for word in ("--config", "--check-config", "--version", "AGENT_REGISTRY_CONFIG"):
        assert word in done.stdout


def test_check_config_prints_what_would_be_served_with(run: Run) -> None:
    """As TOML, the environment and the file taken in; nothing is opened."""
    url = 'sqlite:///a "quoted" \\ é name.db'
    Path("my.toml").write_text("[leases]\nsweep_interval_seconds = 2.5\n")

    done = run("--config", "my.toml", "--check-config", AGENT_REGISTRY_STORE__URL=url)

    assert (done.exit_code, done.stderr) == (0, "")
    expected = Config(store={"url": url}, leases={"sweep_interval_seconds": 2.5})
    assert tomllib.loads(done.stdout) == expected.model_dump()
    assert [path.name for path in Path.cwd().iterdir()] == ["my.toml"]


@pytest.mark.parametrize("arguments", [["--check-config"], [], ["backup", "b.db"]])
def test_a_url_that_names_no_store_is_refused_by_key_and_scheme(
    run: Run, arguments: list[str]
) -> None:
    """As at a start; the password in it came into the journal."""
    done = run(*arguments, AGENT_REGISTRY_STORE__URL="postgresql://user:secret@db/d")

    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr == (
        "agent-registryd: store.url: postgresql://... names no store: write "
        "sqlite:///relative.db or sqlite:////absolute/path.db "
        "(from AGENT_REGISTRY_STORE__URL)\n"
    )


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AGENT_REGISTRY_CONFIG": "gone.toml"}, "gone.toml cannot be read"),
        ({"AGENT_REGISTRY_SERVER__PORT": "http"}, "server.port: "),
        ({"AGENT_REGISTRY_PORT": "9000"}, "AGENT_REGISTRY_PORT is no known key"),
        ({"AGENT_REGISTRY_STORE__URL": "mysql:"}, "names no store"),
        ({"AGENT_REGISTRY_STORE__URL": "sqlite:///notes.db"}, "another program"),
        ({"AGENT_REGISTRY_STORE__URL": "sqlite:///torn.db"}, "not a SQLite database"),
        ({"AGENT_REGISTRY_STORE__URL": "sqlite:///gone/r.db"}, "does not exist"),
    ],
)
def test_what_only_an_operator_can_mend_is_one_line_and_status_78(
    run: Run, environ: dict[str, str], reason: str
) -> None:
    """No traceback, and nothing was touched."""
    _foreign()
    Path("torn.db").write_text("torn")
    before = _contents()

    done = run(**{"AGENT_REGISTRY_SERVER__PORT": "0"} | environ)

    assert done.exit_code == 78
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("agent-registryd: ")
    assert reason in line
    assert _contents() == before


def test_a_taken_port_is_one_line_and_status_1(run: Run) -> None:
    """It may be free again in a second, so that systemd should try again."""
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        done = run(AGENT_REGISTRY_SERVER__PORT=str(port))

    assert done.exit_code == 1
    assert done.stderr == (
        f"agent-registryd: cannot listen on 127.0.0.1 port {port}: "
        "Address already in use (server.host, server.port)\n"
    )
    assert _contents() == {}


def test_the_process_itself_says_one_line_too() -> None:
    """Nothing of Python shows when a start fails."""
    done = subprocess.run(
        [*COMMAND, "--config", "gone.toml"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        "agent-registryd: gone.toml cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("output", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "standard output is closed")],
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--check-config"],
        ["--version"],
        ["backup", "backup.db"],
        ["token", "list", "--file", "credentials.toml"],
    ],
)
def test_what_cannot_be_printed_is_one_line_and_status_1(
    arguments: list[str], output: str, reason: str
) -> None:
    """No traceback, and nobody takes it for an answer."""
    database = create_storage_backend().database
    database.open()
    database.close()
    Path("credentials.toml").write_text("# nobody\n")
    Path("credentials.toml").chmod(0o600)

    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {output}', "sh", *COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == (
        f"agent-registryd: what was asked for cannot be printed: {reason}\n"
    )


def test_a_fault_that_nobody_foresaw_is_a_plain_traceback() -> None:
    """Without the frames and colours of a terminal, which journals do not show."""
    environ = os.environ | {"AGENTREG_FAIL": "nowhere:kill"}

    done = subprocess.run(
        COMMAND, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("\nValueError: 'nowhere:kill' arms no failpoint\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_command_with_status_0(number: signal.Signals) -> None:
    """What it says first is where it serves, what it says last is that it stopped."""
    with subprocess.Popen(
        COMMAND,
        env={"PATH": os.environ["PATH"], "AGENT_REGISTRY_SERVER__PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        ready = process.stderr.readline()
        process.send_signal(number)
        rest = process.stderr.read()

    assert f", pid {process.pid}, agents in agent-registry.db" in ready
    assert rest.endswith(": Stopped\n")
    assert process.returncode == 0


def test_a_hangup_reads_the_credentials_again_and_serves_on() -> None:
    """It ended the process before there was anything to reload."""
    Path("credentials.toml").write_text("# nobody\n")
    Path("credentials.toml").chmod(0o600)
    environ = {
        "PATH": os.environ["PATH"],
        "AGENT_REGISTRY_SERVER__PORT": "0",
        "AGENT_REGISTRY_AUTH__MODE": "tokens",
        "AGENT_REGISTRY_AUTH__FILE": "credentials.toml",
    }
    with subprocess.Popen(
        COMMAND, env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        started = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(signal.SIGHUP)
        lines = iter(process.stderr.readline, "")
        reloaded = next(line for line in lines if "Credentials read" in line)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()

    assert "Credentials read" in started[0]
    assert "Ready on" in started[1]
    assert "0 tokens, 0 certificates" in reloaded
    assert rest.endswith(": Stopped\n")
    assert process.returncode == 0
