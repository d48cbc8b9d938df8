"""Under a minute: the ratios that noise cannot flip."""

import statistics
from contextlib import ExitStack

from bench import fleet
from bench.report import number
from bench.results import Results
from bench.rows import heartbeats, sweeping
from bench.run import Run, started
from bench.targets import Target, Verdict, verdict

_ROUNDS = 3
_SECONDS = 1.5
_EXPIRED = 10_000

GUARDED = (
    Target("beat_naive", "heartbeats vs naive", "x", bar=4),
    Target("cpu_bare", "CPU per heartbeat vs bare", "x", bar=4, lower_is_better=True),
    Target("sweep_10k", "sweep of 10,000 vs sweep of nothing", "x", bar=20),
)


def quick() -> bool:
    """Measure, print, and tell whether every ratio holds."""
    results = Results(full=False)
    with started(results, rounds=_ROUNDS) as run:
        with ExitStack() as stack:
            subjects = heartbeats.with_references(run, stack)
            run.alternate(heartbeats.ONE_BY_ONE, subjects, _SECONDS)
        heartbeats.compare_with_references(run)
        _sweeps(run)
        run.say("done")
    return holds(results)


def holds(results: Results) -> bool:
    """Print what was measured, and tell whether every ratio holds."""
    judged = [_holds(target, results) for target in GUARDED]
    return all(judged)


def _sweeps(run: Run) -> None:
    """Compare a sweep of 10,000 with the one after it, which finds nobody."""
    ratios = []
    for _ in run.each_round("sweeps"):
        with ExitStack() as stack:
            path = run.fleets.ours(heartbeats.AGENTS, run.new_folder(stack))
            fleet.expire(path, beaten=True)
            many, nothing, *more = run.server_side.submit(
                sweeping.timed_sweeps, path, 6
            ).result()
            ratios.append(many / statistics.median([nothing, *more]))
    run.measure("sweep_10k", ratios)


def _holds(target: Target, results: Results) -> bool:
    figure = statistics.median(results.measures[target.key])
    judged = verdict(target, figure)
    sign = "at most" if target.lower_is_better else "at least"
    print(
        f"{target.what}: {number(figure)} {target.unit}, "
        f"must be {sign} {number(target.bar)}: {judged}"
    )
    return judged is not Verdict.SHORT
