"""The commands, under one name."""

from typing import Annotated

import typer

from agent_registry_client.cli.advice import Advising
from agent_registry_client.cli.demo import demo
from agent_registry_client.cli.fleet import get, health, list_agents
from agent_registry_client.cli.registering import deregister, register
from agent_registry_client.cli.run import run
from agent_registry_client.cli.wait import wait
from agent_registry_client.cli.watch import watch
from agent_registry_client.version import __version__

app = typer.Typer(
    cls=Advising,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Example: agent-registry demo",
)


@app.callback(invoke_without_command=True)
def agent_registry(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """See and keep agents in an agent registry.

    Exit status: 0 done, 1 the answer is no, 2 wrong usage, 3 no registry answers.
    """
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        raise typer.BadParameter("which command? See --help.")


def _add(name: str, command: object, example: str, **settings: object) -> None:
    adding = app.command(
        name, epilog=f"Example: agent-registry {example}", context_settings=settings
    )
    adding(command)  # type: ignore[type-var] # any function


_add("list", list_agents, "list --name Summariser --metadata zone=eu")
_add("get", get, "get summariser-1 --json")
_add(
    "register",
    register,
    "register --id summariser-1 --name Summariser --host 10.0.0.7 --port 8001",
)
_add("deregister", deregister, "deregister summariser-1")
_add(
    "run",
    run,
    "run --id web-1 --name Web --host 10.0.0.7 --port 8001 --ready-port 8001 "
    "-- node server.js",
    allow_interspersed_args=False,  # the options of CMD are its own
)
_add("wait", wait, "wait --name Summariser --count 3 --timeout 60")
_add("watch", watch, "watch --name Summariser")
_add("health", health, "health --json")
_add("demo", demo, "demo")
