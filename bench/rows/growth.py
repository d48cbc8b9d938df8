"""How the cost of a heartbeat grows with the fleet."""

from contextlib import ExitStack

from bench.rows.heartbeats import beating
from bench.run import Run

_SMALL, _LARGE = 10_000, 1_000_000
_SECONDS = 4
_WHAT = "heartbeats, small and large fleet"


def of_beats(run: Run) -> None:
    """Compare heartbeats in a fleet of a million with those in one of 10,000."""
    run.say(f"filling a database with {_LARGE:,} agents")
    with ExitStack() as stack:
        subjects = {
            f"{agents:,}": beating(run.start_ours(stack, agents), agents)
            for agents in (_SMALL, _LARGE)
        }
        run.alternate(_WHAT, subjects, _SECONDS)
    run.compare("growth", _WHAT, f"{_LARGE:,}", f"{_SMALL:,}")
