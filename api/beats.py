"""Heartbeats in batches: one job of the store renews all that were gathered."""

import asyncio
import logging
from collections.abc import Callable

from api.gathering import Backlog, Gatherer
from store import AgentNotFound, AgentRegistryRepository, Lease

log = logging.getLogger(__name__)


class HeartbeatGatherer:
    """Renews leases for the calls of one application, in batches.

    Args:
        repo: the store that renews.
        heard: told of each batch how many beats renewed, and how many did not.
        backlog: told since when the oldest beat waits.
    """

    def __init__(
        self,
        repo: AgentRegistryRepository,
        heard: Callable[[int, int], None] = lambda _renewed, _unknown: None,
        backlog: Backlog | None = None,
    ) -> None:
        self._heard = heard
        self._gatherer: Gatherer[str, dict[str, Lease], Lease] = Gatherer(
            lambda agent_ids: repo.submit(repo.update_heartbeats, agent_ids),
            self._each,
            backlog,
        )

    def renew(self, agent_id: str) -> "asyncio.Future[Lease]":
        """Renew one lease; await the lease as it was committed.

        The future raises:
            AgentNotFound: nothing is stored under the id.
            StoreUnavailable: the batch was not stored.
        """
        return self._gatherer.join(agent_id)

    def _each(
        self, agent_ids: list[str], leases: dict[str, Lease]
    ) -> list[Lease | Exception]:
        """Return what each beat of a batch is answered."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%d of %d heartbeats renewed a lease",
                len(leases),
                len(agent_ids),
                extra={"action": "beats", "agent_ids": list(leases)},
            )
        unknown = 0
        if len(leases) < len(agent_ids):  # or somebody beat twice
            unknown = sum(agent_id not in leases for agent_id in agent_ids)
        self._heard(len(agent_ids) - unknown, unknown)
        return [
            leases.get(agent_id) or AgentNotFound(agent_id) for agent_id in agent_ids
        ]
