"""The thread that keeps the agents of one client registered.

One thread alone uses the keeper and speaks for it; others hand it commands through a
mailbox. That needs no lock that a signal handler or a fork could find taken. The
thread serves asyncio programs as well: a loop that is blocked, cancelled or closed
neither stops the beats nor the goodbye.

It lives while there are agents to keep, and never holds up the exit.
"""

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from agent_registry_client import calls, endings, hosts
from agent_registry_client.errors import AgentNotFound, RegistryError
from agent_registry_client.keeper import Change, Keeper, Kept, State
from agent_registry_client.threads import SideJobs, keep_promise, promise, start
from agent_registry_client.transport import Transport

log = logging.getLogger("agent_registry_client")

#: How soon a forked child notices that the process it stands by for is gone.
STAND_BY_SECONDS = 1.0

#: How long to hold still after a mistake of our own, so that it cannot spin.
MISTAKE_SECONDS = 1.0

_SAYS = {
    State.JOINING: (logging.WARNING, "is not known to the registry: registering it"),
    State.REGISTERED: (logging.INFO, "is registered"),
    State.RETRYING: (logging.WARNING, "cannot be kept registered now; retrying"),
    State.REFUSED: (logging.ERROR, "is refused by the registry; retrying"),
    State.STANDING_BY: (logging.INFO, "is kept by the process that forked this one"),
    State.LEFT: (logging.INFO, "is not kept any more"),
}


class Membership:
    """One agent that is kept, as its program sees it."""

    def __init__(
        self, kept: Kept, on_change: Callable[[Change], object] | None
    ) -> None:
        self.kept = kept
        self.on_change = on_change
        #: Done when the first attempt to register is over, whatever came of it.
        self.attempted: Future[None] = promise()
        #: Done when the agent is kept no more, and its goodbye was said or failed.
        self.left: Future[None] = promise()


