"""The calls that come and go: register and deregister."""

import logging

from fastapi import FastAPI
from fastapi.responses import Response

from api import describe
from api.errors import agent_not_found, invalid
from api.grammar import AgentId, is_agent_id
from api.handover import hand
from api.models import (
    AgentRegistrationRequest,
    RegistrationAnswer,
    TtlLimits,
    json_response,
)
from store import AgentRecord, AgentRegistryRepository, Outcome

log = logging.getLogger(__name__)


def install(app: FastAPI, repo: AgentRegistryRepository, ttl: TtlLimits) -> None:
    """Add the calls that add agents to `repo` and remove them."""

    @app.post("/agents/register", **describe.REGISTER)
    async def register(registration: AgentRegistrationRequest) -> Response:
        """Register an agent, or replace its registration; renews its lease."""
        wanted = _record(registration, ttl)
        done = await hand(repo, repo.register, wanted)
        log.info(
            "Agent %s registered: %s",
            wanted.agent_id,
            done.outcome,
            extra={"action": "agent_registered", "agent_id": wanted.agent_id},
        )
        answer = RegistrationAnswer.to(done, repo.now())
        if done.outcome is Outcome.CREATED:
            location = {"Location": f"/agents/{wanted.agent_id}"}
            return json_response(answer.model_dump_json(), status=201, headers=location)
        return json_response(answer.model_dump_json())

    @app.delete("/agents/{agent_id}", **describe.DEREGISTER)
    async def deregister(agent_id: AgentId) -> Response:
        """Remove an agent."""
        if not is_agent_id(agent_id) or not await hand(repo, repo.delete, agent_id):
            raise agent_not_found()
        log.info(
            "Agent %s deregistered",
            agent_id,
            extra={"action": "agent_deregistered", "agent_id": agent_id},
        )
        return Response(status_code=204)


def _record(registration: AgentRegistrationRequest, ttl: TtlLimits) -> AgentRecord:
    given = registration.model_dump()
    if "ttl_seconds" not in registration.model_fields_set:
        given["ttl_seconds"] = ttl.default_seconds
    if not ttl.min_seconds <= given["ttl_seconds"] <= ttl.max_seconds:
        raise invalid(
            "ttl_seconds", f"must be from {ttl.min_seconds} to {ttl.max_seconds}"
        )
    return AgentRecord(**given)
