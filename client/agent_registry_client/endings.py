"""What befalls a process: it forks, it is told to end, it ends.

- After a fork, the child's clients let go of the parent's connections, and keep
  nobody (see `keeping`).
- On SIGTERM, agents are deregistered within a second, and then what was to happen
  happens: the program's own handler is called, or the signal ends the program.
- At exit, agents that are still kept are deregistered, within a second. A child of
  `multiprocessing` too, which ends without `atexit`.
"""

import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import Any, Protocol

from agent_registry_client.threads import wait

#: How long leaving may hold up whoever leaves.
LEAVE_SECONDS = 1.0

#: How long goodbyes may take of that when nobody answers; the rest is to tell of it.
GOODBYE_SECONDS = 0.8

Handler = Callable[[int, FrameType | None], Any] | int | None


class Forks(Protocol):
    """What has to hear of forks."""

    def forked(self) -> None:
        """Begin anew in a child process."""


class Keeps(Forks, Protocol):
    """What has to hear of other endings, too."""

    @property
    def keeps_any(self) -> bool:
        """Whether there is an agent to deregister."""

    def leave_all(self) -> "list[Future[Any]]":
        """Begin to deregister every agent; safe in a signal handler."""


_keeping: "weakref.WeakSet[Keeps]" = weakref.WeakSet()
_forking: "weakref.WeakSet[Forks]" = weakref.WeakSet()
_hooked = False
#: The process whose finalizers of `multiprocessing` know of us.
_finalized = 0


def watch(keeping: Keeps) -> None:
    """Let `keeping` hear of endings for as long as it lives."""
    watch_forks(keeping)
    _keeping.add(keeping)


def watch_forks(forking: Forks) -> None:
    """Let `forking` hear of forks for as long as it lives."""
    global _hooked  # noqa: PLW0603 - hooks of the process cannot be taken back
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_forked)
        atexit.register(_leave_all)
    _forking.add(forking)


def leave_at_exit() -> None:
    """See to it that this process leaves at its end, if `multiprocessing` made it.

    It ends such a process with `os._exit`, after finalizers of its own; those that
    were there at the fork are forgotten, so this is for who is about to keep an agent.
    """
    global _finalized  # noqa: PLW0603 - as above
    util = sys.modules.get("multiprocessing.util")  # where it is in use
    if util and _finalized != os.getpid():
        _finalized = os.getpid()
        util.Finalize(None, _leave_all, exitpriority=0)


def leave(*keepings: Keeps) -> None:
    """Deregister the agents of these; return after `LEAVE_SECONDS` anyway."""
    ends_at = time.monotonic() + LEAVE_SECONDS
    leaving = [future for keeping in keepings for future in keeping.leave_all()]
    for future in leaving:
        wait(future, ends_at - time.monotonic())


def _leave_all() -> None:
    leave(*_keeping)


def _forked() -> None:
    for forking in list(_forking):
        forking.forked()


class DeregisterFirst:
    """A handler of SIGTERM that hands on to the one it found."""

    def __init__(self, previous: Handler) -> None:
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Deregister, and let happen what would have happened without us."""
        _leave_all()
        if callable(self.previous):
            self.previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def hold_sigterm() -> None:
    """Deregister on SIGTERM from now on; only the main thread can see to that."""
    if threading.current_thread() is not threading.main_thread():
        return
    current = signal.getsignal(signal.SIGTERM)
    # None: set by a C library, which we could not call. Ignored: it stays ignored.
    if current is None or current is signal.SIG_IGN:
        return
    if not isinstance(current, DeregisterFirst):
        signal.signal(signal.SIGTERM, DeregisterFirst(current))


def let_go_of_sigterm() -> None:
    """Put back the handler that was found, if it is still ours and nobody is kept."""
    if threading.current_thread() is not threading.main_thread():
        return
    if any(keeping.keeps_any for keeping in list(_keeping)):
        return
    current = signal.getsignal(signal.SIGTERM)
    if isinstance(current, DeregisterFirst):
        signal.signal(signal.SIGTERM, current.previous)
