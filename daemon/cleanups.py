"""What was started, and how to undo it: a stack of named clean-ups."""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class CleanUps:
    """Undoes in reverse what was done, each step by its name.

    A step that fails is logged and does not keep the others from running.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, name: str, undo: Callable[[], object]) -> None:
        """Remember how to undo what was just done."""
        self._steps.append((name, undo))

    def unwind(self) -> list[str]:
        """Run and forget every step; return the names of those that failed."""
        failed = []
        while self._steps:
            name, undo = self._steps.pop()
            log.debug("Stopping: %s", name, extra={"action": "cleanup", "step": name})
            try:
                undo()
            except Exception:
                log.exception(
                    "Stopping: %s failed",
                    name,
                    extra={"action": "cleanup_failed", "step": name},
                )
                failed.append(name)
        return failed
