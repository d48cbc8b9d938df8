"""Renewing leases: what a batch of heartbeats does to the rows.

`leases.renewed` and `leases.deadline` in SQL, one statement for a whole batch.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from store.base import Lease, OwnedBeat, Renewal
from store.clock import Heard, Times
from store.connections import SqliteRegistryDatabase
from store.errors import NotOwner
from store.models import from_micros, to_micros
from store.ownership import TOUCHES
from store.queries import EXPIRED, execute

# In the order of rows, in which SQLite reads a set of them. In the order of ids, 10,000
# beats of agents that registered together took 6.4 us each, and now take 4.5; where
# they are scattered over a table of 100,000, an eighth less. CROSS JOIN keeps SQLite
# from looking through all agents for each id.
_RENEW = f"""
    UPDATE agents
    SET last_heartbeat = max(last_heartbeat, :now),
        expires_at = max(last_heartbeat, :now) + ttl_seconds * 1000000,
        rearms = 0
    WHERE {TOUCHES} AND rowid IN (
        SELECT agents.rowid FROM json_each(:ids) CROSS JOIN agents ON agent_id = value)
"""  # noqa: S608 - constants only
# Nearly always nobody is dead, which one look into an index shows; else each of the
# batch is looked up, and not each of the dead, of whom there may be a million.
_COUNT_DEAD = f"""
    SELECT iif(
        EXISTS (SELECT 1 FROM agents WHERE {EXPIRED}),
        (SELECT count(*) FROM agents
         WHERE agent_id IN (SELECT value FROM json_each(:ids)) AND +{EXPIRED}
            AND {TOUCHES}),
        0)
"""  # noqa: S608 - constants only
_RENEW_RETURNING = f"{_RENEW} RETURNING agent_id, expires_at, ttl_seconds"
_KNOWN = """
    SELECT json_group_array(agent_id)
    FROM agents WHERE agent_id IN (SELECT value FROM json_each(:ids))
"""
_FOREIGN = f"{_KNOWN} AND NOT {TOUCHES}"


class Heartbeats:
    """Renews the leases of one database; each call is a job of its writer, or a part.

    Args:
        database: whose leases are renewed.
        times: one stamps heartbeats, the other tells whom they bring back.
    """

    def __init__(self, database: SqliteRegistryDatabase, times: Times) -> None:
        self._database = database
        self._times = times

    def renew(self, agent_ids: Sequence[str]) -> dict[str, Lease]:
        """Renew leases; ids missing from the answer are unknown."""
        return self._renew(agent_ids, "", self._times.hear())

    def renew_by_owner(self, beats: Sequence[OwnedBeat]) -> dict[str, Renewal]:
        """Renew leases at one instant, on behalf of each owner those it may touch."""
        agent_ids: defaultdict[str, list[str]] = defaultdict(list)
        for agent_id, owner in beats:
            agent_ids[owner].append(agent_id)
        heard = self._times.hear()
        return {
            owner: self._renew_of(ids, owner, heard) for owner, ids in agent_ids.items()
        }

    def renew_all(self, agent_ids: Sequence[str], owner: str) -> list[str]:
        """Renew leases, all or none; return the unknown ids.

        Raises:
            NotOwner: some belong to somebody else.
        """
        different = list(dict.fromkeys(agent_ids))
        ids = json.dumps(different)
        beats, revived = self._beats(ids, owner, self._times.hear())
        renewed = self._execute(_RENEW, beats).rowcount
        whole = renewed == len(different)
        if not whole and owner and (foreign := self._foreign(ids, owner)):
            raise NotOwner("some of the agents belong to somebody else", foreign)
        self._database.ledger.revived(revived)
        if whole:
            return []
        (known,) = self._execute(_KNOWN, {"ids": ids}).fetchone()
        found = set(json.loads(known))
        return [agent_id for agent_id in different if agent_id not in found]

    def _renew_of(self, agent_ids: list[str], owner: str, heard: Heard) -> Renewal:
        leases = self._renew(agent_ids, owner, heard)
        if not owner or len(leases) == len(agent_ids):
            return Renewal(leases)
        return Renewal(leases, self._foreign(json.dumps(agent_ids), owner))

    def _renew(
        self, agent_ids: Sequence[str], owner: str, heard: Heard
    ) -> dict[str, Lease]:
        beats, revived = self._beats(json.dumps(agent_ids), owner, heard)
        rows = self._execute(_RENEW_RETURNING, beats).fetchall()
        self._database.ledger.revived(revived)
        instants: dict[int, datetime] = {}  # a batch has few: one for each TTL
        renewed = {}
        for agent_id, micros, ttl_seconds in rows:
            if micros not in instants:
                instants[micros] = from_micros(micros)
            renewed[agent_id] = Lease(instants[micros], ttl_seconds)
        return renewed

    def _beats(self, ids: str, owner: str, heard: Heard) -> tuple[dict[str, Any], int]:
        """Return the values that store beats, and how many dead come back by them.

        Args:
            ids: a JSON array of whose beats they are.
            owner: on whose behalf.
            heard: when.
        """
        beats = {"now": to_micros(heard.at), "ids": ids, "owner": owner}
        judged = beats | {"now": to_micros(heard.lease_now)}
        (dead,) = self._execute(_COUNT_DEAD, judged).fetchone()
        return beats, dead

    def _foreign(self, ids: str, owner: str) -> frozenset[str]:
        """Return those of a JSON array of ids that belong to somebody else."""
        (found,) = self._execute(_FOREIGN, {"ids": ids, "owner": owner}).fetchone()
        return frozenset(json.loads(found))

    def _execute(self, sql: str, values: dict[str, Any]) -> Any:  # noqa: ANN401 - SQLite's cursor
        return execute(self._database.writing, sql, values)
