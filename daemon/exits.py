"""How the command ends: its statuses, and why a daemon could not start."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

#: systemd restarts after FAILED, and gives up after UNUSABLE (EX_CONFIG of
#: sysexits.h), which only an operator can mend.
FAILED = 1
UNUSABLE = 78


class StartupFailed(Exception):
    """The daemon cannot start; the text names the cause and the key.

    Attributes:
        lasting: starting again cannot help before somebody changes something.
    """

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


def give_up(reason: str, status: int) -> NoReturn:
    """End the command with one line on standard error."""
    typer.echo(f"agent-registryd: {reason}", err=True)
    raise typer.Exit(status)


def tell(result: str) -> None:
    """Print what was asked for; end the command if that cannot be."""
    unprinted = "what was asked for cannot be printed"
    if sys.stdout is None:  # to which typer prints without an error
        give_up(f"{unprinted}: standard output is closed", FAILED)
    try:
        typer.echo(result)
    except OSError as error:
        print_no_more()
        give_up(f"{unprinted}: {error.strerror}", FAILED)


def print_no_more() -> None:
    """Drop what is not printed: at the exit it would fail again, with status 120."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
