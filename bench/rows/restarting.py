"""How long a daemon that was killed needs until it takes beats again."""

import time
from contextlib import ExitStack

from bench import fleet, servers
from bench.load import Load, closed_loop
from bench.run import Run

_AGENTS = 100_000
#: So long beats are written before the kill: there is a log to recover.
_SECONDS_OF_BEATS = 1
_WHAT = "ready again after kill -9"


def after_a_kill(run: Run) -> None:
    """Time from the start of the process to the first beat that is answered."""
    with ExitStack() as stack:
        folder = run.new_folder(stack)
        run.fleets.ours(_AGENTS, folder)
        beats = fleet.heartbeats(fleet.ids(_AGENTS))
        taken = []
        for _ in run.each_round(_WHAT):
            with servers.serve_ours(folder) as ours:
                load = Load(ours.address, beats)
                run.closed(load, _SECONDS_OF_BEATS)
            # Leaving killed it.
            begun = time.perf_counter()
            with servers.serve_ours(folder) as ours:
                closed_loop(Load(ours.address, beats[:1], 1, once=True), 1).all_ok()
                taken.append(time.perf_counter() - begun)
    run.measure("ready_again", taken)
