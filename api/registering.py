"""What registering is, whichever way the request came in."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from api import audit
from api.access import Caller
from api.errors import invalid
from api.gathering import Gatherer
from api.models import (
    AgentRegistrationRequest,
    RegistrationAnswer,
    TtlLimits,
)
from api.throttle import Throttle
from store import (
    AgentRecord,
    AgentRegistryRepository,
    Outcome,
    Registration,
    StoreError,
)

#: The store dates what it writes.
_UNDATED = dict.fromkeys(
    ("last_heartbeat", "registered_at", "expires_at"), datetime.min.replace(tzinfo=UTC)
)


class Registered(NamedTuple):
    """How a registration is answered."""

    #: JSON.
    body: bytes
    #: The path of an agent that is new; None: it was there.
    location: str | None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return 200 if self.location is None else 201


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
    ) -> Registered:
        """Register an agent on behalf of a caller, and return the answer.

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
        new = done.outcome is Outcome.CREATED
        return Registered(body, f"/agents/{wanted.agent_id}" if new else None)

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
        lease = {"ttl_seconds": ttl_seconds, "rearms": 0, "owner": owner}
        return AgentRecord.of(vars(registration) | _UNDATED | lease)
