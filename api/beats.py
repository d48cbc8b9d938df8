"""Gathering heartbeats: those that arrive while a batch is written form the next.

One job of the store renews a whole batch, and each beat is answered when its
batch is committed. Nothing waits for a timer: a batch is as large as the traffic
makes it.
"""

import asyncio
import logging
from concurrent.futures import Future
from weakref import WeakKeyDictionary

from store import AgentNotFound, AgentRegistryRepository, Lease

log = logging.getLogger(__name__)

#: Turns of the event loop that a batch waits before it is written. In four, who
#: was answered with the batch before can ask again and is read: at 64 connections
#: that makes 28 beats a batch into 43, on a loop that is idle it takes 0.1 ms.
_TURNS = 4

_Waiting = list[tuple[str, "asyncio.Future[Lease]"]]


class HeartbeatGatherer:
    """Renews leases for the calls of one application, in batches."""

    def __init__(self, repo: AgentRegistryRepository) -> None:
        self._repo = repo
        # One loop serves a daemon; tests may bring a loop for every request.
        self._batches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Batches] = (
            WeakKeyDictionary()
        )

    def renew(self, agent_id: str) -> "asyncio.Future[Lease]":
        """Renew one lease; await the lease as it was committed.

        The future raises:
            AgentNotFound: nothing is stored under the id.
            StoreUnavailable: the batch was not stored.
        """
        loop = asyncio.get_running_loop()
        batches = self._batches.get(loop)
        if batches is None:
            batches = self._batches[loop] = _Batches(self._repo, loop)
        return batches.join(agent_id)


class _Batches:
    """The batch that is being written for one event loop, and the one that forms."""

    def __init__(
        self, repo: AgentRegistryRepository, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._repo = repo
        self._loop = loop
        self._forming: _Waiting = []
        self._busy = False

    def join(self, agent_id: str) -> "asyncio.Future[Lease]":
        renewed: asyncio.Future[Lease] = self._loop.create_future()
        self._forming.append((agent_id, renewed))
        if not self._busy:
            self._busy = True
            self._write_after(turns=_TURNS)
        return renewed

    def _write_after(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._write_after, turns - 1)
        else:
            self._write()

    def _write(self) -> None:
        batch, self._forming = self._forming, []
        ids = [agent_id for agent_id, _ in batch]
        try:
            written = self._repo.submit(self._repo.update_heartbeats, ids)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            written = Future()
            written.set_exception(error)
        written.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._answer, batch, done)
        )

    def _answer(self, batch: _Waiting, written: "Future[dict[str, Lease]]") -> None:
        if self._forming:
            self._write_after(turns=_TURNS)
        else:
            self._busy = False
        error = written.exception()
        leases = {} if error else written.result()
        for agent_id, renewed in batch:
            if renewed.done():  # its client went away
                continue
            if error is not None:
                renewed.set_exception(error)
            elif agent_id in leases:
                renewed.set_result(leases[agent_id])
            else:
                renewed.set_exception(AgentNotFound(agent_id))
        if not log.isEnabledFor(logging.DEBUG):
            return
        log.debug(
            "%d of %d heartbeats renewed a lease",
            len(leases),
            len(batch),
            extra={"action": "beats", "agent_ids": list(leases)},
        )
