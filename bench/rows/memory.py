"""What the daemon keeps in memory, and whether beats make it grow."""

from contextlib import ExitStack
from dataclasses import replace

from bench import fleet
from bench.load import Load
from bench.run import Run

_AGENTS = 100_000
_MILLION = 1_000_000
_BULK_SIZE = 10_000
_BULK_CONNECTIONS = 4
#: Beats of every agent before growth is measured: buffers and caches fill.
_WARM_UP_ROUNDS = 3


def over_1m_beats(run: Run) -> None:
    """Measure resident memory, and its growth over a million beats one by one."""
    what = f"memory with {_AGENTS:,} agents, beats one by one"
    beats = Load(("", 0), fleet.heartbeats(fleet.ids(_AGENTS)), once=True)
    grown = _watched(run, what, beats, beats_a_round=_AGENTS, beats=_MILLION)
    run.measure("memory", grown)
    run.measure("memory_growth", [grown[-1] - grown[0]])


def over_10m_beats(run: Run) -> None:
    """Measure growth over ten million beats, in bulk: one by one takes half an hour."""
    what = f"memory with {_AGENTS:,} agents, bulk beats"
    calls = fleet.bulk_heartbeats(fleet.ids(_AGENTS), _BULK_SIZE) * 10
    beats = Load(("", 0), calls, _BULK_CONNECTIONS, once=True)
    grown = _watched(run, what, beats, beats_a_round=_MILLION, beats=10 * _MILLION)
    run.measure("memory_growth_10m", [grown[-1] - grown[0]])


def _watched(
    run: Run, what: str, load: Load, *, beats_a_round: int, beats: int
) -> list[float]:
    """Send a load over and over; return the megabytes before, and after each time."""
    run.say(what)
    with ExitStack() as stack:
        ours = run.start_ours(stack, _AGENTS)
        load = replace(load, address=ours.address)
        for _ in range(_WARM_UP_ROUNDS):
            run.closed(load, float("inf"))
        grown = [ours.memory_mb()]
        for _ in range(beats // beats_a_round):
            run.closed(load, float("inf"))
            grown.append(ours.memory_mb())
            run.note(what, "ours", {"memory_mb": grown[-1]})
    return grown
