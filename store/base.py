"""What every repository of agents can do, whatever its database."""

import abc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import NamedTuple, ParamSpec, TypeVar

from store.clock import Clock, LeaseTime, Times, utcnow
from store.errors import StoreError
from store.figures import Figures
from store.guard import GuardRules, Hold
from store.leases import Status
from store.listening import Listening
from store.models import AgentRecord
from store.registration import Registration

P = ParamSpec("P")
T = TypeVar("T")


class AgentFilter(NamedTuple):
    """Which agents a listing shows; a field that is None filters nothing."""

    include_dead: bool = False
    name: str | None = None
    host: str | None = None
    #: Every pair must match: a scalar whose text is the value (`true`, `2`,
    #: `gpu`), or an array with such an element.
    metadata: Mapping[str, str] = {}


class AgentPage(NamedTuple):
    """One page of a listing, rendered."""

    #: A JSON array with one object an agent, in UTF-8.
    body: bytes
    #: The id to list on from; None when no agent follows.
    next_after: str | None


class Lease(NamedTuple):
    """A lease as a heartbeat left it."""

    expires_at: datetime
    ttl_seconds: int


class OwnedBeat(NamedTuple):
    """A heartbeat, and on whose behalf it comes; empty: it may renew any lease."""

    agent_id: str
    owner: str


class Renewal(NamedTuple):
    """What heartbeats on behalf of one owner did; who is in neither is unknown."""

    leases: dict[str, Lease]
    #: Ids of agents that belong to somebody else.
    foreign: frozenset[str] = frozenset()


class AgentView(NamedTuple):
    """One agent, judged."""

    record: AgentRecord
    status: Status
    #: The instant it was judged at.
    now: datetime


class Swept(NamedTuple):
    """What a sweep did."""

    removed: int
    #: Agents that are due and were held back.
    held: int = 0
    #: The hold that keeps them; None when nobody is held.
    hold: Hold | None = None
    #: Whether all was done; false when it was ended before.
    whole: bool = True


