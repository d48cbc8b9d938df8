"""`GET /health`: whether the registry does its work, and how its fleet is."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api import describe
from api.access import CallerOf
from api.errors import problem_response, unavailable
from api.grammar import Instant
from api.handover import hand
from api.models import json_response
from store import AgentRegistryRepository, Hold, StoreError
from store.leases import Status

#: A change that waits so long for its commit is not being committed.
_WRITE_LAG_SECONDS = 2.0


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


class LeaseTimeHealth(BaseModel):
    """How lease time runs; it stands still while heartbeats cannot be received."""

    stands_still_at: Instant | None = Field(description="Null while it runs.")
    cause: str | None = Field(description="Why it stands still, if it does.")
    overdue: bool = Field(description="It has stood still for half a minute.")
    rearms: dict[str, int] = Field(
        description="How often the leases were re-armed since the start, by cause."
    )


class GuardHealth(BaseModel):
    """The guard against mass expiry."""

    held: int = Field(description="Agents that are due, and held.")
    since: Instant | None = Field(description="When the hold began; null without one.")
    until: Instant | None = Field(
        description="From when on the held are removed, `cap` in each sweep."
    )
    level: str | None = Field(description="part or most of the fleet is due.")
    cap: int | None = Field(description="So many may go at once.")


class Reports(NamedTuple):
    """Who to ask for what only the process knows."""

    uptime_seconds: Callable[[], float]
    #: None where no scheduler runs.
    sweep: Callable[[], SweepHealth | None]
    #: None where leases run by the wall clock.
    lease_time: Callable[[], LeaseTimeHealth | None]
    #: Whether other machines are listened to without authentication or TLS.
    insecure: bool = False


class Health(BaseModel):
    """The state of the registry."""

    status: str = Field("ok", description="All that a caller who may not read is told.")
    version: str = ""
    uptime_seconds: float = 0.0
    agents: dict[str, int] = Field({}, description="Number of agents by status.")
    sweep: SweepHealth | None = Field(
        default=None, description="Null where no scheduler runs."
    )
    lease_time: LeaseTimeHealth | None = Field(
        default=None, description="Absent where leases run by the wall clock."
    )
    guard: GuardHealth | None = Field(
        default=None, description="Null where nobody is ever held."
    )
    insecure: bool = Field(
        default=False,
        description="Present and true where the registry listens to other machines "
        "without authentication or without TLS.",
    )


def writes(repo: AgentRegistryRepository) -> bool:
    """Tell whether changes are being committed, as far as any were asked for.

    For people and load balancers; leases stop sooner, by `Intake.store_writes`.
    """
    return repo.write_lag_seconds() <= _WRITE_LAG_SECONDS


def install(app: FastAPI, repo: AgentRegistryRepository, reports: Reports) -> None:
    """Add the health call; a 503 says in its `code` what is wrong."""

    @app.get("/health", response_model=Health, **describe.HEALTH)
    async def health(caller: CallerOf) -> Response:
        """Tell whether the store answers and the sweep keeps up."""
        swept, leases = reports.sweep(), reports.lease_time()
        known: dict[str, Any] = {
            "version": app.version,
            "uptime_seconds": round(reports.uptime_seconds(), 3),
            "sweep": swept and swept.model_dump(mode="json"),
            "guard": None,
        }
        if leases is not None:
            known["lease_time"] = leases.model_dump(mode="json")
        if reports.insecure:
            known["insecure"] = True
        wrong = await _look(repo, known, count=caller.reads)
        if wrong is None and leases is not None and leases.overdue:
            wrong = "leases_stopped"
        if wrong is None and swept is not None and swept.overdue:
            wrong = "sweep_overdue"
        told = known if caller.reads else {}
        if wrong is not None:
            return _unwell(wrong, told)
        healthy = Health(status="ok", **told)
        return json_response(healthy.model_dump_json(exclude_unset=True))


async def _look(
    repo: AgentRegistryRepository, known: dict[str, Any], *, count: bool
) -> str | None:
    """Return what is wrong with the store, if so; add the fleet to `known`.

    Who may not read has none counted: of a million agents that takes a reader 0.2 s,
    which strangers could ask for all the time.
    """
    try:
        if count:
            await _count(repo, known)
        else:
            await hand(repo, repo.listening)
    except StoreError:
        return "store_unavailable"
    return None if writes(repo) else "store_unavailable"


async def _count(repo: AgentRegistryRepository, known: dict[str, Any]) -> None:
    agents = await hand(repo, repo.count_by_status)
    hold = await hand(repo, repo.hold)
    held = agents.pop(Status.HELD)
    if repo.guard is not None:
        known["guard"] = _guard_health(held, hold).model_dump(mode="json")
        agents[Status.HELD] = held
    known["agents"] = {str(status): count for status, count in agents.items()}


def _guard_health(held: int, hold: Hold | None) -> GuardHealth:
    return GuardHealth(
        held=held,
        since=hold and hold.since,
        until=hold and hold.until,
        level=hold and hold.level,
        cap=hold and hold.cap,
    )


def _unwell(code: str, known: dict[str, Any]) -> Response:
    return problem_response(unavailable(code), known)
