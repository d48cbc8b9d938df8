"""What `/metrics` looks up when it is asked, in the shape of Prometheus's metrics."""

import math
from collections.abc import Mapping
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from api.health import LeaseTimeHealth, SweepHealth
from store import Distribution, Figures, Hold
from store.guard import Level
from store.leases import Status

NAMESPACE = "agent_registry"

Label = TypeVar("Label", bound=str)


def process(version: str, uptime_seconds: float) -> list[Metric]:
    """Tell of the program."""
    return [
        _each(
            GaugeMetricFamily,
            "build_info",
            "Always 1; its label is the version that runs.",
            "version",
            {version: 1},
        ),
        _gauge("uptime_seconds", "Seconds since the start.", uptime_seconds),
    ]


def store(figures: Figures, *, up: bool) -> list[Metric]:
    """Tell of the database."""
    return [
        _gauge("store_up", "1 while the store answers and writes, else 0.", up),
        _counter(
            "expiries",
            "Agents that were removed because their lease had run out.",
            figures.expired,
        ),
        _counter(
            "revivals",
            "Agents whose lease had run out, and who came back before a sweep.",
            figures.revived,
        ),
        _counter(
            "guard_holds",
            "Holds of agents that expired together, as they began.",
            figures.holds,
        ),
        _histogram(
            "commit_duration_seconds",
            "How long transactions took, from their first change until stored.",
            figures.commits,
        ),
        _counter(
            "commit_failures",
            "Transactions that were not stored; their callers were told.",
            figures.failed_commits,
        ),
        _gauge(
            "wal_size_bytes",
            "Size of SQLite's write-ahead log.",
            figures.log_bytes,
        ),
    ]


def fleet(agents: Mapping[Status, int], hold: Hold | None) -> list[Metric]:
    """Tell of the agents, and whether the guard holds those that are due."""
    level = hold and hold.level
    return [
        _each(
            GaugeMetricFamily,
            "agents",
            "Agents, as readers see them.",
            "status",
            agents,
        ),
        _each(
            GaugeMetricFamily,
            "guard_holding",
            "1 while agents are held that expired together, by how many they are.",
            "level",
            {each: each is level for each in (Level.PART, Level.MOST)},
        ),
    ]


def sweep(health: SweepHealth | None) -> list[Metric]:
    """Tell of the removal of expired agents, where a scheduler runs."""
    if health is None:
        return []
    return [
        _gauge(
            "sweep_age_seconds",
            "Seconds since the last sweep that succeeded, or since the start.",
            health.age_seconds,
        ),
        _counter("sweep_failures", "Sweeps that failed.", health.failures),
    ]


def lease_time(health: LeaseTimeHealth | None) -> list[Metric]:
    """Tell of lease time, where it is not the wall clock's."""
    if health is None:
        return []
    return [
        _gauge(
            "lease_time_stopped",
            "1 while lease time stands still, and nobody expires.",
            health.stands_still_at is not None,
        ),
        _each(
            CounterMetricFamily,
            "lease_rearms",
            "Re-arms of all valid leases, by why lease time had stood still.",
            "cause",
            health.rearms,
        ),
    ]


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", what, value)


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"{NAMESPACE}_{name}", what, value)


def _each(
    family: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    what: str,
    label: str,
    values: Mapping[Label, float],
) -> Metric:
    """Return a metric that has a number for each value of its label."""
    metric = family(f"{NAMESPACE}_{name}", what, labels=[label])
    for value, number in values.items():
        metric.add_metric([value], number)
    return metric


def _histogram(name: str, what: str, values: Distribution) -> Metric:
    return HistogramMetricFamily(
        f"{NAMESPACE}_{name}",
        what,
        [
            ("+Inf" if bound == math.inf else str(bound), count)
            for bound, count in values.within
        ],
        values.total,
    )
