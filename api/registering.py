"""What registering is, whichever way the request came in."""

from collections.abc import Callable, Sequence

from fastapi.responses import Response

from api import audit
from api.access import Caller
from api.errors import invalid
from api.gathering import Gatherer
from api.models import (
    AgentRegistrationRequest,
    RegistrationAnswer,
    TtlLimits,
    json_response,
)
from api.throttle import Throttle
from store import (
    AgentRecord,
    AgentRegistryRepository,
    Outcome,
    Registration,
    StoreError,
)

_INSTANTS = ("last_heartbeat", "registered_at", "expires_at")


class Registrar:
    """Registers agents in `repo`, with TTLs within `ttl`.

    Args:
        repo: the store that registers.
        ttl: the TTLs that are granted.
        registered: told of each batch that was stored.
        throttle: how often each owner may register; None lets all.
    """

    def __init__(
        self,
        repo: AgentRegistryRepository,
        ttl: TtlLimits,
        registered: Callable[[Sequence[Registration]], None] = lambda _batch: None,
        throttle: Throttle | None = None,
    ) -> None:
        self._registered = registered
        self._repo = repo
        self._ttl = ttl
        self._throttle = throttle
        self._gatherer: Gatherer[
            AgentRecord, list[Registration | StoreError], Registration
        ] = Gatherer(
            lambda records: repo.submit(repo.register_all, records), self._each
        )

    async def register(
        self, registration: AgentRegistrationRequest, caller: Caller
    ) -> Response:
        """Register an agent on behalf of a caller, and answer.

        Raises:
            ProblemError: 403 when the caller may not; 422 when the TTL is out of
                bounds; 429 when the caller registers too often.
            StoreError: what the repository raises.
        """
        caller.require([registration.agent_id])
        wanted = self._record(registration, caller.owner)
        if self._throttle is not None and caller.owner:
            self._throttle.take(caller.owner)
        done = await self._gatherer.join(wanted)
        audit.registered(caller, wanted.agent_id, done.outcome)
        body = RegistrationAnswer.render(done, self._repo.now())
        if done.outcome is Outcome.CREATED:
            location = {"Location": f"/agents/{wanted.agent_id}"}
            return json_response(body, status=201, headers=location)
        return json_response(body)

    def _each(
        self, _wanted: Sequence[AgentRecord], done: list[Registration | StoreError]
    ) -> list[Registration | StoreError]:
        """Return what each registration of a batch is answered."""
        self._registered([one for one in done if isinstance(one, Registration)])
        return done

    def _record(
        self, registration: AgentRegistrationRequest, owner: str
    ) -> AgentRecord:
        ttl_seconds = registration.ttl_seconds
        if "ttl_seconds" not in registration.model_fields_set:
            ttl_seconds = self._ttl.default_seconds
        least, most = self._ttl.min_seconds, self._ttl.max_seconds
        if not least <= ttl_seconds <= most:
            raise invalid("ttl_seconds", f"must be from {least} to {most}")
        # The store dates it as it writes it.
        undated = dict.fromkeys(_INSTANTS, self._repo.now())
        described = vars(registration) | {"ttl_seconds": ttl_seconds}
        return AgentRecord.of(described | undated | {"rearms": 0, "owner": owner})
