"""What the client logs: one line for each change, and none that can hurt it."""

import contextlib
import logging
from collections.abc import Iterable, Sequence

from agent_registry_client.kept import Change, State

log = logging.getLogger("agent_registry_client")

_SAYS = {
    State.JOINING: (logging.WARNING, "is not known to the registry: registering it"),
    State.REGISTERED: (logging.INFO, "is registered"),
    State.RETRYING: (logging.WARNING, "cannot be kept registered now; retrying"),
    State.REFUSED: (logging.ERROR, "is refused by the registry"),
    State.LEFT: (logging.INFO, "is not kept any more"),
}


def say(
    level: int, text: str, *words: object, action: str, agent_ids: Iterable[str] = ()
) -> None:
    """Log a line."""
    extra = {"action": action, "agent_ids": list(agent_ids)}
    # A filter or a handler of the program may raise, or exit; no beat must end by it.
    with contextlib.suppress(Exception, SystemExit):
        log.log(level, text, *words, extra=extra)


def say_mistake(text: str, mistake: BaseException, *, action: str) -> None:
    """Log an exception that nobody else will hear of, with its traceback."""
    with contextlib.suppress(Exception, SystemExit):
        log.error(text, exc_info=mistake, extra={"action": action})


def say_changes(changes: Sequence[Change]) -> None:
    """Say in one line what one event changed, however many agents it concerns."""
    last = changes[-1]
    level, says = _SAYS[last.after]
    if last.after is State.LEFT and last.error:
        level, says = logging.WARNING, "left, but may be listed until its lease ends"
    agent_ids = [change.agent_id for change in changes]
    say(
        level,
        "Agent %s %s%s",
        _names(agent_ids),
        says,
        f": {last.error}" if last.error else "",
        action=f"agent_{last.after}",
        agent_ids=agent_ids,
    )


def _names(agent_ids: Sequence[str]) -> str:
    first, *others = agent_ids
    return f"{first} (and {len(others)} more)" if others else first
