"""Named points at which a test kills the process; nothing happens there otherwise.

`AGENTREG_FAIL=after_commit:kill:20` kills the daemon the 20th time it has committed
and has not answered yet, `kill_soon` inside of what follows. With `kill` the point is
not passed; other threads go on for a moment, and send what was answered too early.
"""

import os
import random
import signal
import threading
import time

#: Every point there is.
POINTS = (
    "before_commit",
    "after_commit",
    "mid_sweep",
    "mid_migration",
    "mid_checkpoint",
    "mid_backup",
)
#: How long other threads go on at a point that kills.
_MOMENT_SECONDS = 0.05
#: `kill_soon` kills within so many seconds.
_SOON_SECONDS = 0.003

#: For each point that is armed: the action, and how often it is to be reached.
_armed: dict[str, tuple[str, int]] = {}


def arm(setting: str) -> None:
    """Arm a point as `POINT:ACTION` or `POINT:ACTION:COUNT` says; none if empty.

    Raises:
        ValueError: there is no such point or action.
    """
    _armed.clear()
    if not setting:
        return
    point, _, rest = setting.partition(":")
    action, _, count = rest.partition(":")
    if point not in POINTS or action not in ("kill", "kill_soon"):
        raise ValueError(f"{setting!r} arms no failpoint")
    _armed[point] = (action, int(count or 1))


def reach(point: str) -> None:
    """Do what the point is armed for."""
    if _armed and point in _armed:
        _count_down(point, *_armed[point])


def _count_down(point: str, action: str, left: int) -> None:
    if left > 1:
        _armed[point] = (action, left - 1)
    elif action == "kill":
        time.sleep(_MOMENT_SECONDS)
        _kill()
    else:
        threading.Thread(target=_kill_soon, daemon=True).start()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_soon() -> None:
    time.sleep(random.uniform(0, _SOON_SECONDS))  # noqa: S311 - no secret
    _kill()
