"""What is asked of the registry: each row's bar and goal, and how it is judged."""

import statistics
from enum import StrEnum
from typing import NamedTuple

from bench.results import Results


class Verdict(StrEnum):
    """How a row stands."""

    GOAL = "reaches the goal"
    BAR = "holds the bar"
    SHORT = "FALLS SHORT"
    SHOWN = "shown"
    ABSENT = "absent"


class Target(NamedTuple):
    """One row of the target table."""

    key: str
    what: str
    unit: str
    #: What must hold, and what we are after; what is only shown has neither.
    bar: float | None = None
    goal: float | None = None
    lower_is_better: bool = False
    #: Measured by `make bench-full` alone.
    full_only: bool = False


#: "None" and "no difference", as far as noise lets us see.
_NO_GROWTH_MB = 3
_NO_DIFFERENCE = 0.95

TARGETS = (
    Target("beat_bare", "one committed heartbeat vs bare", "x", 0.35, 0.6),
    Target(
        "cpu_bare",
        "its CPU per request vs bare",
        "x",
        3,
        1.5,
        lower_is_better=True,
    ),
    Target("beat_mixed", "the same, in another order than they registered", "x"),
    Target("beat_naive", "one committed heartbeat vs naive", "x", 6, 10),
    Target("beat_etcd", "the same vs etcd lease keepalive, JSON gateway", "x", 2, 3),
    Target("beat_redis", "the same vs Redis EXPIRE, AOF always", "x"),
    Target("beat_consul", "the same vs Consul TTL check pass", "x"),
    Target("beat_eureka", "the same vs Eureka heartbeat", "x"),
    Target("beat_zookeeper", "the same vs ZooKeeper session ping", "x"),
    Target("beat_nacos", "the same vs Nacos instance beat", "x"),
    Target("new_naive", "every connection new, vs naive", "x", 2.5, 4),
    Target("beat_token", "with a token, vs naive with a token", "x", 5, 5),
    Target("beat_tls", "with a token over TLS, vs naive with both", "x", 5, 5),
    Target(
        "full_normal",
        "synchronous=FULL vs NORMAL, heartbeats",
        "x",
        0.6,
        _NO_DIFFERENCE,
    ),
    Target(
        "bulk_rate",
        "bulk heartbeats, 10,000 ids a call, 100,000 rows",
        "beats/s",
        80_000,
        150_000,
    ),
    Target("bulk_naive", "the same vs a naive loop of UPDATEs", "x", 20, 20),
    Target(
        "open_p99",
        "1,000 beats/s open loop, 10,000 listed every second, sweep: p99",
        "ms",
        25,
        10,
        lower_is_better=True,
    ),
    Target(
        "sweep_p99",
        "sweep of 100,000 among 1,000,000: heartbeat p99 meanwhile",
        "ms",
        25,
        10,
        lower_is_better=True,
        full_only=True,
    ),
    Target(
        "sweep_seconds",
        "the whole of that sweep",
        "s",
        15,
        5,
        lower_is_better=True,
        full_only=True,
    ),
    Target(
        "sweep_nothing",
        "sweep with nothing expired among 1,000,000",
        "ms",
        20,
        5,
        lower_is_better=True,
        full_only=True,
    ),
    Target(
        "list_orjson",
        "GET /agents, 10,000 rows, vs orjson.dumps of ready dicts",
        "x",
        14,
        6,
        lower_is_better=True,
    ),
    Target(
        "page_100k",
        "a page of 100 from 100,000 rows",
        "ms",
        3,
        1,
        lower_is_better=True,
    ),
    Target(
        "page_1m",
        "a page of 100 from 1,000,000 rows",
        "ms",
        3,
        1,
        lower_is_better=True,
        full_only=True,
    ),
    Target("register_naive", "registrations, new ids, FULL, vs naive FULL", "x", 5, 8),
    Target(
        "memory",
        "memory with 100,000 agents",
        "MB",
        150,
        100,
        lower_is_better=True,
    ),
    Target(
        "memory_growth",
        "its growth over 1 million beats",
        "MB",
        _NO_GROWTH_MB,
        _NO_GROWTH_MB,
        lower_is_better=True,
    ),
    Target(
        "memory_growth_10m",
        "its growth over 10 million beats",
        "MB",
        _NO_GROWTH_MB,
        _NO_GROWTH_MB,
        lower_is_better=True,
        full_only=True,
    ),
    Target(
        "ready_again",
        "ready again after kill -9 with 100,000 rows",
        "s",
        2,
        1,
        lower_is_better=True,
    ),
    Target(
        "growth",
        "beats/s at 1,000,000 rows vs 10,000 rows",
        "x",
        0.5,
        0.8,
        full_only=True,
    ),
)


class Judged(NamedTuple):
    """One row of the table as it came out."""

    target: Target
    verdict: Verdict
    #: Median, least and most of the rounds; None where nothing was measured.
    figure: float | None = None
    least: float | None = None
    most: float | None = None
    #: Why nothing was measured.
    reason: str = ""


def judge(results: Results) -> list[Judged]:
    """Return the target table with what was measured."""
    return [_judge(target, results) for target in TARGETS]


def _judge(target: Target, results: Results) -> Judged:
    values = results.measures.get(target.key)
    if not values:
        in_full = "in make bench-full" if target.full_only else "not measured"
        reason = results.absent.get(target.key, in_full)
        return Judged(target, Verdict.ABSENT, reason=reason)
    figure = statistics.median(values)
    return Judged(target, verdict(target, figure), figure, min(values), max(values))


def verdict(target: Target, figure: float) -> Verdict:
    """Judge one figure; a bar or a goal that is just met is met."""
    if target.bar is None:
        return Verdict.SHOWN
    if target.goal is not None and _meets(target, figure, target.goal):
        return Verdict.GOAL
    return Verdict.BAR if _meets(target, figure, target.bar) else Verdict.SHORT


def _meets(target: Target, figure: float, asked: float) -> bool:
    return figure <= asked if target.lower_is_better else figure >= asked
