"""What a store raises on purpose."""

from collections.abc import Collection


class StoreError(Exception):
    """Root of everything a store raises on purpose."""


class AgentNotFound(StoreError):
    """No agent is registered under this id."""


class AgentAlreadyExists(StoreError):
    """An agent is already stored under this id."""


class StoreUnavailable(StoreError):
    """The store cannot answer now; nothing was changed, and a retry may succeed."""


class StoreFull(StoreUnavailable):
    """There is no room for another agent; heartbeats and removals go on."""


class StoreUnusable(StoreError):
    """The database is not one this program may use; only an operator can mend it."""


class NotOwner(StoreError):
    """The agent belongs to somebody else; nothing was changed."""

    def __init__(self, message: str, agent_ids: Collection[str] = frozenset()) -> None:
        super().__init__(message)
        #: Of a call about many, those that do.
        self.agent_ids = agent_ids


class QuotaExceeded(StoreError):
    """There may be no more agents, in all or of this owner; those there are live on."""
