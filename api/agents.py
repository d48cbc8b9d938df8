"""The calls that come and go: register and deregister."""

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from api import audit, describe
from api.access import CallerOf
from api.body import refuse_body
from api.errors import agent_not_found
from api.grammar import AgentId, is_agent_id
from api.handover import hand
from api.models import AgentRegistrationRequest, json_response
from api.registering import Registrar
from store import AgentRegistryRepository


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
    async def register(
        registration: AgentRegistrationRequest, request: Request, caller: CallerOf
    ) -> Response:
        """Register an agent, or replace its registration; renews its lease."""
        done = await registrar.register(registration, caller)
        new = {}
        if done.location is not None:
            new["Location"] = request.scope.get("root_path", "") + done.location
        return json_response(done.body, status=done.status, headers=new)

    @app.delete("/agents/{agent_id}", **describe.DEREGISTER)
    async def deregister(
        agent_id: AgentId, request: Request, caller: CallerOf
    ) -> Response:
        """Remove an agent."""
        await refuse_body(request, "a removal")
        if not is_agent_id(agent_id):
            raise agent_not_found()
        caller.require([agent_id])
        if not await hand(repo, repo.delete, agent_id, caller.owner):
            raise agent_not_found()
        deregistered()
        audit.deregistered(caller, agent_id)
        return Response(status_code=204)
