"""A daemon in which something hangs, raises or dies: it says so within three sweeps."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon.app import RegistryDaemon
from daemon.config import Config
from store import SqliteAgentRegistryRepository, Swept

INTERVAL = 0.3
#: For what is done between the third missing sweep and the answer, on a busy machine.
SLACK = 1.5


class Faulty(SqliteAgentRegistryRepository):
    """A repository whose sweeps hang, or raise, as the test says."""

    fault: str | None = None
    let_go: threading.Event

    def sweep(self, keep_on: Callable[[], bool] = lambda: True) -> Swept:
        """Sweep, or what the fault is."""
        if self.fault == "raises":
            raise ArithmeticError("a bug of ours")
        if self.fault == "hangs":
            self.let_go.wait()
        return super().sweep(keep_on)


@pytest.fixture
def faulty() -> Iterator[type[Faulty]]:
    """Return the repository's class; what hangs is let go at the end."""
    Faulty.fault, Faulty.let_go = None, threading.Event()
    yield Faulty
    Faulty.let_go.set()


@pytest.fixture
def daemon(
    make_config: Callable[..., Config], faulty: type[Faulty]
) -> Iterator[RegistryDaemon]:
    """Start a daemon that sweeps often, and well."""
    config = make_config(
        leases={"sweep_interval_seconds": INTERVAL}, guard={"enabled": False}
    )
    daemon = RegistryDaemon(config)
    agents = faulty(daemon._storage.database, lease_time=daemon._lease_clock)  # type: ignore[arg-type] # SQLite's own
    daemon._storage = daemon._storage._replace(agents=agents)
    daemon.start()
    yield daemon
    faulty.let_go.set()
    daemon.stop()


def health(daemon: RegistryDaemon) -> tuple[int, Any]:
    """Return what health answers."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=10)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    content = json.load(answer)
    connection.close()
    return answer.status, content


def _raises(_daemon: RegistryDaemon) -> None:
    Faulty.fault = "raises"


def _hangs(_daemon: RegistryDaemon) -> None:
    Faulty.fault = "hangs"


def _dies(daemon: RegistryDaemon) -> None:
    def die() -> None:
        raise ArithmeticError("a bug of the scheduler's")

    daemon._scheduler._process_jobs = die
    daemon._scheduler.wakeup()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fault", [_raises, _hangs, _dies])
def test_health_tells_of_a_sweep_that_is_missing(
    daemon: RegistryDaemon,
    wait_until: Callable[..., None],
    fault: Callable[[RegistryDaemon], None],
) -> None:
    """Within three intervals, whatever keeps it; the age on a monotonic clock shows."""
    wait_until(lambda: health(daemon)[1]["sweep"]["last_finished_at"])
    assert health(daemon)[0] == 200
    began = time.monotonic()

    fault(daemon)
    wait_until(lambda: health(daemon)[0] == 503)

    _, said = health(daemon)
    assert time.monotonic() - began < 3 * INTERVAL + SLACK
    assert said["code"] == "sweep_overdue"
    assert said["sweep"]["age_seconds"] > 3 * INTERVAL


def test_a_sweep_that_raises_is_caught_up_with(
    daemon: RegistryDaemon, wait_until: Callable[..., None]
) -> None:
    """Each failure is counted; once it is over, so is the 503."""
    Faulty.fault = "raises"
    wait_until(lambda: health(daemon)[0] == 503)
    failures = health(daemon)[1]["sweep"]["failures"]

    Faulty.fault = None
    wait_until(lambda: health(daemon)[0] == 200)

    assert failures >= 2
    assert health(daemon)[1]["sweep"]["last_error"] is None
