"""Sweeps: of nothing, and of very many while others beat."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import fleet, servers
from bench.load import Load, percentiles_ms
from bench.processes import Process
from bench.run import Run
from store import GuardRules, create_storage_backend

_AGENTS = 1_000_000
_EXPIRED = _AGENTS // 10
_BEATS_PER_SECOND = 1_000
_WHAT = "sweep of 100,000 among 1,000,000"
_PATIENCE_SECONDS = 300
#: At its start a daemon re-arms the leases of all who live; then it sweeps.
_AFTER_REARM_SECONDS = 30
#: Beats begin so long before the sweep: its first step may stall them too.
_BEFORE_SWEEP_SECONDS = 1
#: The guard judges as it does for an operator, and lets everybody go.
_GUARD = GuardRules(fraction=1.0)


def nothing_among_1m(run: Run) -> None:
    """Time sweeps that find nobody, without a server."""
    run.say("sweeps of nothing among 1,000,000")
    with ExitStack() as stack:
        path = run.fleets.ours(_AGENTS, run.new_folder(stack))
        taken = run.server_side.submit(timed_sweeps, path, run.rounds + 1).result()
    run.measure("sweep_nothing", [seconds * 1000 for seconds in taken[1:]])


def a_tenth_of_1m(run: Run) -> None:
    """Beat at a fixed rate while a tenth of the fleet is swept."""
    alive = [one for one in fleet.ids(_AGENTS) if not one.endswith("0")]
    beats = fleet.heartbeats(alive[:_EXPIRED])
    whole, p99 = [], []
    for _ in run.each_round(_WHAT):
        with ExitStack() as stack:
            folder = run.new_folder(stack)
            fleet.expire(run.fleets.ours(_AGENTS, folder), ending="0", beaten=True)
            sweep = {
                "LEASES__SWEEP_INTERVAL_SECONDS": _AFTER_REARM_SECONDS,
                "LOG__FORMAT": "json",
            }
            ours = stack.enter_context(servers.serve_ours(folder, **sweep))
            latencies, seconds = _beat_through_sweep(run, ours, beats)
        latency_ms = percentiles_ms(latencies)
        run.note(_WHAT, "ours", {"latency_ms": latency_ms, "seconds": seconds})
        whole.append(seconds)
        p99.append(latency_ms["p99"])
    run.measure("sweep_seconds", whole)
    run.measure("sweep_p99", p99)


def timed_sweeps(database: Path, count: int) -> list[float]:
    """Return the seconds of successive sweeps; the first opens the database too."""
    agents, opened = create_storage_backend(f"sqlite:///{database}", guard=_GUARD)
    agents.get("nobody")
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        agents.sweep()
        taken.append(time.perf_counter() - begun)
    opened.close()
    return taken


def _beat_through_sweep(
    run: Run, ours: Process, beats: list[bytes]
) -> tuple[list[float], float]:
    """Beat from just before the sweep until all have expired; return latencies."""
    time.sleep(_AFTER_REARM_SECONDS - _BEFORE_SWEEP_SECONDS)
    give_up = time.monotonic() + _PATIENCE_SECONDS
    latencies: list[float] = []
    while time.monotonic() < give_up:
        told = list(_told(ours.log))
        if sum(line.get("removed", 0) for line in told) >= _EXPIRED:
            return latencies, _seconds_of_sweep(told)
        figures = run.open(Load(ours.address, beats), 1, _BEATS_PER_SECOND)
        latencies += figures.latencies
    raise TimeoutError(f"no sweep of {_EXPIRED:,} within {_PATIENCE_SECONDS} s")


def _seconds_of_sweep(told: list[dict[str, Any]]) -> float:
    """Return the time from the first agent's removal to the end of the last sweep."""
    first = next(line for line in told if line.get("action") == "agent_expired")
    last = [line for line in told if line.get("removed")][-1]
    begun, ended = (datetime.fromisoformat(line["time"]) for line in (first, last))
    return (ended - begun).total_seconds()


def _told(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)
