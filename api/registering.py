"""What registering is, whichever way the request came in."""

import logging
from collections.abc import Callable, Sequence

from fastapi.responses import Response

from api.errors import invalid
from api.gathering import Gatherer
from api.models import (
    AgentRegistrationRequest,
    RegistrationAnswer,
    TtlLimits,
    json_response,
)
from store import AgentRecord, AgentRegistryRepository, Outcome, Registration

log = logging.getLogger(__name__)


class Registrar:
    """Registers agents in `repo`, with TTLs within `ttl`.

    Args:
        repo: the store that registers.
        ttl: the TTLs that are granted.
        registered: told of each batch that was stored.
    """

    def __init__(
        self,
        repo: AgentRegistryRepository,
        ttl: TtlLimits,
        registered: Callable[[Sequence[Registration]], None] = lambda _batch: None,
    ) -> None:
        self._registered = registered
        self._repo = repo
        self._ttl = ttl
        self._gatherer: Gatherer[AgentRecord, list[Registration], Registration] = (
            Gatherer(
                lambda records: repo.submit(repo.register_all, records),
                self._each,
            )
        )

    async def register(self, registration: AgentRegistrationRequest) -> Response:
        """Register an agent, and answer.

        Raises:
            ProblemError: 422 when the TTL is out of bounds.
            StoreError: what the repository raises.
        """
        wanted = self._record(registration)
        done = await self._gatherer.join(wanted)
        log.info(
            "Agent %s registered: %s",
            wanted.agent_id,
            done.outcome,
            extra={"action": "agent_registered", "agent_id": wanted.agent_id},
        )
        body = RegistrationAnswer.render(done, self._repo.now())
        if done.outcome is Outcome.CREATED:
            location = {"Location": f"/agents/{wanted.agent_id}"}
            return json_response(body, status=201, headers=location)
        return json_response(body)

    def _each(
        self, _wanted: list[AgentRecord], registrations: list[Registration]
    ) -> list[Registration]:
        """Return what each registration of a batch is answered."""
        self._registered(registrations)
        return registrations

    def _record(self, registration: AgentRegistrationRequest) -> AgentRecord:
        ttl_seconds = registration.ttl_seconds
        if "ttl_seconds" not in registration.model_fields_set:
            ttl_seconds = self._ttl.default_seconds
        least, most = self._ttl.min_seconds, self._ttl.max_seconds
        if not least <= ttl_seconds <= most:
            raise invalid("ttl_seconds", f"must be from {least} to {most}")
        return AgentRecord(
            agent_id=registration.agent_id,
            agent_name=registration.agent_name,
            host=registration.host,
            port=registration.port,
            ttl_seconds=ttl_seconds,
            metadata=registration.metadata,
        )
