"""`POST /guard/release`: an operator's word against the guard's."""

from fastapi import FastAPI
from fastapi.responses import Response

from api import audit, describe
from api.access import CallerOf
from api.handover import hand
from store import AgentRegistryRepository


def install(app: FastAPI, repo: AgentRegistryRepository) -> None:
    """Add the call that ends a hold."""

    @app.post("/guard/release", **describe.RELEASE)
    async def release(caller: CallerOf) -> Response:
        """End a hold: who is held is dead now, and goes with the next sweep."""
        count = await hand(repo, repo.release_hold)
        audit.released(caller, count)
        return Response(status_code=204)