class AgentRegistryRepository(abc.ABC):
    """Where agent records are kept.

    Every method is synchronous, atomic, and safe to call from any thread; when a
    writing method returns, its change is committed. Each reads the clock at most
    once. Any of them may raise `StoreUnavailable`, having changed nothing. Those that
    work in chunks say so: each chunk is atomic, reads the clock anew, and stands when
    a later one fails.
    `owner` is on whose behalf a change is made; empty: of somebody who may change
    every agent (see `ownership`).

    Args:
        clock: stamps what happens.
        lease_time: judges leases; `clock` itself if there is none.
        guard: when to hold agents that expire together; None holds nobody.
    """

    def __init__(
        self,
        clock: Clock = utcnow,
        *,
        lease_time: LeaseTime | None = None,
        guard: GuardRules | None = None,
    ) -> None:
        self._times = Times(clock, lease_time)
        #: When to hold agents that expire together; None: never.
        self.guard = guard

    def now(self) -> datetime:
        """Return the instant with which this repository stamps what happens."""
        return self._times.now()

    def lease_now(self) -> datetime:
        """Return the instant at which this repository judges leases."""
        return self._times.lease_now()

    def submit(
        self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[T]":
        """Start one of this repository's own methods without waiting for it.

        Any but `delete_expired`, `sweep`, `move_lease_time` and `rearm`, which are
        more than one job. The future carries what `method` returns or raises. Here the
        method runs before this returns, which is right for a store that never blocks.
        """
        future: Future[T] = Future()
        try:
            future.set_result(method(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it
            future.set_exception(error)
        return future

    def write_lag_seconds(self) -> float:
        """Return how long the oldest change waits for its commit; never waits itself.

        Infinity when the last commit failed: then nothing is known to be written.
        Here 0, which is right for a store that never blocks.
        """
        return 0.0

    def figures(self) -> Figures:
        """Return what this store counted; never waits. Here nothing was."""
        return Figures()

    @abc.abstractmethod
    def add(self, record: AgentRecord) -> AgentRecord:
        """Store a new row exactly as given, and return it.

        Raises:
            AgentAlreadyExists: the id is taken, by a living agent or a dead one.
        """

    @abc.abstractmethod
    def register(self, record: AgentRecord) -> Registration:
        """Make `record` the complete registration of its agent; renew its lease.

        The record's own instants are ignored. `registered_at` is kept while the
        agent lives; a dead agent that was not swept yet is revived: it starts a
        new life, as a new one does. Idempotent but for the lease. The agent keeps
        its owner; one that has none gets the record's.

        Raises:
            NotOwner: the agent belongs to another owner than the record's.
            QuotaExceeded: it is new, and there may be no more; or it has no owner
                yet, and the record's may have no more.
        """

    @abc.abstractmethod
    def register_all(
        self, records: Sequence[AgentRecord]
    ) -> list[Registration | StoreError]:
        """Register many as `register` does, one after the other, at one instant.

        Return what each did, or the error for which it alone was refused. An agent
        that is given twice is known the second time.
        """

    @abc.abstractmethod
    def get(self, agent_id: str) -> AgentRecord | None:
        """Return the agent's row, dead or alive; None when there is none."""

    @abc.abstractmethod
    def view(self, agent_id: str) -> AgentView | None:
        """Return the agent, judged; None when there is none."""

    @abc.abstractmethod
    def list_all(
        self,
        include_dead: bool = False,  # noqa: FBT001, FBT002 - fixed by the contract
    ) -> list[AgentRecord]:
        """Return the living agents and the held, or all of them, ordered by id."""

    @abc.abstractmethod
    def list_page(
        self,
        agents: AgentFilter,
        *,
        now: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> AgentPage:
        """Return the agents that match, ordered by id, as JSON.

        They are judged at `now`, by default at the lease time of the snapshot. The
        database renders it: a listing of thousands must not hold up, object
        by object, the heartbeats beside it. Each agent has the columns of its row
        (instants as RFC 3339 in UTC, with Z) and `is_alive`, `status` and
        `age_seconds` as `leases` has them. The answer is one consistent snapshot
        of at most `limit` agents, all of them behind the id `after`; ids are
        compared by code point.
        """

    @abc.abstractmethod
    def count_by_status(self, now: datetime | None = None) -> dict[Status, int]:
        """Return how many agents are in each status, zeros included.

        They are judged at `now`, by default at the lease time of the snapshot.
        """

    @abc.abstractmethod
    def update_heartbeat(self, agent_id: str) -> AgentRecord:
        """Renew the agent's lease from now, and return its row.

        Revives a dead agent that was not swept yet; never creates one.

        Raises:
            AgentNotFound: nothing is stored under the id.
        """

    @abc.abstractmethod
    def update_heartbeats(self, agent_ids: Sequence[str]) -> dict[str, Lease]:
        """Renew many leases at one instant, all or none; return those renewed.

        Ids missing from the answer are unknown; one given twice counts once.
        """

    @abc.abstractmethod
    def update_heartbeats_of(self, beats: Sequence[OwnedBeat]) -> dict[str, Renewal]:
        """Renew as `update_heartbeats` does, by owner those that it may touch."""

    @abc.abstractmethod
    def renew_all(self, agent_ids: Sequence[str], owner: str = "") -> list[str]:
        """Renew many leases as `update_heartbeats` does; return the unknown ids.

        Raises:
            NotOwner: it has those that belong to somebody else; none was renewed.
        """

    @abc.abstractmethod
    def delete(self, agent_id: str, owner: str = "") -> bool:
        """Remove the agent, dead or alive; tell whether it was there.

        Raises:
            NotOwner: it belongs to somebody else.
        """

    @abc.abstractmethod
    def delete_expired(self) -> int:
        """Remove every agent that is dead now, and return how many they were.

        Works in chunks. Each is atomic and checks the deadline as it removes, so
        a heartbeat committed before it wins, and every row is removed exactly
        once, however many sweep at the same time.
        """

    @abc.abstractmethod
    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Remove the agents that are dead now, as far as the guard lets them go.

        Works as `delete_expired` does, which itself knows no guard. `keep_on` is asked
        between the chunks: one that is ended takes no more.
        """

    @abc.abstractmethod
    def hold(self) -> Hold | None:
        """Return the hold that is on, also before the first sweep that keeps it."""

    @abc.abstractmethod
    def release_hold(self) -> int:
        """End a hold; return how many agents are dead that were held until now."""

    @abc.abstractmethod
    def listening(self) -> Listening | None:
        """Return when the registry last listened, as stored; None: it never did."""

    @abc.abstractmethod
    def record_listening(self, known: Listening) -> None:
        """Store until when the registry listened."""

    @abc.abstractmethod
    def move_lease_time(
        self,
        stopped_at: datetime,
        to: datetime,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        """State lease time that stood still at `stopped_at` as `to`, in one change.

        A hold moves along until it is over. When `to` is earlier, after a step of the
        wall clock, who was dead stays dead. `moved` lets lease time follow; no sweep
        judges between the two.
        """

    @abc.abstractmethod
    def rearm(
        self,
        stopped_at: datetime,
        keep_on: Callable[[], bool],
        heard_at: datetime | None = None,
    ) -> int | None:
        """Re-arm every lease that was valid at `stopped_at`, from now.

        See `leases.rearmed`, also for `heard_at`. Works in chunks, and asks `keep_on`
        between them.
        Done again after it was cut short, it re-arms whom it had reached too.

        Returns:
            How many leases were re-armed; None when `keep_on` cut it short.
        """
