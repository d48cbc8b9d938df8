"""`watch`: the fleet, live."""

import json as json_text
import time
from collections.abc import Iterator
from typing import Annotated, Any, Protocol, Self

import typer

from agent_registry_client.cli.advice import printable
from agent_registry_client.cli.events import Event, Look, Watched
from agent_registry_client.cli.options import (
    Json,
    Url,
    WithHost,
    WithMetadata,
    WithName,
    metadata_of,
)
from agent_registry_client.cli.output import (
    cells,
    document,
    print_line,
    seconds_left,
    to_terminal,
)
from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.errors import RegistryError


class Shown(Protocol):
    """Where looks are shown; entered before the first, left after the last."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, look: Look) -> None:
        """Show one look."""

    def say(self, sentence: str) -> None:
        """Say something beside it."""


def watch(
    *,
    name: WithName = None,
    host: WithHost = None,
    metadata: WithMetadata = None,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="SECONDS",
            min=0.1,
            max=86_400,
            help="How often to look.",
        ),
    ] = 1.0,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show the fleet live, until Ctrl-C.

    Piped, prints a line for each change. Goes on while the registry is away, once
    it has answered.
    """
    asked = {"name": name, "host": host, "metadata": metadata_of(metadata)}
    seen = looks(AgentRegistryClient(url), asked, interval)
    first = next(seen)  # a registry that is not there is an error, and no screen
    with shown(as_json=json) as where:
        where.show(first)
        for look in seen:
            where.show(look)


def looks(
    client: AgentRegistryClient, asked: dict[str, Any], interval_seconds: float
) -> Iterator[Look]:
    """Look at the agents that match, the dead included, for ever.

    Raises:
        RegistryError: at the first look, or if it is of no use to try again.
    """
    watched = Watched()
    while True:
        began_at = time.monotonic()
        try:
            yield watched.saw(client.agents(**asked, include_dead=True))
        except RegistryError as error:
            yield watched.missed(error)
        time.sleep(max(0.0, began_at + interval_seconds - time.monotonic()))


def shown(*, as_json: bool) -> Shown:
    """Return where to show looks: on the screen, or line by line."""
    if as_json or not to_terminal():
        return Lines(as_json=as_json)
    from agent_registry_client.cli.screen import Screen  # noqa: PLC0415 - needs rich

    return Screen()


class Lines:
    """Prints each event as a line; what is said goes beside it, to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._line = self._as_json if as_json else self._as_columns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, look: Look) -> None:
        """Print what is new."""
        for event in look.events:
            print_line(self._line(event, look))

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        typer.echo(sentence, err=True)

    def _as_json(self, event: Event, _: Look) -> str:
        return json_text.dumps(document(event))

    def _as_columns(self, event: Event, look: Look) -> str:
        words = [f"{event.at:%H:%M:%S}", event.event]
        if event.agent:
            since_seconds = time.monotonic() - look.seen_at
            words += cells(event.agent, seconds_left(event.agent, since_seconds))
        if event.error:
            words.append(printable(event.error))
        return "\t".join(words)
