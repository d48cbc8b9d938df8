"""`list`, `get` and `health`: what the registry knows."""

from typing import Annotated

import typer

from agent_registry_client.cli.advice import FAILED
from agent_registry_client.cli.options import (
    Json,
    OneId,
    Url,
    WithHost,
    WithMetadata,
    WithName,
    metadata_of,
)
from agent_registry_client.cli.output import print_agents, print_one
from agent_registry_client.client import AgentRegistryClient


def list_agents(
    *,
    name: WithName = None,
    host: WithHost = None,
    metadata: WithMetadata = None,
    include_dead: Annotated[
        bool,
        typer.Option("--include-dead", help="Also the dead that no sweep took."),
    ] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the agents that match, ordered by id."""
    agents = AgentRegistryClient(url).iter_agents(
        name=name,
        host=host,
        metadata=metadata_of(metadata),
        include_dead=include_dead,
    )
    # All of them first: half a list must not pass for a list.
    print_agents(list(agents), as_json=json)


def get(agent_id: OneId, *, url: Url = None, json: Json = False) -> None:
    """Tell of one agent, dead or alive."""
    print_one(AgentRegistryClient(url).get(agent_id), as_json=json)


def health(*, url: Url = None, json: Json = False) -> None:
    """Tell how the registry is.

    Exits with 1 when it is unwell.
    """
    told = AgentRegistryClient(url).health()
    print_one(told, as_json=json)
    if told.version is None:
        hint = "That is all it tells without a token that may read: "
        typer.echo(hint + "AGENT_REGISTRY_TOKEN.", err=True)
    if not told.ok:
        raise typer.Exit(FAILED)
