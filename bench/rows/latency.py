"""How long a heartbeat takes while others list the fleet and the sweep runs."""

from contextlib import ExitStack

from bench import fleet, servers
from bench.load import Beside, Load
from bench.run import Run, shown

WHAT = "1,000 beats/s, open loop"
_AGENTS = 10_000
_BEATS_PER_SECOND = 1_000
_SECONDS = 8
_SWEEP_SECONDS = 1
#: Agents that expire one after the other, so that each sweep finds some.
_DYING = 6_000
_DYING_WITHIN_SECONDS = 60


def under_load(run: Run) -> None:
    """Beat at a fixed rate, list everybody every second, sweep every second."""
    with ExitStack() as stack:
        folder = run.new_folder(stack)
        database = run.fleets.ours(_AGENTS, folder)
        fleet.store(database, fleet.dying(_DYING, within_seconds=_DYING_WITHIN_SECONDS))
        sweep = {"LEASES__SWEEP_INTERVAL_SECONDS": _SWEEP_SECONDS}
        ours = stack.enter_context(servers.serve_ours(folder, **sweep))
        load = Load(ours.address, fleet.heartbeats(fleet.ids(_AGENTS)))
        lists = Beside(fleet.request("GET", "/agents"), every_seconds=1)
        for _ in run.each_round(WHAT):
            figures = run.open(load, _SECONDS, _BEATS_PER_SECOND, lists)
            run.note(WHAT, "ours", shown(figures))
    latencies = run.seen(WHAT, "ours", "latency_ms")
    run.measure("open_p99", [latency["p99"] for latency in latencies])
