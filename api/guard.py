"""`POST /guard/release`: an operator's word against the guard's."""

import logging

from fastapi import FastAPI
from fastapi.responses import Response

from api import describe
from api.handover import hand
from store import AgentRegistryRepository

log = logging.getLogger(__name__)


def install(app: FastAPI, repo: AgentRegistryRepository) -> None:
    """Add the call that ends a hold."""

    @app.post("/guard/release", **describe.RELEASE)
    async def release() -> Response:
        """End a hold: who is held is dead now, and goes with the next sweep."""
        count = await hand(repo, repo.release_hold)
        log.warning(
            "An operator ended the hold of %d agents",
            count,
            extra={"action": "hold_released", "released": count},
        )
        return Response(status_code=204)
