"""The command `agent-registryd token`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from freezegun import freeze_time
from typer.testing import CliRunner, Result

from daemon.authentication import FileCredentials
from daemon.cli import main

Run = Callable[..., Result]
FILE = ("--file", "credentials.toml")
AGENT = ("--principal", "billing", "--role", "agent", "--agents", "billing-*")


@pytest.fixture
def run() -> Run:
    """Return a function that runs `agent-registryd token`, at noon."""

    def run(*arguments: str) -> Result:
        with freeze_time("2026-11-25T12:00:00Z"):
            return CliRunner().invoke(main, ["token", *arguments])

    return run


def _ids(run: Run) -> list[str]:
    return [one["id"] for one in json.loads(run("list", "--json", *FILE).stdout)]


def test_a_token_is_printed_alone_and_once(run: Run) -> None:
    """On standard output, for a script to read; all else on standard error."""
    done = run("create", *AGENT, *FILE)

    (token_id,) = _ids(run)
    token = done.stdout.strip()
    assert done.exit_code == 0
    assert re.fullmatch(r"areg_[A-Za-z0-9_-]{43}\n", done.stdout)
    assert done.stderr == (
        f"Token {token_id} of billing is in credentials.toml. "
        "It is printed this once only.\n"
    )
    assert token not in run("list", *FILE).output
    assert token not in Path("credentials.toml").read_text()


@pytest.mark.parametrize(
    ("output", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "standard output is closed")],
)
def test_a_token_that_cannot_be_printed_is_taken_back(
    run: Run, output: str, reason: str
) -> None:
    """It would be valid, and nobody have it."""
    run("create", *AGENT, *FILE)
    before = _ids(run)
    command = [sys.executable, "-m", "daemon", "token", "create", *AGENT, *FILE]
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {output}', "sh", *command],
        env=environ,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"agent-registryd: the token cannot be printed, and is not valid: {reason}\n"
    )
    assert _ids(run) == before


def test_the_daemon_knows_what_was_granted(run: Run) -> None:
    """Roles and patterns can be given several times."""
    done = run(
        "create", *AGENT, "--role", "read", "--agents", "pay-*", "--expires-in", "90d",
        *FILE,
    )  # fmt: skip

    credentials = FileCredentials(Path("credentials.toml"))
    credentials.load()
    with freeze_time("2027-02-23T11:59:59Z"):
        known = credentials.of_token(done.stdout.strip().encode())
    with freeze_time("2027-02-23T12:00:00Z"):
        expired = credentials.of_token(done.stdout.strip().encode())
    assert known is not None
    assert known.roles == {"agent", "read"}
    assert known.agents == ("billing-*", "pay-*")
    assert expired is None


def test_the_list_is_a_table(run: Run) -> None:
    """With all that a token is for, and no hash."""
    run("create", *AGENT, "--role", "read", "--expires-in", "1s", *FILE)
    run("create", "--principal", "ops", "--role", "operator", *FILE)
    first, second = _ids(run)

    with freeze_time("2026-11-25T12:00:01Z"):
        done = CliRunner().invoke(main, ["token", "list", *FILE])

    made, ended = "2026-11-25T12:00:00Z", "2026-11-25T12:00:01Z (expired)"
    assert [re.split(" {2,}", line) for line in done.stdout.splitlines()] == [
        ["ID", "PRINCIPAL", "ROLES", "AGENTS", "CREATED", "EXPIRES"],
        [first, "billing", "agent,read", "billing-*", made, ended],
        [second, "ops", "operator", "-", made, "never"],
    ]


def test_the_list_can_be_read_by_programs(run: Run) -> None:
    """The same as JSON."""
    run("create", *AGENT, "--expires-in", "12h", *FILE)

    (token,) = json.loads(run("list", "--json", *FILE).stdout)

    assert token | {"id": ""} == {
        "id": "",
        "principal": "billing",
        "roles": ["agent"],
        "agents": ["billing-*"],
        "created_at": "2026-11-25T12:00:00Z",
        "expires_at": "2026-11-26T00:00:00Z",
    }


def test_revoked_tokens_are_gone(run: Run) -> None:
    """Several at once."""
    for _ in range(3):
        run("create", *AGENT, *FILE)
    first, second, third = _ids(run)

    done = run("revoke", first, third, *FILE)

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"Revoked in credentials.toml: {first}, {third}\n"
    assert _ids(run) == [second]


def test_the_file_is_the_configured_one() -> None:
    """Where none is given; by the same configuration as the daemon's."""
    Path("my.toml").write_text('[auth]\nmode = "tokens"\nfile = "from-my.toml"\n')

    done = CliRunner().invoke(main, ["--config", "my.toml", "token", "create", *AGENT])

    assert done.exit_code == 0
    assert {path.name for path in Path().iterdir()} == {"from-my.toml", "my.toml"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--principal", "a b", "--role", "read"], "principal: String should match"),
        (["--principal", "a", "--role", "agent"], 'the role "agent" takes patterns'),
        (["--principal", "a", "--role", "chief"], "'chief' is not one of 'admin'"),
        (["--principal", "a"], "Missing option '--role'"),
        (["--role", "read"], "Missing option '--principal'"),
        ([*AGENT, "--agents", "x?"], "agents.1: String should match pattern"),
        ([*AGENT, "--expires-in", "0d"], "write a number and s, m, h, d or w"),
        ([*AGENT, "--expires-in", "1 year"], "write a number and s, m, h, d or w"),
    ],
)
def test_a_wrong_option_is_status_2(
    run: Run, arguments: list[str], reason: str
) -> None:
    """As for every command; no file is made."""
    done = run("create", *arguments, *FILE)

    assert (done.exit_code, done.stdout) == (2, "")
    assert reason in re.sub(r"\s+", " ", done.stderr)
    assert [*Path().iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["list"], 78, "auth.file names no credentials: set it, or give --file"),
        (["list", "--file", "gone.toml"], 78, "gone.toml cannot be read: No such file"),
        (["revoke", "x", "--file", "gone.toml"], 78, "gone.toml cannot be read"),
        (["list", "--file", "open.toml"], 78, "chmod 600 open.toml"),
        (["create", *AGENT, "--file", "open.toml"], 78, "chmod 600 open.toml"),
        (["create", *AGENT, "--file", "gone/c.toml"], 1, "No such file or directory"),
        (["revoke", "nope", "--file", "ours.toml"], 1, "in ours.toml has the id nope"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(
    run: Run, arguments: list[str], status: int, reason: str
) -> None:
    """The same statuses as the other commands."""
    for name, mode in (("open.toml", 0o644), ("ours.toml", 0o600)):
        Path(name).write_text("# nobody\n")
        Path(name).chmod(mode)

    done = run(*arguments)

    assert (done.exit_code, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("agent-registryd: ")
    assert reason in line
