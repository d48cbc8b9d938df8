"""The calls that renew leases: one agent's heartbeat, and one node's for all of its."""

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from api import describe
from api.access import CallerOf
from api.beats import HeartbeatGatherer
from api.body import refuse_body
from api.budget import Budget
from api.errors import agent_not_found, forbidden
from api.grammar import AgentId, is_agent_id
from api.handover import hand
from api.models import (
    BulkHeartbeat,
    BulkHeartbeatAnswer,
    HeartbeatAnswer,
    json_response,
)
from store import AgentRegistryRepository, NotOwner

#: Bytes of bulk heartbeats that may wait for the writer at once: 600,000 ids, which it
#: takes five seconds for.
_MAX_WAITING_BYTES = 64 * 1024 * 1024
#: What an id costs beside its letters, which are there twice: in the body too.
_ID_BYTES = 64


def install(
    app: FastAPI,
    repo: AgentRegistryRepository,
    beats: HeartbeatGatherer,
    *,
    heard: Callable[[int, int], None],
) -> None:
    """Add the calls that renew leases in `repo`."""
    waiting = Budget(_MAX_WAITING_BYTES)

    # The lane in front of the application answers most of these: see api.lane.
    @app.post("/agents/{agent_id}/heartbeat", **describe.HEARTBEAT)
    async def heartbeat(
        agent_id: AgentId, request: Request, caller: CallerOf
    ) -> Response:
        """Renew an agent's lease; unknown agents are told to register again."""
        await refuse_body(request, "a heartbeat")
        if not is_agent_id(agent_id):
            raise agent_not_found()
        caller.require([agent_id])
        lease = await beats.renew(agent_id, caller.owner)
        return json_response(HeartbeatAnswer.render(agent_id, lease))

    @app.post("/agents/heartbeats", **describe.BULK_HEARTBEAT)
    async def bulk_heartbeat(bulk: BulkHeartbeat, caller: CallerOf) -> Response:
        """Renew the leases of many agents at once, all or none."""
        ids = bulk.agent_ids
        caller.require(ids, tell_places=True)
        with waiting.taken(_bytes_of(ids)):
            try:
                unknown = await hand(repo, repo.renew_all, ids, caller.owner)
            except NotOwner as error:
                foreign = error.agent_ids
                refused = [place for place, one in enumerate(ids) if one in foreign]
                raise forbidden(refused) from None
        renewed = len(set(ids)) - len(unknown)
        heard(renewed, len(unknown))
        answer = BulkHeartbeatAnswer(renewed=renewed, unknown=unknown)
        return json_response(answer.model_dump_json())


def _bytes_of(agent_ids: list[str]) -> int:
    return 2 * sum(map(len, agent_ids)) + _ID_BYTES * len(agent_ids)
