"""What the daemon keeps in memory, and whether beats make it grow."""

from contextlib import ExitStack

from bench import fleet
from bench.load import Load
from bench.processes import Process
from bench.run import NotOffered, Run

_AGENTS = 100_000
_SIZE = 10_000
_MILLION = 1_000_000
_CONNECTIONS = 4
#: Beats of every agent before growth is measured: buffers and caches fill.
_WARM_UP_BEATS = 3 * _AGENTS


def with_100k_agents(run: Run) -> None:
    """Measure resident memory, and its growth over a million beats."""
    _measure(run, "memory_growth", _MILLION)


def over_10m_beats(run: Run) -> None:
    """Measure growth over ten million beats."""
    _measure(run, "memory_growth_10m", 10 * _MILLION)


def _measure(run: Run, growth_key: str, beats: int) -> None:
    run.say(f"memory with {_AGENTS:,} agents, over {beats:,} beats")
    with ExitStack() as stack:
        ours = run.start_ours(stack, _AGENTS)
        try:
            _beat(run, ours, _WARM_UP_BEATS)
        except NotOffered as reason:
            run.measure("memory", [ours.memory_mb()])
            run.results.absent[growth_key] = str(reason)
            return
        before = ours.memory_mb()
        _beat(run, ours, beats)
        after = ours.memory_mb()
    run.measure("memory", [after])
    run.measure(growth_key, [after - before])


def _beat(run: Run, ours: Process, beats: int) -> None:
    calls = fleet.bulk_heartbeats(fleet.ids(_AGENTS), _SIZE)
    run.require(ours, calls[0])
    load = Load(ours.address, calls * (beats // _AGENTS), _CONNECTIONS, once=True)
    run.closed(load, float("inf"))
