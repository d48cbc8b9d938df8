"""The audit: who did what to which agent, from where, and who was refused.

A line each, whose fields (`principal`, `address`, `agent_id`, ...) say the same to
programs. Heartbeats are counted, not told. Nothing that a caller wrote stands in a
line but ids that match the grammar.
"""

import logging
from collections.abc import Sequence

from starlette.types import Scope

from api.access import Caller, known_caller
from store import Outcome

log = logging.getLogger(__name__)

#: Agents that one line names.
_TOLD = 10


def registered(caller: Caller, agent_id: str, outcome: Outcome) -> None:
    """Tell of a registration that was stored."""
    if not log.isEnabledFor(logging.INFO):
        return
    log.info(
        "Agent %s registered: %s, by %s",
        agent_id,
        outcome,
        caller,
        extra={
            "action": "agent_registered",
            "agent_id": agent_id,
            "outcome": outcome,
            "owner": caller.owner,
            "principal": caller.principal.name,
            "address": caller.address,
        },
    )


def deregistered(caller: Caller, agent_id: str) -> None:
    """Tell of an agent that a call removed."""
    log.info(
        "Agent %s deregistered by %s",
        agent_id,
        caller,
        extra={
            "action": "agent_deregistered",
            "agent_id": agent_id,
            "owner": caller.owner,
        }
        | _who(caller),
    )


def released(caller: Caller, count: int) -> None:
    """Tell of a hold that an operator ended, if there was one."""
    if not count:
        return
    log.warning(
        "The hold of %d agents was ended by %s",
        count,
        caller,
        extra={"action": "hold_released", "released": count} | _who(caller),
    )


def refused(scope: Scope, code: str) -> None:
    """Tell of a call that was kept out."""
    caller = known_caller(scope)
    if caller is None:
        return
    log.warning(
        "Refused to %s: %s%s, %s",
        caller,
        caller.operation,
        _about(caller.agent_ids),
        code,
        extra={
            "action": "refused",
            "refused": code,
            "operation": caller.operation,
            "agent_ids": list(caller.agent_ids[:_TOLD]),
        }
        | _who(caller),
    )


def _about(agent_ids: Sequence[str]) -> str:
    if not agent_ids:
        return ""
    more = len(agent_ids) - 1
    return f" of {agent_ids[0]}" + (f" and {more} more" if more else "")


def _who(caller: Caller) -> dict[str, object]:
    return {"principal": caller.principal.name, "address": caller.address}
