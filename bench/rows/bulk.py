"""Bulk heartbeats: one node beats for all of its agents in one call."""

from contextlib import ExitStack

from bench import fleet
from bench.load import Load
from bench.run import NotOffered, Run, Subject

_AGENTS = 100_000
_SIZE = 10_000
#: The naive loop takes a third of a second for so many.
_NAIVE_SIZE = 1_000
_CONNECTIONS = 4
_SECONDS = 3
_WHAT = "bulk heartbeats"


def ten_thousand_a_call(run: Run) -> None:
    """Measure beats per second, and compare them with a naive loop's."""
    run.say("filling databases with 100,000 agents")
    agent_ids = fleet.ids(_AGENTS)
    with ExitStack() as stack:
        ours, naive = run.start_ours(stack, _AGENTS), run.start_naive(stack, _AGENTS)
        calls = fleet.bulk_heartbeats(agent_ids, _SIZE)
        try:
            run.require(ours, calls[0])
        except NotOffered as reason:
            run.results.absent |= dict.fromkeys(
                ("bulk_rate", "bulk_naive"), str(reason)
            )
            return
        naive_calls = fleet.bulk_heartbeats(agent_ids, _NAIVE_SIZE)
        subjects = {
            "ours": Subject(Load(ours.address, calls, _CONNECTIONS), ours),
            "naive": Subject(Load(naive.address, naive_calls, _CONNECTIONS), naive),
        }
        run.alternate(_WHAT, subjects, _SECONDS)
    beats = [calls * _SIZE for calls in run.seen(_WHAT, "ours")]
    naive_beats = [calls * _NAIVE_SIZE for calls in run.seen(_WHAT, "naive")]
    run.measure("bulk_rate", beats)
    run.measure(
        "bulk_naive",
        [one / other for one, other in zip(beats, naive_beats, strict=True)],
    )