class Keeping:
    """Keeps agents registered, in a thread of its own."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._begin()
        endings.watch(self)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._mailbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._keeper = Keeper(self._told)
        self._members: dict[str, Membership] = {}
        self._inherited: dict[str, Membership] = {}
        self._side_jobs = SideJobs()
        self._runs = False

    def keep(self, member: Membership) -> None:
        """Keep an agent from now on.

        Raises:
            ValueError: this client keeps an agent of this id already.
        """
        kept = member.kept
        with self._lock:
            if kept.agent_id in self._members:
                raise ValueError(f"{kept.agent_id} is kept by this client already")
            self._members[kept.agent_id] = member
            self._mailbox.put(partial(self._keeper.add, kept))
            if not self._runs:
                self._runs = True
                start(self._run)
        # A name may take seconds to resolve: not in anybody's way.
        host = kept.description["host"]
        self._side_jobs.put(partial(self._check_host, kept.agent_id, host))

    def leave(self, member: Membership) -> "Future[None]":
        """Begin to deregister an agent; safe in a signal handler."""
        if self._inherited.pop(member.kept.agent_id, None) is member:
            member.kept.state = State.LEFT  # it is not ours to deregister
            keep_promise(member.left)
        elif not member.left.done():
            self._mailbox.put(partial(self._leave, [member]))
        return member.left

    def leave_all(self) -> "list[Future[None]]":
        """Begin to deregister every agent; safe in a signal handler."""
        members = list(self._members.values())
        if members:
            self._mailbox.put(partial(self._leave, members))
        return [member.left for member in members]

    def forked(self) -> None:
        """Begin anew in a child process: stand by for the parent.

        The parent lives on and beats, as gunicorn's master does; beating beside it
        would outlive its goodbye. When it is gone, as after daemonizing, go on for it.
        """
        self.transport.forget_connections()
        parents = self._inherited | self._members
        parent = self._process  # `getppid` is another one when it is gone already
        self._begin()
        self._inherited = parents
        for member in parents.values():
            member.kept.state = State.STANDING_BY
        if parents:
            start(self._stand_by, parent)

    @property
    def keeps_any(self) -> bool:
        """Whether there is an agent to deregister."""
        return bool(self._members)

    def _stand_by(self, parent: int) -> None:
        beats = [member.kept.interval_seconds for member in self._inherited.values()]
        while self._inherited and os.getppid() == parent:
            time.sleep(min(STAND_BY_SECONDS, *(beat / 2 for beat in beats)))
        for agent_id in list(self._inherited):
            member = self._inherited.pop(agent_id, None)
            if member is not None:
                member.kept.known = member.kept.inherited = True
                self.keep(member)

    def _run(self) -> None:
        while not self._is_over():
            try:
                command = self._mailbox.get(timeout=self._keeper.seconds_to_wait())
            except queue.Empty:
                command = self._step
            try:
                command()
            except Exception:
                # A mistake of ours, or of memory: it must not end the beats.
                log.exception("Keeping agents failed", extra={"action": "keep_failed"})
                time.sleep(MISTAKE_SECONDS)

    def _is_over(self) -> bool:
        with self._lock:
            if self._members or not self._mailbox.empty():
                return False
            self._runs = False
            return True

    def _step(self) -> None:
        step = self._keeper.step()
        if step is None:
            return
        seconds = min(self.transport.timeout_seconds, step.timeout_seconds)
        try:
            told = self.transport.send(step.call, seconds)
        except RegistryError as error:
            self._keeper.failed(step, error)
        except Exception as error:
            self._keeper.failed(step, RegistryError(f"could not be sent: {error!r}"))
            raise
        else:
            self._keeper.answered(step, told)

    def _leave(self, members: Iterable[Membership]) -> None:
        """Say goodbye for these, until one finds the registry away."""
        waiting = deque(
            member.kept
            for member in members
            if self._members.get(member.kept.agent_id) is member
        )
        gone: list[Kept] = []
        error: RegistryError | None = None
        while waiting and error is None:
            error = self._say_goodbye(waiting[0])
            if error is None:
                gone.append(waiting.popleft())
        self._keeper.remove(gone)
        self._keeper.remove(waiting, error)

    def _say_goodbye(self, kept: Kept) -> RegistryError | None:
        if kept.perhaps_listed:
            goodbye = calls.deregister(kept.agent_id)
            try:
                self.transport.send(goodbye, endings.LEAVE_SECONDS)
            except AgentNotFound:
                return None
            except RegistryError as error:
                return error
        return None

    def _told(self, changes: Sequence[Change]) -> None:
        _log(changes)
        for change in changes:
            member = self._members[change.agent_id]
            if member.on_change:
                self._side_jobs.put(partial(member.on_change, change))
            keep_promise(member.attempted)
            if change.after is State.LEFT:
                del self._members[change.agent_id]
                keep_promise(member.left)

    def _check_host(self, agent_id: str, host: str) -> None:
        if doubt := hosts.doubt(host, self.transport.hosts):
            log.warning(
                "Agent %s registers the host %s, %s",
                agent_id,
                host,
                doubt,
                extra={"action": "doubtful_host", "agent_ids": [agent_id]},
            )


def _log(changes: Sequence[Change]) -> None:
    """Say in one line what one event changed, however many agents it concerns."""
    last = changes[-1]
    level, says = _SAYS[last.after]
    if last.after is State.LEFT and last.error:
        level, says = logging.WARNING, "left, but is listed until its lease runs out"
    log.log(
        level,
        "Agent %s %s%s",
        _names([change.agent_id for change in changes]),
        says,
        f": {last.error}" if last.error else "",
        extra={
            "action": f"agent_{last.after}",
            "agent_ids": [change.agent_id for change in changes],
        },
    )


def _names(agent_ids: Iterable[str]) -> str:
    first, *others = agent_ids
    return f"{first} (and {len(others)} more)" if others else first


def kept_agent(agent_id: str, description: Mapping[str, Any]) -> Kept:
    """Return an agent to keep, once it is certain that it can be asked for.

    Raises:
        ValueError, TypeError: it cannot be written as JSON, or named in a path.
    """
    calls.register(agent_id, **description)
    calls.deregister(agent_id)
    return Kept(agent_id, description)
