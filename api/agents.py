"""The calls that come and go: register and deregister."""

import logging
from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import Response

from api import describe
from api.errors import agent_not_found
from api.grammar import AgentId, is_agent_id
from api.handover import hand
from api.models import AgentRegistrationRequest
from api.registering import Registrar
from store import AgentRegistryRepository

log = logging.getLogger(__name__)


def install(
    app: FastAPI,
    repo: AgentRegistryRepository,
    registrar: Registrar,
    *,
    deregistered: Callable[[], None],
) -> None:
    """Add the calls that add agents to `repo` and remove them."""

    # The lane in front of the application answers most of these: see api.lane.
    @app.post("/agents/register", **describe.REGISTER)
    async def register(registration: AgentRegistrationRequest) -> Response:
        """Register an agent, or replace its registration; renews its lease."""
        return await registrar.register(registration)

    @app.delete("/agents/{agent_id}", **describe.DEREGISTER)
    async def deregister(agent_id: AgentId) -> Response:
        """Remove an agent."""
        if not is_agent_id(agent_id) or not await hand(repo, repo.delete, agent_id):
            raise agent_not_found()
        deregistered()
        log.info(
            "Agent %s deregistered",
            agent_id,
            extra={"action": "agent_deregistered", "agent_id": agent_id},
        )
        return Response(status_code=204)
