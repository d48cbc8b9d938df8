"""A local copy of the last good list, for when the registry is away."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from agent_registry_client import endings
from agent_registry_client.errors import RegistryError
from agent_registry_client.models import AgentInfo, Page
from agent_registry_client.threads import fulfil, promise

#: Who could be served from the copy waits for an answer at most so long.
PATIENCE_SECONDS = 1.0

#: The registry is not asked again for at most so long after it failed.
MAX_PAUSE_SECONDS = 15.0

#: An empty answer is believed after at most so long, whatever the TTLs.
MAX_CONFIRM_SECONDS = 60.0

#: How many different questions are remembered.
MAX_COPIES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """Who was found, and how old that news is."""

    #: As they were `age_seconds` ago; some may have come or gone since.
    agents: tuple[AgentInfo, ...]
    age_seconds: float
    #: Why the news is old: the registry's last failure since then, if any.
    error: RegistryError | None = None
    #: The registry says now that there is nobody, which is not believed yet.
    unconfirmed_empty: bool = False


class LocalCopy:
    """The last good answer to one question; for any number of threads.

    An empty answer after a full one may only mean that the registry lost its
    memory: agents that live are back within one beat interval. So it is believed
    when another one, so much later, says the same.

    One question is on its way at a time, whoever else asks meanwhile: a registry that
    hangs costs one connection, and an old answer cannot come in behind a newer one.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._agents: tuple[AgentInfo, ...] | None = None
        self._heard_at = 0.0
        self._empty_since: float | None = None
        self._error: RegistryError | None = None
        self._failures = 0
        self._ask_again_at = 0.0
        self.forked()

    def forked(self) -> None:
        """Begin anew in a child process, where nothing is on its way."""
        self._lock = threading.Lock()
        self._asked: Future[None] | None = None
        self._asked_at = 0.0

    def ask(self, question: Callable[[], Page]) -> "Future[None]":
        """Ask, unless it is asked already; return what is done with the answer.

        It raises what is wrong with the question; a failure of the registry is noted.
        """
        with self._lock:
            if self._asked is not None and not self._asked.done():
                return self._asked
            self._asked_at = self._clock()
            self._asked = asked = promise()
        fulfil(asked, self._take, question)
        return asked

    @property
    def patience_seconds(self) -> float | None:
        """How long to wait for the answer, rather than take the copy; None if none."""
        if self._agents is None:
            return None
        return max(0.0, self._asked_at + PATIENCE_SECONDS - self._clock())

    def _take(self, question: Callable[[], Page]) -> None:
        try:
            page = question()
        except RegistryError as error:
            if not error.temporary:
                raise
            self.missed(error)
        else:
            self.heard(page.agents)

    def serves(self, max_age_seconds: float) -> bool:
        """Tell whether to take the copy rather than ask."""
        if self._agents is None:
            return False
        now = self._clock()
        return now < self._ask_again_at or now - self._heard_at < max_age_seconds

    def heard(self, agents: tuple[AgentInfo, ...]) -> None:
        """Take note of an answer."""
        now = self._clock()
        with self._lock:
            self._error, self._failures, self._ask_again_at = None, 0, 0.0
            if not agents and self._agents:
                if self._empty_since is None:
                    self._empty_since = now
                beat = max(agent.ttl_seconds for agent in self._agents) / 3
                if now - self._empty_since < min(beat, MAX_CONFIRM_SECONDS):
                    return
            self._agents, self._heard_at, self._empty_since = agents, now, None

    def missed(self, error: RegistryError) -> None:
        """Take note of a failure, and leave the registry in peace for a while."""
        with self._lock:
            self._error = error
            self._failures += 1
            pause = min(MAX_PAUSE_SECONDS, 2.0 ** min(self._failures, 10))
            self._ask_again_at = self._clock() + pause * self._draw()
            # It may be away because it starts anew, and be empty again at first.
            self._empty_since = None

    def tell(self) -> Discovered:
        """Return what is known.

        Raises:
            RegistryError: nothing was ever heard.
        """
        with self._lock:
            if self._agents is None:
                raise self._error or RegistryError("the registry was not asked yet")
            return Discovered(
                agents=self._agents,
                age_seconds=self._clock() - self._heard_at,
                error=self._error,
                unconfirmed_empty=self._empty_since is not None,
            )


class LocalCopies:
    """A local copy for each question, the oldest question forgotten first."""

    def __init__(self) -> None:
        self._copies: dict[str, LocalCopy] = {}
        endings.watch_forks(self)

    def forked(self) -> None:
        """Keep the copies in a child process, but wait for nobody's answer."""
        for copy in list(self._copies.values()):
            copy.forked()

    def of(self, question: str) -> LocalCopy:
        """Return the copy of the answers to `question`; from any thread."""
        copy = self._copies.setdefault(question, LocalCopy())
        for oldest in list(self._copies)[:-MAX_COPIES]:
            self._copies.pop(oldest, None)
        return copy
