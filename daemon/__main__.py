"""`agent-registryd`: the command that serves."""

import importlib.metadata
import json
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from daemon.app import RegistryDaemon, StartupFailed
from daemon.config import Config, ConfigError, load_config
from daemon.logs import configure_logging
from store import failpoints

#: Exit statuses: systemd restarts after FAILED, and gives up after UNUSABLE
#: (EX_CONFIG of sysexits.h), which only an operator can mend.
FAILED = 1
UNUSABLE = 78

main = typer.Typer(add_completion=False, rich_markup_mode=None)


@main.callback(invoke_without_command=True)
def serve(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The configuration; else $AGENT_REGISTRY_CONFIG, else ./config.toml.",
        ),
    ] = None,
    check_config: Annotated[
        bool, typer.Option("--check-config", help="Print the configuration and exit.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """Know which agents are alive, and where: serve the registry over HTTP."""
    if version:
        typer.echo(importlib.metadata.version("agent-registry"))
        return
    try:
        loaded = load_config(config)
        if check_config:
            _print(loaded)
            return
        _serve(loaded)
    except ConfigError as error:
        _exit(str(error), UNUSABLE)
    except StartupFailed as error:
        _exit(str(error), UNUSABLE if error.lasting else FAILED)


def _serve(config: Config) -> None:
    configure_logging(config.log.level, config.log.format)
    failpoints.arm(os.environ.get("AGENTREG_FAIL", ""))
    daemon = RegistryDaemon(config)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda _number, _frame: daemon.finish())
    daemon.start()
    daemon.wait()
    if not daemon.stop():
        raise typer.Exit(FAILED)


def _print(config: Config) -> None:
    for section, values in config.model_dump().items():
        typer.echo(f"[{section}]")
        for key, value in values.items():
            # What is valid in JSON, of these types, is valid in TOML.
            typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")


def _exit(reason: str, status: int) -> None:
    typer.echo(f"agent-registryd: {reason}", err=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    main()
