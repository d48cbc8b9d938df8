"""`agent-registryd token create`, `list` and `revoke`."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from api.access import Role
from daemon import issuing
from daemon.config import ConfigError, load_config
from daemon.credentials import TokenEntry, is_expired, sentences
from daemon.exits import FAILED, UNUSABLE, give_up, print_no_more, tell
from daemon.issuing import Grant, UnknownToken
from daemon.secret_files import SecretUnusable
from store.clock import to_the_second, utcnow

tokens = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smhdw])", text)
    if found is None:
        raise typer.BadParameter("write a number and s, m, h, d or w, such as 90d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


_File = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The credentials; else the configuration's auth.file."
    ),
]


@tokens.command("create")
def create(
    context: typer.Context,
    *,
    principal: Annotated[
        str, typer.Option(metavar="NAME", help="Whom the token stands for.")
    ],
    role: Annotated[
        list[Role], typer.Option(help="What it may do; can be given several times.")
    ],
    agents: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Ids of agents that it may register, beat and remove, such as "
            "'billing-*'; with the role agent. Can be given several times.",
        ),
    ] = None,
    expires_in: Annotated[
        timedelta | None,
        typer.Option(
            metavar="TIME",
            parser=_duration,
            help="How long it is valid, such as 12h or 90d; else until revoked.",
        ),
    ] = None,
    file: _File = None,
) -> None:
    """Make a token, print it, and add what it hashes to to the credentials."""
    now = utcnow()
    expires_at = None if expires_in is None else now + expires_in
    grant = Grant(principal, role, agents or [], expires_at)
    try:
        token, entry = issuing.new_token(grant, now)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(sentences(error))) from None
    unprinted = "the token cannot be printed, and is not valid"
    with _told_by_status(context, file) as found:
        if sys.stdout is None:  # to which typer prints without an error
            give_up(f"{unprinted}: standard output is closed", FAILED)
        issuing.add(found, entry)
        try:
            typer.echo(token)
        except OSError as error:
            # Nobody has seen it, so nobody would think of revoking it.
            issuing.revoke(found, [entry.id])
            print_no_more()
            give_up(f"{unprinted}: {error.strerror}", FAILED)
        typer.echo(
            f"Token {entry.id} of {entry.principal} is in {found}. "
            "It is printed this once only.",
            err=True,
        )


@tokens.command("list")
def list_tokens(
    context: typer.Context,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an array for programs.")
    ] = False,
    file: _File = None,
) -> None:
    """List the tokens, without what they hash to."""
    with _told_by_status(context, file) as found:
        entries = issuing.read(found).tokens
    if as_json:
        told = [entry.model_dump(mode="json", exclude={"hash"}) for entry in entries]
        tell(json.dumps(told, indent=2))
        return
    head = ("ID", "PRINCIPAL", "ROLES", "AGENTS", "CREATED", "EXPIRES")
    rows = [head, *map(_row, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    tell("\n".join("  ".join(row).rstrip() for row in cells))


@tokens.command("revoke")
def revoke(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As in the list.")],
    *,
    file: _File = None,
) -> None:
    """Remove tokens; a daemon that runs refuses them within a second."""
    with _told_by_status(context, file) as found:
        issuing.revoke(found, ids)
        typer.echo(f"Revoked in {found}: {', '.join(ids)}", err=True)


@contextmanager
def _told_by_status(context: typer.Context, file: Path | None) -> Iterator[Path]:
    """Yield the credentials file; what goes wrong with it ends the command."""
    try:
        yield file or _configured(context.obj)
    except (ConfigError, SecretUnusable) as error:
        give_up(str(error), UNUSABLE)
    except (UnknownToken, OSError) as error:
        give_up(str(error), FAILED)


def _configured(config: Path | None) -> Path:
    file = load_config(config).auth.file
    if not file:
        raise ConfigError("auth.file names no credentials: set it, or give --file")
    return Path(file)


def _row(entry: TokenEntry) -> tuple[str, ...]:
    expires = "never"
    if entry.expires_at is not None:
        expires = to_the_second(entry.expires_at)
        expires += " (expired)" if is_expired(entry, utcnow()) else ""
    return (
        entry.id,
        entry.principal,
        ",".join(entry.roles),
        ",".join(entry.agents) or "-",
        to_the_second(entry.created_at),
        expires,
    )
