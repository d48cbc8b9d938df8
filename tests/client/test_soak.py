"""Many clients, while their registry is killed, paused and started anew."""

import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import agent_registry_client
import pytest
from agent_registry_client import AgentRegistryClient
from agent_registry_client.testing import RegistryProcess

SOAKED = Path(__file__).with_name("soaked.py")


class Soak(NamedTuple):
    """How many are soaked, and in what."""

    clients: int
    processes: int
    ttl_seconds: int
    #: What befalls the registry, and for how many seconds, one after the other.
    outages: tuple[tuple[str, float], ...]

    @property
    def interval_seconds(self) -> float:
        """How often an agent beats."""
        return self.ttl_seconds / 3


SMALL = Soak(50, 2, 5, (("empty", 2.0), ("pause", 3.0)))
LARGE = Soak(
    500,
    5,
    30,
    (
        ("kill", 8),
        ("pause", 20),
        ("empty", 15),
        ("pause", 40),
        ("kill", 40),
        ("empty", 45),
    ),
)

#: In times of the steady rate, what any quarter of a second may bring.
#: While a registry is away, a client tries at random pauses of up to an interval, so
#: on average twice an interval. One that comes back to an empty registry needs two
#: calls, and beats again within the interval. So four calls a client and interval
#: are what to expect, and chance adds some; if all came at once, it would be sixteen
#: and more.
PEAK = 10
WINDOW_SECONDS = 0.25


@pytest.mark.long
@pytest.mark.parametrize(
    "soak",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(LARGE, id="large", marks=pytest.mark.torture),
    ],
)
def test_a_fleet_returns_whole_once_and_without_a_storm(
    soak: Soak,
    start_registry: Callable[..., RegistryProcess],
    start_fleet: Callable[[Soak, str], "Fleet"],
    record_property: Callable[[str, object], None],
) -> None:
    """All within a TTL of the registry's return, whatever befell it."""
    registry = start_registry()
    fleet = start_fleet(soak, registry.url)
    outages = []
    for what, seconds in soak.outages:
        outages.append(_befall(registry, what, seconds))
        time.sleep(soak.ttl_seconds)
        assert fleet.listed_alive() == sorted(fleet.ids)
    calls = fleet.end()

    steady = soak.clients / soak.interval_seconds
    until = [outage.began_at for outage in outages[1:]] + [calls[-1].began_at]
    heard = [
        [call for call in calls if outage.began_at <= call.began_at < end]
        for outage, end in zip(outages, until, strict=True)
    ]
    took = [_took(calls, outage.ended_at, fleet.ids) for outage in outages]
    peaks = [_peak(during) / steady for during in heard]
    registered = [
        Counter(call.who for call in during if call.outcome not in {"beat", "failed"})
        for during in heard
    ]
    figures = {
        "outages, s": soak.outages,
        "all back after, s": [round(seconds, 1) for seconds in took],
        "steady calls/s": round(steady, 1),
        "peak in times of that": [round(peak, 1) for peak in peaks],
        "registered anew": [len(who) for who in registered],
    }
    for what, measured in figures.items():
        record_property(what, str(measured))
    assert max(took) <= soak.ttl_seconds, figures
    assert max(peaks) <= PEAK, figures
    for outage, who in zip(outages, registered, strict=True):
        assert set(who.values()) <= {1}, figures
        assert len(who) == (soak.clients if outage.what == "empty" else 0), figures


class Call(NamedTuple):
    """A call that a client made."""

    began_at: float
    ended_at: float
    who: str
    #: "beat", "failed", or what a registration did.
    outcome: str


class Fleet:
    """The processes of the clients."""

    def __init__(self, soak: Soak, url: str) -> None:
        self._soak = soak
        self._client = AgentRegistryClient(url, timeout_seconds=2)
        self.ids = {f"soaked-{number:03}" for number in range(soak.clients)}
        share = sorted(self.ids)
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    str(SOAKED),
                    json.dumps([soak.ttl_seconds, *share[n :: soak.processes]]),
                ],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(Path(agent_registry_client.__path__[0]).parent),
                    "AGENT_REGISTRY_URL": url,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(soak.processes)
        ]
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"

    def listed_alive(self) -> list[str]:
        """Return who is alive, in order: whoever were listed twice would be here."""
        return [agent.agent_id for agent in self._client.agents() if agent.is_alive]

    def end(self) -> list[Call]:
        """Return every call that was made, by time, and end the processes."""
        told = [process.communicate(timeout=60)[0] for process in self.processes]
        return sorted(Call(*call) for text in told for call in json.loads(text))


class Outage(NamedTuple):
    """What befell the registry, and when."""

    what: str
    began_at: float
    ended_at: float


def _befall(registry: RegistryProcess, what: str, seconds: float) -> Outage:
    began_at = time.monotonic()
    if what == "pause":
        registry.pause()
        time.sleep(seconds)
        registry.resume()
    else:
        registry.kill()
        time.sleep(seconds)
        registry.start(empty=what == "empty")
    return Outage(what, began_at, time.monotonic())


def _peak(calls: list[Call]) -> float:
    """Return the highest rate of calls, whatever came of them, in any window."""
    times = [call.began_at for call in calls]
    most = max(
        bisect_left(times, at + WINDOW_SECONDS) - n for n, at in enumerate(times)
    )
    return most / WINDOW_SECONDS


def _took(calls: list[Call], returned_at: float, ids: set[str]) -> float:
    """Return how long after the return the last of them was heard."""
    back: dict[str, float] = {}
    for call in sorted(calls, key=lambda call: call.ended_at):
        if call.ended_at >= returned_at and call.outcome != "failed":
            back.setdefault(call.who, call.ended_at - returned_at)
    assert set(back) == ids
    return max(back.values())


@pytest.fixture
def start_fleet() -> Iterator[Callable[[Soak, str], Fleet]]:
    """Return a function that starts the clients; all are ended."""
    started: list[Fleet] = []

    def start(soak: Soak, url: str) -> Fleet:
        started.append(Fleet(soak, url))
        return started[-1]

    yield start
    for fleet in started:
        for process in fleet.processes:
            process.kill()
            process.communicate()
