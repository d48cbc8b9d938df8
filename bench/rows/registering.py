"""Registrations of agents that are new."""

from contextlib import ExitStack

from bench import fleet
from bench.load import Load
from bench.run import Run, Subject

_AGENTS = 10_000
_SECONDS = 2.5
#: More than either can register in that time, so that none is used up.
_NEW = {"ours": 40_000, "naive": 8_000}
_WHAT = "registrations, 64 connections"


def new_agents(run: Run) -> None:
    """Compare registrations that are durable before they are answered."""
    with ExitStack() as stack:
        started = {
            "naive": run.start_naive(stack, _AGENTS, synchronous="full"),
            "ours": run.start_ours(stack, _AGENTS),
        }
        for number in run.each_round(_WHAT):
            for name, process in started.items():
                agent_ids = (f"new-{number}-{one:06d}" for one in range(_NEW[name]))
                load = Load(process.address, fleet.registrations(agent_ids), once=True)
                run.note(_WHAT, name, run.measured(Subject(load, process), _SECONDS))
    run.compare("register_naive", _WHAT, "ours", "naive")
