"""Options that several commands share."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.errors import RegistryError


def _ids(incomplete: str) -> list[str]:
    return _complete(incomplete, "agent_id")


def _names(incomplete: str) -> list[str]:
    return _complete(incomplete, "agent_name")


def _complete(incomplete: str, field: str) -> list[str]:
    client = AgentRegistryClient(timeout_seconds=1)
    try:
        found = {getattr(agent, field) for agent in client.agents(include_dead=True)}
    except RegistryError:
        return []
    return sorted(value for value in found if value.startswith(incomplete))


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The registry, or several with commas: by default "
        "$AGENT_REGISTRY_URL, else http://127.0.0.1:8790.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

OneId = Annotated[
    str, typer.Argument(metavar="ID", help="The agent's id.", autocompletion=_ids)
]
Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="The agents' ids.", autocompletion=_ids),
]

WithName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Only agents of this name.",
        autocompletion=_names,
    ),
]
WithHost = Annotated[
    str | None, typer.Option("--host", metavar="HOST", help="Only agents on this host.")
]
WithMetadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="Only agents that say this of themselves. May be repeated.",
    ),
]

Id = Annotated[
    str, typer.Option("--id", metavar="ID", help="Who: unique in the registry.")
]
Name = Annotated[
    str,
    typer.Option(
        "--name", metavar="NAME", help="What: shared by all that do the same."
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="HOST", help="Where others reach it: name or IP."),
]
Port = Annotated[int, typer.Option("--port", metavar="PORT", help="From 1 to 65535.")]
Ttl = Annotated[
    int | None,
    typer.Option(
        "--ttl",
        metavar="SECONDS",
        help="How long silence is borne: by default what the registry grants.",
    ),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="What it says of itself; KEY:=JSON for what is no text. May be repeated.",
    ),
]


def metadata_of(pairs: Iterable[str] | None) -> dict[str, Any] | None:
    """Return what KEY=VALUE and KEY:=JSON say.

    Raises:
        BadParameter: one of them is neither, or a key comes twice.
    """
    told: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        value: Any = text
        if key.endswith(":"):
            key = key[:-1]
            try:
                value = json.loads(text)
            except ValueError:
                raise typer.BadParameter(f"{pair!r}: no JSON behind :=") from None
        if not key or not equals or key in told:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE, or KEY comes twice")
        told[key] = value
    return told or None
