"""`agent-registryd`: the command that serves, and the others beside it."""

import gc
import importlib.metadata
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from daemon import commands
from daemon.app import RegistryDaemon
from daemon.config import Config, ConfigError, load_config
from daemon.exits import FAILED, UNUSABLE, StartupFailed, give_up, tell
from daemon.logs import configure_logging
from daemon.tokens import tokens
from store import StoreError, StoreUnusable, failpoints

main = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
main.add_typer(tokens, name="token", help="Create, list and revoke tokens.")

_ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The configuration; else $AGENT_REGISTRY_CONFIG, else ./config.toml.",
    ),
]
_BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]

#: How many more there are before the garbage collector looks through the youngest.
_OBJECTS_BETWEEN_COLLECTIONS = 5_000


@main.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    *,
    config: _ConfigFile = None,
    check_config: Annotated[
        bool, typer.Option("--check-config", help="Print the configuration and exit.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """Know which agents are alive, and where: serve the registry over HTTP."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    if version:
        tell(importlib.metadata.version("agent-registry"))
        return
    try:
        loaded = load_config(config)
        if check_config:
            tell("\n".join(_lines(loaded)))
            return
        _serve(loaded)
    except ConfigError as error:
        give_up(str(error), UNUSABLE)
    except StartupFailed as error:
        give_up(str(error), UNUSABLE if error.lasting else FAILED)


@main.command("backup")
def back_up(
    context: typer.Context, file: _BackupFile, *, config: _ConfigFile = None
) -> None:
    """Copy the database to FILE, while the daemon serves it or not."""
    _run(commands.back_up, config or context.obj, file)


@main.command("restore")
def restore(
    context: typer.Context, file: _BackupFile, *, config: _ConfigFile = None
) -> None:
    """Put the backup FILE in the place of the database, which is put aside."""
    _run(commands.restore, config or context.obj, file)


def _run(
    command: Callable[[Config, Path], str], config: Path | None, file: Path
) -> None:
    try:
        tell(command(load_config(config), file))
    except (ConfigError, StoreUnusable) as error:
        give_up(str(error), UNUSABLE)
    except (StoreError, OSError) as error:
        give_up(str(error), FAILED)


def _serve(config: Config) -> None:
    configure_logging(config.log.level, config.log.format, config.log.lines_per_minute)
    failpoints.arm(os.environ.get("AGENTREG_FAIL", ""))
    daemon = RegistryDaemon(config)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda _number, _frame: daemon.finish())
    signal.signal(signal.SIGHUP, lambda _number, _frame: daemon.reload())
    daemon.start()
    _keep_what_is_there()
    daemon.wait()
    if not daemon.stop():
        raise typer.Exit(FAILED)


def _keep_what_is_there() -> None:
    """Let the garbage collector look no more through what lives as long as we do.

    A full collection took 50 ms, every second under registrations, for which no beat
    was heard: nearly all of it on what the imports made. Of what is made since, next to
    nothing is garbage in cycles: to look once in 5,000 objects, and not in 700, takes
    2 % less of a registration.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def _lines(config: Config) -> Iterator[str]:
    for section, values in config.model_dump().items():
        yield f"[{section}]"
        for key, value in values.items():
            # What is valid in JSON, of these types, is valid in TOML.
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
