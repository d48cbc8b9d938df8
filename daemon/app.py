"""The daemon, composed: the only place that knows all of its parts."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from queue import Empty, SimpleQueue

from fastapi import FastAPI

from api import AgentRegistryServer
from api.gathering import Backlog
from api.health import LeaseTimeHealth, SweepHealth
from api.metrics import Metrics
from api.models import TtlLimits
from api.server import Lifespan, Security
from daemon.backups import BackupJob
from daemon.cleanups import CleanUps
from daemon.config import Config
from daemon.connections import Limits
from daemon.exits import StartupFailed
from daemon.expiry import ExpirySweep
from daemon.head import Trust
from daemon.intake import CallOnLoop, Intake
from daemon.lease_clock import Cause, LeaseClock
from daemon.lease_keeper import LeaseKeeper
from daemon.listener import HttpListener, bind, url_of
from daemon.opening import make_storage, open_store
from daemon.scheduler import (
    BACKUP_JOB,
    CREDENTIALS_JOB,
    EXPIRY_JOB,
    WATCHDOG_JOB,
    create_scheduler,
    every,
    replan,
)
from daemon.security import (
    NotSecure,
    SecurityFiles,
    find_insecure,
    listens_to_loopback,
)
from daemon.systemd import (
    Notifier,
    PassedSocketUnusable,
    Watchdog,
    passed_socket,
)

log = logging.getLogger(__name__)

#: Feeds in each of systemd's watchdog periods: one may be late.
_FEEDS_PER_PERIOD = 3
#: A revocation counts within a second, however it reaches the file.
_LOOK_AT_CREDENTIALS_SECONDS = 0.5
#: Of two signals at once, the kernel may hand one to another thread, which wakes
#: nobody: a SIGTERM right behind a SIGHUP was seen only at the next signal.
_SIGNALS_SECONDS = 0.5


class _Wish(Enum):
    FINISH = auto()
    RELOAD = auto()


class RegistryDaemon:
    """One registry as a process: bind, store, scheduler, serve, keep leases, ready.

    Stopping undoes exactly that, in reverse. Nothing is opened before `start`.

    Args:
        config: what to serve, where, and how.
        notifier: tells systemd.
        lease_clock: judges leases, and its wall clock stamps; given by tests that
            step its clocks.
        take_passed: takes the socket that systemd passed; None: there is none.
    """

    def __init__(
        self,
        config: Config,
        notifier: Notifier | None = None,
        lease_clock: LeaseClock | None = None,
        take_passed: Callable[[], socket.socket | None] = passed_socket,
    ) -> None:
        self._config = config
        self._take_passed = take_passed
        self._notifier = notifier or Notifier()
        self._lease_clock = lease_clock or LeaseClock()
        self._storage = make_storage(config, self._lease_clock)
        self._metrics = Metrics()
        self._backlog = Backlog()
        self._files = SecurityFiles(
            config, self._lease_clock.wall, self._metrics.file_refused
        )
        self._scheduler = create_scheduler()
        self._sweep: ExpirySweep
        self._keeper: LeaseKeeper | None = None
        self._cleanups = CleanUps()
        # Its put may interrupt itself, as a signal handler does.
        self._wishes: SimpleQueue[_Wish] = SimpleQueue()
        self._died = False
        #: Where the daemon listens, once started: host and port, or a path and 0.
        self.address: tuple[str, int] = (config.server.host, config.server.port)
        self._url = ""

    def start(self) -> None:
        """Start serving; returns once requests are answered.

        Raises:
            StartupFailed: something is in the way; what was done is undone.
        """
        try:
            bound = self._bind()
            security = self._secure(bound)
            open_store(self._storage, self._lease_clock, self._cleanups)
            self._start_scheduler()
            listener = self._serve(bound, security)
            self._keep_leases(listener.call_soon)
            self._announce()
        except BaseException:
            self._cleanups.unwind()
            raise

    def wait(self) -> None:
        """Wait until `finish` is called, or serving ends by itself.

        Meanwhile the files of credentials and TLS are read again when asked for.
        """
        while True:
            with suppress(Empty):
                if self._wishes.get(timeout=_SIGNALS_SECONDS) is _Wish.FINISH:
                    return
                self._reload()

    def finish(self) -> None:
        """End `wait`; safe in a signal handler and from any thread."""
        self._wishes.put(_Wish.FINISH)

    def reload(self) -> None:
        """Have `wait` read credentials and TLS again; safe as `finish` is."""
        self._wishes.put(_Wish.RELOAD)

    def _reload(self) -> None:
        try:
            self._files.reload()
        except Exception:
            # In the main thread: without it, nobody would hear SIGTERM any more.
            log.exception(
                "What was to be read again stays as it was",
                extra={"action": "reload_failed"},
            )

    def stop(self) -> bool:
        """Undo what `start` did; tell whether all went well."""
        failed = self._cleanups.unwind()
        log.info("Stopped", extra={"action": "stopped"})
        return not failed and not self._died

    def create_asgi_app(self) -> FastAPI:
        """Return the application for another ASGI server.

        Its lifespan starts and stops all but the listener. Where that server listens,
        and by which TLS, is not known here.

        Raises:
            StartupFailed: the credentials cannot be used.
        """
        try:
            self._files.load_credentials()
        except NotSecure as error:
            raise StartupFailed(str(error), lasting=True) from error

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            try:
                await asyncio.to_thread(
                    open_store, self._storage, self._lease_clock, self._cleanups
                )
                self._start_scheduler()
                loop = asyncio.get_running_loop()
                self._keep_leases(loop.call_soon_threadsafe)
                yield
            finally:
                await asyncio.to_thread(self._cleanups.unwind)

        security = self._files.security(loopback=False)
        return self._server(security, lifespan).create_app()

    def _bind(self) -> socket.socket:
        try:
            bound = self._take_passed()
        except PassedSocketUnusable as error:
            raise StartupFailed(f"{error} (the socket unit)", lasting=True) from error
        if bound is None:
            bound = self._bind_configured()
        else:
            log.info(
                "Serving the socket that systemd passed; server.host and server.port "
                "do not count",
                extra={"action": "socket_passed"},
            )
        self._cleanups.push("socket", bound.close)
        self._url = url_of(bound, "https" if self._config.tls.certificate else "http")
        name = bound.getsockname()
        self.address = name[:2] if isinstance(name, tuple) else (os.fsdecode(name), 0)
        return bound

    def _bind_configured(self) -> socket.socket:
        server = self._config.server
        try:
            return bind(server.host, server.port)
        except UnicodeError as error:
            # An empty label, or one of over 63 characters.
            raise StartupFailed(
                f"cannot listen on {server.host}: it is no name of a host "
                "(server.host)",
                lasting=True,
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartupFailed(
                f"cannot listen on {server.host} port {server.port}: {reason} "
                "(server.host, server.port)",
                lasting=False,
            ) from error

    def _secure(self, bound: socket.socket) -> Security:
        loopback = listens_to_loopback(bound)
        try:
            self._files.load()
            insecure = find_insecure(self._config, loopback=loopback)
        except NotSecure as error:
            raise StartupFailed(str(error), lasting=True) from error
        return self._files.security(loopback=loopback, insecure=insecure)

    def _start_scheduler(self) -> None:
        # Both anew at each start: a scheduler that was shut down runs no job again,
        # and the age of the last good sweep counts from here.
        self._scheduler = create_scheduler()
        self._sweep = ExpirySweep(
            self._storage.agents,
            interval_seconds=self._config.leases.sweep_interval_seconds,
            swept=self._metrics.swept,
        )
        every(
            self._scheduler,
            self._sweep.interval_seconds,
            EXPIRY_JOB,
            self._sweep.run,
        )
        if self._files.credentials is not None:
            every(
                self._scheduler,
                _LOOK_AT_CREDENTIALS_SECONDS,
                CREDENTIALS_JOB,
                self._files.credentials.look,
            )
        self._scheduler.start()
        self._cleanups.push("scheduler", self._scheduler.shutdown)
        self._cleanups.push("sweep", self._sweep.stop)
        self._schedule_backups()

    def _schedule_backups(self) -> None:
        backup = self._config.backup
        if backup.directory:
            job = BackupJob(
                self._storage.database, Path(backup.directory), keep=backup.keep
            )
            seconds = backup.interval_seconds
            first_at = job.first_at(seconds)
            every(self._scheduler, seconds, BACKUP_JOB, job.run, first_at)
            self._cleanups.push("backup", job.stop)

    def _serve(self, bound: socket.socket, security: Security) -> HttpListener:
        server = self._config.server
        listener = HttpListener(
            self._server(security).create_app(),
            bound,
            limits=Limits(
                keep_alive_seconds=server.keep_alive_seconds,
                drain_seconds=server.drain_seconds,
                **self._config.limits.model_dump(),
            ),
            trust=Trust(
                (server.host, *server.allowed_hosts), tuple(server.trusted_proxies)
            ),
            tls=self._files.tls,
            closed=self._metrics.closed,
            on_death=self._serving_died,
        )
        listener.start()
        self._cleanups.push("listener", listener.stop)
        if self._notifier.watchdog_seconds:
            watchdog = Watchdog(self._notifier, listener.call_soon, self._is_stuck)
            seconds = self._notifier.watchdog_seconds / _FEEDS_PER_PERIOD
            every(self._scheduler, seconds, WATCHDOG_JOB, watchdog.feed)
        return listener

    def _keep_leases(self, call_on_loop: CallOnLoop) -> None:
        agents = self._storage.agents
        self._keeper = LeaseKeeper(
            agents,
            self._lease_clock,
            Intake(call_on_loop, agents, self._backlog.wait_seconds),
            on_turn=lambda: replan(self._scheduler, agents.now()),
        )
        self._keeper.start()
        self._cleanups.push("leases", self._keeper.stop)

    def _is_stuck(self) -> bool:
        """Tell whether a thread hangs, so that only a new process can help."""
        return self._sweep.stuck or (self._keeper is not None and self._keeper.stuck)

    def _announce(self) -> None:
        self._notifier.ready()
        self._cleanups.push("readiness", self._notifier.stopping)
        log.info(
            "Ready on %s, pid %d, agents in %s",
            self._url,
            os.getpid(),
            self._storage.database.location,
            extra={"action": "ready"},
        )
        caution = self._storage.database.caution()
        if caution is not None:
            log.warning(caution, extra={"action": "sqlite_old"})

    def _serving_died(self) -> None:
        self._died = True
        log.critical("Serving ended by itself", extra={"action": "listener_died"})
        self.finish()

    def _server(
        self, security: Security, lifespan: Lifespan | None = None
    ) -> AgentRegistryServer:
        leases = self._config.leases
        return AgentRegistryServer(
            self._config.store.url,
            self._storage.agents,
            ttl=TtlLimits(
                leases.default_ttl_seconds,
                leases.min_ttl_seconds,
                leases.max_ttl_seconds,
            ),
            sweep=self._sweep_health,
            lease_time=self._lease_time_health,
            metrics=self._metrics,
            backlog=self._backlog,
            security=security,
            lifespan=lifespan,
        )

    def _sweep_health(self) -> SweepHealth | None:
        return self._sweep.health() if self._scheduler.running else None

    def _lease_time_health(self) -> LeaseTimeHealth | None:
        if self._keeper is None:
            return None
        standstill = self._lease_clock.standstill
        return LeaseTimeHealth(
            stands_still_at=standstill and standstill.at,
            cause=standstill and standstill.cause,
            overdue=self._keeper.overdue,
            rearms={cause: self._keeper.rearms[cause] for cause in Cause},
        )
