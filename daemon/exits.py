"""The exit statuses of the command, and leaving it with one."""

from typing import NoReturn

import typer

#: systemd restarts after FAILED, and gives up after UNUSABLE (EX_CONFIG of
#: sysexits.h), which only an operator can mend.
FAILED = 1
UNUSABLE = 78


def give_up(reason: str, status: int) -> NoReturn:
    """End the command with one line on standard error."""
    typer.echo(f"agent-registryd: {reason}", err=True)
    raise typer.Exit(status)
