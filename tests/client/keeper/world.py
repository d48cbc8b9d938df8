"""A keeper in a world of its own: a clock, dice, and a registry to talk to."""

import random
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from agent_registry_client import (
    AgentNotFound,
    BulkRenewal,
    Change,
    InvalidRequest,
    LimitReached,
    NotAllowed,
    RegisteredAgent,
    RegistryProblem,
    Renewal,
    Unavailable,
    Unreachable,
)
from agent_registry_client.keeper import Keeper, Step
from agent_registry_client.kept import Kept, kept_agent

NOT_FOUND = AgentNotFound(404, "agent_not_found", "Register again.")
REFUSED = InvalidRequest(422, "invalid_request", "No.")
FORBIDDEN = NotAllowed(403, "forbidden", "Not yours.")
BUSY = Unavailable(503, "store_unavailable", "Later.", retry_after_seconds=3)
BROKEN = RegistryProblem(500, "internal_error", "A mistake.")
UNAVAILABLE = Unavailable(503, "store_unavailable", "Later.")
WHO = NotAllowed(401, "unauthenticated", "Who?")
TOO_MANY = LimitReached(429, "too_many_registrations", "", retry_after_seconds=7)
AWAY = Unreachable("connection refused")
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)
DESCRIBED: dict[str, Any] = {"agent_name": "A", "host": "10.0.0.7", "port": 80}


class World:
    """A keeper, its clock, its dice, and a registry that it talks to."""

    def __init__(self, seed: int | None = None) -> None:
        self.now = 1000.0
        self.part = 1.0
        self.changes: list[Change] = []
        self.keeper = Keeper(
            lambda told: self.changes.extend(change for _, change in told),
            clock=lambda: self.now,
            draw=(lambda: self.part) if seed is None else random.Random(seed).random,  # noqa: S311 - dice
        )

    def keep(self, *agent_ids: str, ttl_seconds: int = 60) -> list[Kept]:
        """Keep these agents."""
        kept = [
            kept_agent(one, DESCRIBED | {"ttl_seconds": ttl_seconds})
            for one in agent_ids
        ]
        for one in kept:
            self.keeper.add(one)
        return kept

    def next(self, seconds: float = 0.0) -> Step:
        """Let time pass, and return the step that is due by then."""
        self.now += seconds
        step = self.keeper.step()
        assert step is not None
        return step

    def answer(self, step: Step, unknown: Sequence[str] = ()) -> None:
        """Answer as a registry that is well."""
        self.keeper.answered(step, answer_to(step, unknown))

    def live(
        self, seconds: float, refused: Collection[str], takes: float
    ) -> list[Step]:
        """Let time pass, each call taking so long; return the steps of it.

        A call that names one of the refused is refused.
        """
        steps = []
        until = self.now + seconds
        while self.now + (wait := self.keeper.seconds_to_wait() or 0) < until:
            steps.append(self.next(wait))
            self.now += takes
            if any(kept.agent_id in refused for kept in steps[-1].kept):
                self.keeper.failed(steps[-1], FORBIDDEN)
            else:
                self.answer(steps[-1])
        self.now = until
        return steps

    def register(self, *agent_ids: str, ttl_seconds: int = 60) -> list[Kept]:
        """Keep agents that the registry knows."""
        kept = self.keep(*agent_ids, ttl_seconds=ttl_seconds)
        for _ in kept:
            self.answer(self.next())
        self.changes.clear()
        return kept


def answer_to(
    step: Step, unknown: Sequence[str] = ()
) -> RegisteredAgent | Renewal | BulkRenewal:
    """Say yes, but for those who are unknown."""
    if step.call.target == "/agents/heartbeats":
        return BulkRenewal(renewed=0, unknown=tuple(unknown))
    kept = step.kept[0]
    lease: dict[str, Any] = {
        "agent_id": kept.agent_id,
        "expires_at": EPOCH,
        "ttl_seconds": round(kept.interval_seconds * 3),
        "heartbeat_interval_seconds": kept.interval_seconds,
    }
    if step.call.target == "/agents/register":
        return RegisteredAgent(
            **lease,
            agent_name="A",
            host="10.0.0.7",
            port=80,
            metadata={},
            is_alive=True,
            status="alive",
            last_heartbeat=EPOCH,
            registered_at=EPOCH,
            age_seconds=0.0,
            outcome="created",
        )
    return Renewal(**lease)


def target(step: Step) -> str:
    """Return what is called."""
    return str(step.call.target)


def longest_silence(steps: Sequence[Step], kept: Kept, since: float) -> float:
    """Return the longest time between two steps for it."""
    begun = [since, *(step.began_at for step in steps if kept in step.kept)]
    return max(after - before for before, after in pairwise(begun))
