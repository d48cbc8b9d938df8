"""What a program holds while its agent is kept registered."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Self

from agent_registry_client import endings
from agent_registry_client.errors import RegistryError
from agent_registry_client.keeping import Keeping, Membership
from agent_registry_client.kept import Change, State, kept_agent
from agent_registry_client.threads import wait


class RegistrationBase:
    """An agent that is, or is to be, kept registered."""

    def __init__(
        self,
        keeping: Keeping,
        agent_id: str,
        description: Mapping[str, Any],
        on_change: Callable[[Change], object] | None,
        *,
        hold_sigterm: bool,
    ) -> None:
        self._keeping = keeping
        self._member = Membership(kept_agent(agent_id, description), on_change)
        self._hold_sigterm = hold_sigterm

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.agent_id}: {self.state}>"

    @property
    def agent_id(self) -> str:
        """Who is kept."""
        return self._member.kept.agent_id

    @property
    def state(self) -> State:
        """How the agent stands with the registry, as far as is known here."""
        return self._member.kept.state

    @property
    def last_error(self) -> RegistryError | None:
        """What went wrong last, even if all is well since; None when nothing did."""
        return self._member.kept.last_error

    @property
    def silent_seconds(self) -> float | None:
        """Seconds since the registry last said yes; None when it never did."""
        at = self._member.kept.acknowledged_at
        return None if at is None else time.monotonic() - at

    def _begin(self) -> "Future[None]":
        if self._member.left.done():
            raise RuntimeError("this registration is over: ask the client for another")
        self._keeping.keep(self._member)
        if self._hold_sigterm:
            endings.hold_sigterm()
        return self._member.attempted

    def _check(self) -> None:
        if self.state is State.REFUSED and self.last_error:
            raise self.last_error

    def _finish(self) -> "Future[None]":
        return self._keeping.leave(self._member)


class Registration(RegistrationBase):
    """Keeps an agent registered inside a `with`, or from `start` to `leave`.

    Its properties may be read from any thread. In a forked child it is `inherited`:
    the child does nothing for it, and its `leave` deregisters nobody, unless the child
    calls `start`. Then the agent is the child's, as after daemonizing.
    """

    def start(self) -> Self:
        """Register, and keep the agent registered in the background.

        Waits for the first attempt, no longer than the client's timeout. A registry
        that is away, or answers nonsense, is tried again in the background.

        Raises:
            RegistryProblem: the registry refuses the agent.
            ValueError: this client keeps an agent of this id already.
        """
        attempted = self._begin()
        try:
            wait(attempted, self._keeping.transport.timeout_seconds)
            self._check()
        except BaseException:
            self.leave()
            raise
        return self

    def leave(self) -> None:
        """Deregister; returns within a second, and raises nothing. May be repeated."""
        wait(self._finish(), endings.LEAVE_SECONDS)
        endings.let_go_of_sigterm()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.leave()
