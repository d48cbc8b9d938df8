"""The thread that keeps the agents of one client registered.

One thread alone uses the keeper and speaks for it; others hand it commands through a
mailbox. That needs no lock that a signal handler or a fork could find taken. The
thread serves asyncio programs as well: a loop that is blocked, cancelled or closed
neither stops the beats nor the goodbye.

It lives while there are agents to keep, and never holds up the exit.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial

from agent_registry_client import calls, endings
from agent_registry_client.errors import (
    AgentNotFound,
    NotARegistry,
    RegistryError,
    Unreachable,
)
from agent_registry_client.hosts import Doubts
from agent_registry_client.keeper import Keeper
from agent_registry_client.kept import Change, Kept, State
from agent_registry_client.logs import say_changes, say_mistake
from agent_registry_client.threads import SideJobs, keep_promise, promise, start
from agent_registry_client.transport import Transport

#: How long to hold still after a mistake of our own, so that it cannot spin.
MISTAKE_SECONDS = 1.0


class Membership:
    """One agent that is kept, as its program sees it."""

    def __init__(
        self, kept: Kept, on_change: Callable[[Change], object] | None
    ) -> None:
        self.kept = kept
        self.on_change = on_change
        self._promise()

    def _promise(self) -> None:
        #: Done when the first attempt to register is over, whatever came of it.
        self.attempted: Future[None] = promise()
        #: Done when the agent is kept no more, and its goodbye was said or failed.
        self.left: Future[None] = promise()

    def inherit(self) -> None:
        """Belong to the process that this one was forked from.

        Nobody is told: for this process nothing changed, and a pool of workers would
        say so once for each.
        """
        self.kept.inherit()
        self._promise()  # others may have waited for the old ones, holding their locks


class Keeping:
    """Keeps agents registered, in a thread of its own."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._begin()
        endings.watch(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._mailbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._keeper = Keeper(self._told)
        #: All until they have left; of those, who does not leave yet, by id.
        self._members: dict[Kept, Membership] = {}
        self._staying: dict[str, Membership] = {}
        self._callbacks = SideJobs()
        #: What is logged, too: a handler may write to a pipe, or to a network.
        self._lines = SideJobs()
        self.doubts = Doubts(self.transport.hosts)
        self._runs = False

    def keep(self, member: Membership) -> None:
        """Keep an agent from now on.

        Raises:
            ValueError: this client keeps an agent of this id already.
            RuntimeError: no thread can be started.
        """
        kept = member.kept
        with self._lock:
            if kept.agent_id in self._staying:
                raise ValueError(f"{kept.agent_id} is kept by this client already")
            if not self._runs:
                start(self._run)  # it waits for the lock before it believes it is over
                self._runs = True
            kept.state = State.JOINING
            self._members[kept] = self._staying[kept.agent_id] = member
            # Behind the goodbye of who had the id before, should that be on its way.
            self._mailbox.put(partial(self._keeper.add, kept))
        endings.leave_at_exit()
        self.doubts.look_at(kept.agent_id, kept.host)

    def leave(self, member: Membership) -> "Future[None]":
        """Begin to deregister an agent; safe in a signal handler.

        One that was never begun here, as in a forked child, is not ours to deregister.
        """
        kept = member.kept
        if self._staying.get(kept.agent_id) is member:
            self._staying.pop(kept.agent_id, None)
            self._mailbox.put(partial(self._leave, [member]))
        elif kept not in self._members and not member.left.done():
            kept.state = State.LEFT
            keep_promise(member.left)
        return member.left

    def leave_all(self) -> "list[Future[None]]":
        """Begin to deregister every agent; safe in a signal handler."""
        members = list(self._members.values())
        self._staying.clear()
        if members:
            self._mailbox.put(partial(self._leave, members))
        return [member.left for member in members]

    def close(self) -> None:
        """Deregister every agent, and say what is to be said; within a second or two.

        One for the goodbyes, one for a host whose name resolves slowly.
        """
        endings.leave(self)
        self.doubts.wait(endings.LEAVE_SECONDS)
        self.transport.forget_connections()

    def forked(self) -> None:
        """Begin anew in a child process, which keeps nobody.

        Its parent lives on and beats, as gunicorn's master does. A child that beat for
        a parent that is gone would keep alive who was killed.
        """
        self.transport.forget_connections()
        inherited = list(self._members.values())
        self._begin()
        for member in inherited:
            member.inherit()

    @property
    def keeps_any(self) -> bool:
        """Whether there is an agent to deregister."""
        return bool(self._members)

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._obey()
                self._step()  # between goodbyes too: many would starve the beats
            except Exception as mistake:  # noqa: BLE001 - logged; it must not end the beats
                say_mistake("Keeping agents failed", mistake, action="keep_failed")
                time.sleep(MISTAKE_SECONDS)

    def _obey(self) -> None:
        """Follow the next command, unless a step is due before one comes."""
        try:
            command = self._mailbox.get(timeout=self._keeper.seconds_to_wait())
        except queue.Empty:
            return
        command()

    def _is_over(self) -> bool:
        # Without the lock first: a signal handler that interrupted its holder waits.
        if self._is_needed():
            return False
        with self._lock:
            self._runs = self._is_needed()
            return not self._runs

    def _is_needed(self) -> bool:
        return self.keeps_any or not self._mailbox.empty()

    def _step(self) -> None:
        step = self._keeper.step()
        if step is None:
            return
        seconds = step.timeout_seconds / len(self.transport.urls)
        seconds = min(self.transport.timeout_seconds, seconds)
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
        error: RegistryError | None = None
        ends: dict[str, tuple[RegistryError | None, list[Kept]]] = {}
        for kept in [member.kept for member in members if not member.left.done()]:
            if not isinstance(error, Unreachable | NotARegistry):
                error = self._say_goodbye(kept)
            ends.setdefault(str(error), (error, []))[1].append(kept)
        for why, kept_ones in ends.values():
            self._keeper.remove(kept_ones, why)

    def _say_goodbye(self, kept: Kept) -> RegistryError | None:
        if not kept.perhaps_listed:
            return None
        goodbye = calls.deregister(kept.agent_id)
        seconds = endings.GOODBYE_SECONDS / len(self.transport.urls)
        try:
            self.transport.send(goodbye, seconds)
        except AgentNotFound:
            return None
        except RegistryError as error:
            return error
        except Exception as error:  # noqa: BLE001 - told as why it is listed still
            return RegistryError(f"could not be sent: {error!r}")
        return None

    def _told(self, told: Sequence[tuple[Kept, Change]]) -> None:
        promises = []
        for kept, change in told:
            member = self._members[kept]
            if member.on_change:
                self._callbacks.put(partial(member.on_change, change))
            promises.append(member.attempted)
            if change.after is State.LEFT:
                del self._members[kept]
                promises.append(member.left)
        self._lines.put(partial(_say, [change for _, change in told], promises))


def _say(changes: Sequence[Change], promises: Iterable["Future[None]"]) -> None:
    """Log the changes, and only then let those go on who may end the process."""
    say_changes(changes)
    for future in promises:
        keep_promise(future)
