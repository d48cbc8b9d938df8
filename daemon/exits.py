"""How the command ends: its statuses, and why a daemon could not start."""

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
