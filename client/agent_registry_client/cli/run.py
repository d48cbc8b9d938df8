"""`run`: any program, of any language, as an agent."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated

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
    CommandSucceeds,
    Passing,
    exit_status,
    port_answers,
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
        advice.complain(f"{command[0]}: not found, or not executable")
        raise typer.Exit(advice.NOT_FOUND)
    _log_to_stderr(logging.WARNING if quiet else logging.INFO)
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
    try:
        program = passing.start(command)
        if ready is not None:
            _join_when(ready, kept, program)
        status = exit_status(program.wait())
    except OSError as error:
        advice.complain(f"{command[0]}: {error.strerror}")
        status = advice.CANNOT_RUN
    finally:
        kept.leave()
    raise typer.Exit(status)


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


def _join_when(
    ready: Callable[[], bool], kept: Kept, program: "subprocess.Popen[bytes]"
) -> None:
    while not ready():
        try:
            program.wait(READY_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
    try:
        kept.join()
    except RegistryError:  # nobody would find it: it is of no use
        program.terminate()
        program.wait()
        raise


def _ready(port: str | None, command: str | None) -> Callable[[], bool] | None:
    if command:
        return CommandSucceeds(command)
    if not port:
        return None
    host, _, number = port.rpartition(":")
    if not number.isdecimal():
        raise typer.BadParameter("--ready-port is [HOST:]PORT")
    return lambda: port_answers(host.strip("[]") or "localhost", int(number))


def _log_to_stderr(level: int) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=level, format="agent-registry: %(message)s"
    )
