"""`wait`: until enough agents are alive."""

import time
from typing import Annotated

import typer

from agent_registry_client.cli.advice import FAILED, advice, complain, status_of
from agent_registry_client.cli.options import (
    Json,
    Url,
    WithHost,
    WithMetadata,
    WithName,
    metadata_of,
)
from agent_registry_client.cli.output import print_agents
from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.errors import RegistryError
from agent_registry_client.models import AgentInfo

#: How often the registry is asked.
POLL_SECONDS = 0.5


def wait(
    *,
    name: WithName = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, help="So many must be alive.")
    ] = 1,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="Give up after this."),
    ] = 60.0,
    host: WithHost = None,
    metadata: WithMetadata = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Wait until enough agents are alive.

    Lists them. Also waits for a registry that is not there yet.
    """
    give_up_at = time.monotonic() + timeout
    client = AgentRegistryClient(url, timeout_seconds=min(5.0, timeout + 0.5))
    wanted = metadata_of(metadata)
    while True:
        found: list[AgentInfo] = []
        error: RegistryError | None = None
        try:
            found.extend(client.agents(name=name, host=host, metadata=wanted))
        except RegistryError as failed:
            if not failed.temporary:
                raise
            error = failed
        alive = [agent for agent in found if agent.is_alive]
        if len(alive) >= count:
            print_agents(alive, as_json=json)
            return
        left_seconds = give_up_at - time.monotonic()
        if left_seconds <= 0:
            _give_up(f"after {timeout:g} s, {len(alive)} of {count} are alive", error)
        time.sleep(min(POLL_SECONDS, left_seconds))


def _give_up(said: str, error: RegistryError | None) -> None:
    if error is not None:
        complain(f"{said}: {error}", advice(error))
        raise typer.Exit(status_of(error))
    complain(said, "`agent-registry watch` shows them come and go.")
    raise typer.Exit(FAILED)
