"""The HTTP facade as one application."""

import importlib.metadata
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

# FastAPI imports this as the first route is added, which fails while a test has
# frozen the clock: imported here, an application can be built at any time.
import pydantic.v1  # noqa: F401
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from api import (
    agents,
    audit,
    describe,
    discovery,
    docs,
    errors,
    guard,
    health,
    heartbeats,
    metrics,
)
from api.access import Authority, guarded_routes
from api.beats import HeartbeatGatherer
from api.errors import Refused
from api.finding import Finder
from api.gathering import Backlog
from api.health import LeaseTimeHealth, Reports, SweepHealth
from api.lane import HeartbeatLane, ListingLane, RegistrationLane
from api.metrics import Metrics
from api.models import TtlLimits
from api.registering import Registrar
from api.throttle import Throttle
from store import AgentRegistryRepository, RegistryDatabase, create_storage_backend

_DESCRIPTION = """
An agent **registers** with a TTL, **beats** every third of it, is **listed** while
its lease is valid, and **expires** when it falls silent. Every error is an
[RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem with a stable `code`.
"""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def no_sweep() -> SweepHealth | None:
    """Report that no scheduler runs here."""
    return None


def wall_time() -> LeaseTimeHealth | None:
    """Report that leases run on the wall clock here."""
    return None


class Security(NamedTuple):
    """Who is let in, and what the registry shows of itself."""

    authority: Authority = Authority()
    #: How often each owner may register; None: as often as it likes.
    throttle: Throttle | None = None
    #: Whether other machines are listened to without authentication or TLS.
    insecure: bool = False
    #: Whether `/docs` and `/openapi.json` are served.
    docs: bool = True


class AgentRegistryServer:
    """Serves one registry over HTTP.

    Args:
        registry_url: the store, as `create_storage_backend` takes it; opened on
            first use, and closed when the application's lifespan ends.
        repo: serve this repository instead; it stays the caller's to close.
        ttl: the TTLs that are granted.
        sweep: reports how the sweep goes; None where no scheduler runs.
        lease_time: reports how lease time runs; None where it is the wall clock's.
        metrics: where the application counts; given by whoever counts there too,
            for one application alone.
        backlog: knows how long the oldest heartbeat waits, for whoever asks.
        security: who is let in; everybody, by default.
        lifespan: what runs around serving, where the ASGI server has a lifespan.
    """

    def __init__(  # noqa: PLR0913 - each a choice of its own
        self,
        registry_url: str,
        repo: AgentRegistryRepository | None = None,
        *,
        ttl: TtlLimits = TtlLimits(),  # noqa: B008 - immutable
        sweep: Callable[[], SweepHealth | None] = no_sweep,
        lease_time: Callable[[], LeaseTimeHealth | None] = wall_time,
        metrics: Metrics | None = None,
        backlog: Backlog | None = None,
        security: Security = Security(),  # noqa: B008 - immutable
        lifespan: Lifespan | None = None,
    ) -> None:
        if repo is None:
            repo, database = create_storage_backend(registry_url)
            lifespan = lifespan or _closing(database)
        self._repo = repo
        self._ttl = ttl
        self._sweep = sweep
        self._lease_time = lease_time
        self._metrics = metrics
        self._backlog = backlog
        self._security = security
        self._lifespan = lifespan

    def create_app(self) -> FastAPI:
        """Return an application that serves the registry; opens nothing yet."""
        started = time.monotonic()
        security = self._security
        reports = Reports(
            lambda: time.monotonic() - started,
            self._sweep,
            self._lease_time,
            security.insecure,
        )
        counted = self._metrics or Metrics()

        def refused(scope: Scope, code: str) -> None:
            counted.refused(code)
            audit.refused(scope, code)

        beats = HeartbeatGatherer(self._repo, counted.heard, self._backlog)
        registrar = Registrar(
            self._repo, self._ttl, counted.registered, security.throttle
        )
        finder = Finder(self._repo)
        app = _Application(
            lambda behind: _lanes(behind, beats, registrar, finder, security, refused),
            title="agent-registry",
            version=_version(),
            summary="Which agents are alive, and where.",
            description=_DESCRIPTION,
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=self._lifespan,
        )
        app.router.route_class = guarded_routes(security.authority)
        errors.install(app, refused=refused)
        agents.install(app, self._repo, registrar, deregistered=counted.deregistered)
        heartbeats.install(app, self._repo, beats, heard=counted.heard)
        discovery.install(app, self._repo, finder)
        health.install(app, self._repo, reports)
        metrics.install(app, self._repo, counted, reports)
        guard.install(app, self._repo)
        if security.docs:
            docs.install(app)
        describe.install(app, self._ttl, for_everybody=security.authority.open)
        return app


class _Application(FastAPI):
    """FastAPI with the lanes in front of all its own machinery."""

    def __init__(
        self,
        lanes: Callable[[ASGIApp], ASGIApp],
        **options: Any,  # noqa: ANN401 - FastAPI's own
    ) -> None:
        super().__init__(**options)
        # Outside of all middleware, also of what is added later.
        self.lanes = lanes(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, by a lane or by FastAPI."""
        await self.lanes(scope, receive, send)


def _lanes(
    behind: ASGIApp,
    beats: HeartbeatGatherer,
    registrar: Registrar,
    finder: Finder,
    security: Security,
    refused: Refused,
) -> ASGIApp:
    authority = security.authority
    listings = ListingLane(behind, finder, authority, refused)
    registrations = RegistrationLane(listings, registrar, authority, refused)
    return HeartbeatLane(registrations, beats, authority, refused)


def _closing(database: RegistryDatabase) -> Lifespan:
    """Return a lifespan that closes a database of the application's own."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        database.open()
        try:
            yield
        finally:
            database.close()

    return lifespan


def _version() -> str:
    try:
        return importlib.metadata.version("agent-registry")
    except importlib.metadata.PackageNotFoundError:  # run from a bare checkout
        return "unknown"
