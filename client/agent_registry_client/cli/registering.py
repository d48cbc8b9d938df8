"""`register` and `deregister`: by hand, for one lease."""

import json as json_text
import logging

import typer

from agent_registry_client.cli.advice import (
    advice,
    complain,
    log_to_stderr,
    reason_of,
    status_of,
)
from agent_registry_client.cli.options import (
    Host,
    Id,
    Ids,
    Json,
    Metadata,
    Name,
    Port,
    Ttl,
    Url,
    metadata_of,
)
from agent_registry_client.cli.output import print_line, print_one
from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.errors import RegistryProblem


def register(
    *,
    agent_id: Id,
    name: Name,
    host: Host,
    port: Port,
    ttl: Ttl = None,
    metadata: Metadata = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Register an agent for one TTL. Nothing beats for it: see `run`."""
    log_to_stderr(logging.WARNING)  # a host that others cannot reach
    with AgentRegistryClient(url) as client:
        registered = client.register(
            agent_id,
            agent_name=name,
            host=host,
            port=port,
            ttl_seconds=ttl,
            metadata=metadata_of(metadata),
        )
    print_one(registered, as_json=json)


def deregister(agent_ids: Ids, *, url: Url = None, json: Json = False) -> None:
    """Remove agents, dead or alive.

    Stops at the first that is not known.
    """
    client = AgentRegistryClient(url)
    for agent_id in agent_ids:
        try:
            client.deregister(agent_id)
        except RegistryProblem as error:
            complain(f"{agent_id}: {reason_of(error)}", advice(error))
            raise typer.Exit(status_of(error)) from None
        line = json_text.dumps({"agent_id": agent_id}) if json else agent_id
        print_line(line)
