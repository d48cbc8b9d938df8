"""`POST /guard/release`: an operator's word against the guard's."""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from api import audit, describe
from api.access import CallerOf
from api.body import refuse_body
from api.handover import hand
from store import AgentRegistryRepository


def install(app: FastAPI, repo: AgentRegistryRepository) -> None:
    """Add the call that ends a hold."""

    @app.post("/guard/release", **describe.RELEASE)
    async def release(request: Request, caller: CallerOf) -> Response:
        """End a hold: who is held is dead now, and goes with the next sweep."""
        await refuse_body(request, "a release")
        count = await hand(repo, repo.release_hold)
        audit.released(caller, count)
        return Response(status_code=204)
