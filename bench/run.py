"""One run of the benchmark: what every row works with."""

import time
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import servers
from bench.connections import LoadFailed
from bench.cores import GENERATOR_CORE, SERVER_CORE, worker
from bench.fleet import Fleets
from bench.load import Beside, Figures, Load, closed_loop, open_loop, percentiles_ms
from bench.processes import NotReady, Process
from bench.results import Results

#: What ends the measuring of a subject or a row, and not the run.
FAILURES = (LoadFailed, NotReady, OSError)


#: A re-arm of a million leases took 16 to 40 s.
_REARM_SECONDS = 180


class NotOffered(Exception):
    """A subject does not offer what a row measures; the text says what."""


@dataclass(frozen=True)
class Subject:
    """Who is measured: its load, and its process where it is one of ours."""

    load: Load
    process: Process | None = None


class Run:
    """Generators on one core, what is measured on another, and the results.

    Args:
        results: takes the figures.
        folder: where databases and logs are kept meanwhile.
        generator: executes load generators.
        server_side: executes what is measured without a server.
        rounds: how often each row is measured.
    """

    def __init__(
        self,
        results: Results,
        folder: Path,
        *,
        generator: Executor,
        server_side: Executor,
        rounds: int,
    ) -> None:
        self.results = results
        self.folder = folder
        self.fleets = Fleets(folder)
        self.generator = generator
        self.server_side = server_side
        self.rounds = rounds
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the run takes already."""
        return time.monotonic() - self._begun

    def say(self, step: str) -> None:
        """Show what is done now, and how much time has passed."""
        minutes, seconds = divmod(round(self.seconds), 60)
        print(f"[{minutes:2d}:{seconds:02d}] {step}", flush=True)

    def each_round(self, what: str) -> Iterator[int]:
        """Yield the number of each round, showing it."""
        for number in range(1, self.rounds + 1):
            self.say(f"{what}, round {number} of {self.rounds}")
            yield number

    def closed(self, load: Load, seconds: float) -> Figures:
        """Run a closed loop in the generator's process; each answer must be a 2xx."""
        return self.generator.submit(closed_loop, load, seconds).result().all_ok()

    def open(
        self, load: Load, seconds: float, rate: float, beside: Beside | None = None
    ) -> Figures:
        """Run an open loop there; a server too slow to answer has its latencies."""
        running = self.generator.submit(open_loop, load, seconds, rate, beside)
        return running.result().all_ok(or_none=True)

    def alternate(
        self,
        what: str,
        subjects: Mapping[str, Subject],
        seconds: float,
        *,
        guests: Container[str] = (),
    ) -> dict[str, str]:
        """Load the subjects in turn, in every round, each for so long.

        Return why those of `guests` that failed did so; they are left out then, with
        what was seen of them. When another fails, it is raised.
        """
        failed: dict[str, str] = {}
        for _ in self.each_round(what):
            for name in [one for one in subjects if one not in failed]:
                try:
                    self.note(what, name, self.measured(subjects[name], seconds))
                except FAILURES as failure:
                    if name not in guests:
                        raise
                    failed[name] = str(failure)
                    self.results.rounds[what].pop(name, None)
        return failed

    def probe(self, load: Load) -> dict[int, int]:
        """Send the first request of a load; return the status it was answered with."""
        one = replace(load, requests=load.requests[:1], connections=1, once=True)
        return self.generator.submit(closed_loop, one, 1).result().statuses

    def require(self, subject: Process, request: bytes) -> None:
        """Send one request, which must be answered well.

        Raises:
            NotOffered: it is no call of this server.
        """
        statuses = self.probe(Load(subject.address, [request]))
        if statuses != {200: 1}:
            call = request.partition(b" HTTP/")[0].decode()
            raise NotOffered(f"{call} was answered {next(iter(statuses))}")

    def start_ours(self, stack: ExitStack, agents: int, **environ: object) -> Process:
        """Start our daemon on a database of so many agents, until the stack ends.

        It has re-armed their leases by then, for which it writes each of them: with a
        million of them, a page took twice as long until then.
        """
        folder = self.new_folder(stack)
        self.fleets.ours(agents, folder)
        ours = stack.enter_context(servers.serve_ours(folder, **environ))
        ours.await_told("leases re-armed", _REARM_SECONDS)
        return ours

    def start_naive(
        self, stack: ExitStack, agents: int, synchronous: str = "normal"
    ) -> Process:
        """Start the naive registry with the same agents."""
        folder = self.new_folder(stack)
        self.fleets.naive(agents, folder)
        return stack.enter_context(servers.serve_naive(folder, synchronous))

    def start_bare(self, stack: ExitStack) -> Process:
        """Start the bare server."""
        return stack.enter_context(servers.serve_bare(self.new_folder(stack)))

    def new_folder(self, stack: ExitStack) -> Path:
        """Return a folder that is gone when the stack ends."""
        return Path(stack.enter_context(TemporaryDirectory(dir=self.folder)))

    def note(self, what: str, name: str, seen: dict[str, Any]) -> None:
        """Keep what was seen of one subject in one round."""
        self.results.rounds[what][name].append(seen)

    def seen(self, what: str, name: str, figure: str = "rate") -> list[Any]:
        """Return one figure of a subject, of every round."""
        return [seen[figure] for seen in self.results.rounds[what][name]]

    def measure(self, key: str, values: list[float]) -> None:
        """Keep a target's figure of every round."""
        self.results.measures[key] = values

    def compare(
        self, key: str, what: str, one: str, other: str, figure: str = "rate"
    ) -> None:
        """Keep as a target's figure the ratio of two subjects, round by round."""
        pairs = zip(
            self.seen(what, one, figure), self.seen(what, other, figure), strict=True
        )
        self.measure(key, [one / other for one, other in pairs])

    def measured(self, subject: Subject, seconds: float) -> dict[str, Any]:
        """Load a subject once, and return what was seen of it."""
        process = subject.process
        cpu = process.cpu_seconds() if process else 0.0
        figures = self.closed(subject.load, seconds)
        seen = shown(figures)
        if process:
            used = process.cpu_seconds() - cpu
            seen["cpu_us_per_request"] = used / figures.requests * 1_000_000
            seen["server_busy"] = used / figures.seconds
        return seen


def shown(figures: Figures) -> dict[str, Any]:
    """Return what is kept of a generator's figures."""
    return {
        "rate": figures.rate,
        "seconds": figures.seconds,
        "statuses": figures.statuses,
        "latency_ms": percentiles_ms(figures.latencies),
        "beside_ms": percentiles_ms(figures.latencies_beside),
        "generator_busy": figures.generator_busy,
    }


@contextmanager
def started(results: Results, *, rounds: int) -> Iterator[Run]:
    """Yield a run with its processes and a folder, which are gone afterwards."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="agent-registry-bench-"))
        generator = stack.enter_context(worker(GENERATOR_CORE))
        server_side = stack.enter_context(worker(SERVER_CORE))
        yield Run(
            results,
            Path(folder),
            generator=generator,
            server_side=server_side,
            rounds=rounds,
        )
