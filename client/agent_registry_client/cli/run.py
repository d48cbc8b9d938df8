"""`run`: any program, of any language, as an agent."""

import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from agent_registry_client.cli import advice
from agent_registry_client.cli.options import (
    Host,
    Id,
    Metadata,
    Name,
    Port,
    Ttl,
    Url,
    metadata_of,
)
from agent_registry_client.cli.program import (
    Check,
    CommandSucceeds,
    Passing,
    PortAnswers,
    end,
    exit_status,
)
from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.errors import RegistryError
from agent_registry_client.registration import Registration

#: How often a program that is not ready yet is asked again.
READY_POLL_SECONDS = 0.2


def run(
    command: Annotated[
        list[str], typer.Argument(metavar="CMD...", help="What to run, behind a --.")
    ],
    *,
    agent_id: Id,
    name: Name,
    host: Host,
    port: Port,
    ttl: Ttl = None,
    metadata: Metadata = None,
    ready_port: Annotated[
        str | None,
        typer.Option(
            "--ready-port",
            metavar="[HOST:]PORT",
            help="Register once this port takes connections, on localhost by default.",
        ),
    ] = None,
    ready_cmd: Annotated[
        str | None,
        typer.Option(
            "--ready-cmd",
            metavar="COMMAND",
            help="Register once this shell command succeeds.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say only what goes wrong.")
    ] = False,
    url: Url = None,
) -> None:
    """Run a program as an agent while it lives.

    Passes signals on to it, and exits as it did (128 + N after signal N); 126 and 127
    when it cannot be run. On SIGTERM it is deregistered at once, else when it ended.
    A registry that is away holds nothing up.
    """
    if ready_port and ready_cmd:
        raise typer.BadParameter("--ready-port or --ready-cmd, not both")
    if shutil.which(command[0]) is None:
        _cannot_run(command[0])
    advice.log_to_stderr(logging.WARNING if quiet else logging.INFO)
    registration = AgentRegistryClient(url, deregister_on_sigterm=False).registered(
        agent_id,
        agent_name=name,
        host=host,
        port=port,
        ttl_seconds=ttl,
        metadata=metadata_of(metadata),
    )
    kept = Kept(registration)
    passing = Passing(kept.leave)
    ready = _ready(ready_port, ready_cmd)
    if ready is None:
        kept.join()
    elif ready_port and ready():
        _taken(ready_port)
    try:
        program = passing.start(command)
        if ready is not None:
            _join_when(ready, kept, program)
        status = exit_status(program.wait())
    except OSError as error:
        advice.complain(f"{command[0]}: {error.strerror}")
        status = advice.CANNOT_RUN
    finally:
        if ready is not None:
            ready.stop()
        kept.leave()
    raise typer.Exit(status)


def _cannot_run(command: str) -> NoReturn:
    if Path(command).exists() and os.sep in command:
        advice.complain(
            f"{command}: not executable", f"Is it a program? chmod +x {command}"
        )
        raise typer.Exit(advice.CANNOT_RUN)
    advice.complain(f"{command}: not found", "Is it installed, and on PATH?")
    raise typer.Exit(advice.NOT_FOUND)


def _taken(ready_port: str) -> NoReturn:
    advice.complain(
        f"something takes connections at {ready_port} before the program is started",
        "Does it run already? A second copy would deregister the first at its end.",
    )
    raise typer.Exit(advice.FAILED)


class Kept:
    """A registration that is begun once, and not after its end."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._joined = self._left = False

    def join(self) -> None:
        """Keep it registered from now on.

        Raises:
            RegistryProblem: the registry refuses it.
        """
        if not self._left:
            self._joined = True
            self._registration.start()

    def leave(self) -> None:
        """Deregister, within a second; also in a signal handler, also again."""
        self._left = True
        if self._joined:
            self._registration.leave()


def _join_when(ready: Check, kept: Kept, program: "subprocess.Popen[bytes]") -> None:
    while not ready():
        try:
            program.wait(READY_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
    try:
        kept.join()
    except RegistryError as error:  # nobody would find it: it is of no use
        advice.complain(error, advice.advice(error))  # now: the end may take a while
        end(program)
        raise typer.Exit(advice.status_of(error)) from None


def _ready(port: str | None, command: str | None) -> Check | None:
    if command:
        return CommandSucceeds(command)
    if not port:
        return None
    host, _, number = port.rpartition(":")
    if not (number.isdecimal() and 1 <= int(number) <= 65_535):  # noqa: PLR2004
        raise typer.BadParameter("--ready-port is [HOST:]PORT, from 1 to 65535")
    return PortAnswers(host.strip("[]") or "localhost", int(number))
