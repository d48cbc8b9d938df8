"""Failpoints: armed by tests of crashes, nothing otherwise."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store import failpoints

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("setting", "times", "status"),
    [
        ("", 1, 0),
        ("before_commit:kill", 1, 0),
        ("after_commit:kill", 1, -signal.SIGKILL),
        ("after_commit:kill:3", 2, 0),
        ("after_commit:kill:3", 3, -signal.SIGKILL),
        ("after_commit:kill_soon", 1, -signal.SIGKILL),
    ],
)
def test_the_armed_point_kills_when_it_is_reached_so_often(
    setting: str, times: int, status: int
) -> None:
    """No other point does, and no point unless it is armed."""
    program = (
        "import time; from store import failpoints; "
        f"failpoints.arm({setting!r}); "
        f"[failpoints.reach('after_commit') for _ in range({times})]; "
        f"time.sleep({10 if 'soon' in setting else 0})"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)

    assert done.returncode == status


@pytest.mark.parametrize(
    "setting", ["nowhere:kill", "after_commit", "after_commit:sing", "x"]
)
def test_an_unknown_failpoint_is_refused(setting: str) -> None:
    """A test that misspells it must not pass."""
    with pytest.raises(ValueError, match="arms no failpoint"):
        failpoints.arm(setting)
