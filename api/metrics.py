"""`GET /metrics`: what one application counts, and how it stands, for Prometheus."""

import enum
from collections.abc import Iterable
from itertools import chain

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from api import describe, gauges
from api.errors import REFUSALS
from api.handover import hand
from api.health import Reports, writes
from store import AgentRegistryRepository, Outcome, Registration, StoreError

_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_SWEEP_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ClosingCause(enum.StrEnum):
    """Why a connection was closed before its client was done."""

    LATE = "late"
    CROWDED = "crowded"
    SLOW_READER = "slow_reader"
    BROKEN = "broken"


class Metrics:
    """What one application counts as it happens; its own, not the process's.

    Heartbeats and registrations are counted a batch at a time: counting costs one
    of them nothing. Safe to call from any thread.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        registrations = Counter(
            f"{gauges.NAMESPACE}_registrations",
            "Registrations that were stored, by what they did.",
            ["outcome"],
            registry=registry,
        )
        self._registrations = {
            outcome: registrations.labels(outcome) for outcome in Outcome
        }
        heartbeats = Counter(
            f"{gauges.NAMESPACE}_heartbeats",
            "Heartbeats that renewed a lease, and those of unknown agents.",
            ["outcome"],
            registry=registry,
        )
        self._renewed = heartbeats.labels("renewed")
        self._unknown = heartbeats.labels("unknown")
        self._batches = Histogram(
            f"{gauges.NAMESPACE}_heartbeat_batch_size",
            "Heartbeats that one job of the store took.",
            buckets=_BATCH_SIZES,
            registry=registry,
        )
        self._deregistrations = Counter(
            f"{gauges.NAMESPACE}_deregistrations",
            "Agents that were removed by a call.",
            registry=registry,
        )
        self._refusals = Counter(
            f"{gauges.NAMESPACE}_refused_answers",
            "Requests that were kept out, by the code of their problem.",
            ["code"],
            registry=registry,
        )
        for code in REFUSALS:
            self._refusals.labels(code)
        closings = Counter(
            f"{gauges.NAMESPACE}_connections_closed",
            "Connections that were closed before their clients were done, by cause.",
            ["cause"],
            registry=registry,
        )
        self._closings = {cause: closings.labels(cause) for cause in ClosingCause}
        files = Counter(
            f"{gauges.NAMESPACE}_reload_failures",
            "Times that changed files could not be used, so that old ones stay.",
            ["files"],
            registry=registry,
        )
        self._files = {kind: files.labels(kind) for kind in ("credentials", "tls")}
        self._sweeps = Histogram(
            f"{gauges.NAMESPACE}_sweep_duration_seconds",
            "How long the sweeps took that succeeded.",
            buckets=_SWEEP_SECONDS,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def registered(self, registrations: Iterable[Registration]) -> None:
        """Count a batch of registrations."""
        for registration in registrations:
            self._registrations[registration.outcome].inc()

    def heard(self, renewed: int, unknown: int) -> None:
        """Count a batch of heartbeats."""
        self._batches.observe(renewed + unknown)
        self._renewed.inc(renewed)
        self._unknown.inc(unknown)

    def deregistered(self) -> None:
        """Count an agent that was removed by a call."""
        self._deregistrations.inc()

    def refused(self, code: str) -> None:
        """Count a request that was kept out."""
        self._refusals.labels(code).inc()

    def closed(self, cause: ClosingCause) -> None:
        """Count a connection that was closed for a cause."""
        self._closings[cause].inc()

    def file_refused(self, files: str) -> None:
        """Count that changed files of this kind, credentials or tls, were refused."""
        self._files[files].inc()

    def swept(self, seconds: float) -> None:
        """Count a sweep that took so long."""
        self._sweeps.observe(seconds)

    def text(self, seen: Iterable[Metric]) -> bytes:
        """Return what was counted, and what is seen now, as Prometheus reads it."""
        return generate_latest(_Scrape(chain(self._registry.collect(), seen)))


class _Scrape:
    """All metrics of one answer, without the instants at which counting began.

    Those would double the number of time series; `process_start_time_seconds` says
    nearly the same.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        for metric in self._metrics:
            created = f"{metric.name}_created"
            metric.samples = [one for one in metric.samples if one.name != created]
            yield metric


def install(
    app: FastAPI, repo: AgentRegistryRepository, metrics: Metrics, reports: Reports
) -> None:
    """Add the call that Prometheus makes; it answers also without the store."""

    @app.get("/metrics", response_class=PlainTextResponse, **describe.METRICS)
    async def scrape() -> Response:
        """Tell what was counted since the start, and how the registry stands."""
        fleet: list[Metric] = []
        try:
            agents = await hand(repo, repo.count_by_status)
            fleet = gauges.fleet(agents, await hand(repo, repo.hold))
        except StoreError:
            pass
        seen = [
            *gauges.process(app.version, reports.uptime_seconds()),
            *gauges.store(repo.figures(), up=bool(fleet) and writes(repo)),
            *fleet,
            *gauges.sweep(reports.sweep()),
            *gauges.lease_time(reports.lease_time()),
        ]
        return Response(metrics.text(seen), media_type=CONTENT_TYPE_PLAIN_0_0_4)
