"""Heartbeats in batches: one job of the store renews all that were gathered."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from api.gathering import Backlog, Gatherer
from store import (
    AgentNotFound,
    AgentRegistryRepository,
    Lease,
    NotOwner,
    OwnedBeat,
    Renewal,
)

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
        self._owned: Gatherer[OwnedBeat, dict[str, Renewal], Lease] = Gatherer(
            lambda beats: repo.submit(repo.update_heartbeats_of, beats),
            self._each_owned,
            backlog,
        )

    def renew(self, agent_id: str, owner: str = "") -> "asyncio.Future[Lease]":
        """Renew one lease on behalf of an owner; await it as it was committed.

        The future raises:
            AgentNotFound: nothing is stored under the id.
            NotOwner: the agent belongs to somebody else.
            StoreUnavailable: the batch was not stored.
        """
        if owner:
            return self._owned.join(OwnedBeat(agent_id, owner))
        return self._gatherer.join(agent_id)

    def _each(
        self, agent_ids: Sequence[str], leases: dict[str, Lease]
    ) -> list[Lease | Exception]:
        """Return what each beat of a batch is answered."""
        unknown = 0
        if len(leases) < len(agent_ids):  # or somebody beat twice
            unknown = sum(agent_id not in leases for agent_id in agent_ids)
        self._tell(agent_ids, len(agent_ids) - unknown)
        return [
            leases.get(agent_id) or AgentNotFound(agent_id) for agent_id in agent_ids
        ]

    def _each_owned(
        self, beats: Sequence[OwnedBeat], renewals: dict[str, Renewal]
    ) -> list[Lease | Exception]:
        answers = [_answer(agent_id, renewals[owner]) for agent_id, owner in beats]
        renewed = sum(type(answer) is Lease for answer in answers)
        self._tell([beat.agent_id for beat in beats], renewed)
        return answers

    def _tell(self, agent_ids: Sequence[str], renewed: int) -> None:
        self._heard(renewed, len(agent_ids) - renewed)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%d of %d heartbeats renewed a lease",
                renewed,
                len(agent_ids),
                extra={"action": "beats", "agent_ids": agent_ids},
            )


def _answer(agent_id: str, renewal: Renewal) -> Lease | Exception:
    lease = renewal.leases.get(agent_id)
    if lease is not None:
        return lease
    error = NotOwner if agent_id in renewal.foreign else AgentNotFound
    return error(agent_id)
