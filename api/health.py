"""`GET /health`: whether the registry does its work, and how its fleet is."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api import describe
from api.errors import RETRY_AFTER_SECONDS, ProblemError, problem_response
from api.grammar import Instant
from api.handover import hand
from api.models import json_response
from store import AgentRegistryRepository, StoreError


class SweepHealth(BaseModel):
    """How the removal of expired agents goes."""

    interval_seconds: float
    last_finished_at: Instant | None = Field(description="Null before the first.")
    age_seconds: float = Field(
        description="Seconds since the last good sweep, or since the start."
    )
    removed: int = Field(description="Agents the last good sweep removed.")
    runs: int = Field(description="Sweeps since the start, failed ones included.")
    failures: int = Field(description="Sweeps that failed since the start.")
    last_error: str | None = Field(
        description="Kind of the failure since the last good sweep, if any."
    )
    overdue: bool = Field(description="No good sweep for three intervals.")


class Health(BaseModel):
    """The state of the registry."""

    status: str = "ok"
    version: str
    uptime_seconds: float
    agents: dict[str, int] = Field(description="Number of agents by status.")
    sweep: SweepHealth | None = Field(description="Null where no scheduler runs.")
    guard: None = Field(default=None, description="Reserved.")


def install(
    app: FastAPI,
    repo: AgentRegistryRepository,
    *,
    version: str,
    uptime_seconds: Callable[[], float],
    sweep: Callable[[], SweepHealth | None],
) -> None:
    """Add the health call; a 503 says in its `code` what is wrong."""

    @app.get("/health", response_model=Health, **describe.HEALTH)
    async def health() -> Response:
        """Tell whether the store answers and the sweep keeps up."""
        swept = sweep()
        known: dict[str, Any] = {
            "version": version,
            "uptime_seconds": round(uptime_seconds(), 3),
            "sweep": swept and swept.model_dump(mode="json"),
            "guard": None,
        }
        try:
            agents = await hand(repo, repo.count_by_status, repo.now())
        except StoreError:
            return _unwell("store_unavailable", known)
        known["agents"] = {str(status): count for status, count in agents.items()}
        if swept is not None and swept.overdue:
            return _unwell("sweep_overdue", known)
        return json_response(Health(**known).model_dump_json())


def _unwell(code: str, known: dict[str, Any]) -> Response:
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem_response(ProblemError(503, code, headers=retry), known)
