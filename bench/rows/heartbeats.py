"""Heartbeats one by one: ours against the bare server, naive, and peers."""

import random
from contextlib import ExitStack

from bench import fleet
from bench.load import Load
from bench.peers import PEERS
from bench.processes import Process
from bench.run import FAILURES, NotOffered, Run, Subject

AGENTS = 10_000
#: What is compared in the rounds of these rows.
ONE_BY_ONE = "heartbeats, 64 connections"
NEW = "heartbeats, new connections"
_MIXED = "ours, mixed"
_SECONDS = 2.5


def one_by_one(run: Run) -> None:
    """Compare heartbeats on 64 connections that are kept alive."""
    run.say("starting ours, naive, bare, and the peers that are installed")
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        subjects = with_references(run, stack)
        normal = run.start_ours(stack, AGENTS, STORE__SYNCHRONOUS="normal")
        subjects["ours, NORMAL"] = beating(normal)
        subjects[_MIXED] = beating(run.start_ours(stack, AGENTS), mixed=True)
        for name, start in PEERS.items():
            try:
                subjects[name] = start(stack, run.new_folder(stack))
            except (NotOffered, *FAILURES) as reason:
                absent[name] = str(reason)
        absent |= run.alternate(ONE_BY_ONE, subjects, _SECONDS, guests=PEERS)
    compare_with_references(run)
    run.compare("full_normal", ONE_BY_ONE, "ours", "ours, NORMAL")
    run.compare("beat_mixed", ONE_BY_ONE, _MIXED, "bare")
    for name in PEERS:
        if name in absent:
            run.results.absent[f"beat_{name}"] = absent[name]
        else:
            run.compare(f"beat_{name}", ONE_BY_ONE, "ours", name)


def on_new_connections(run: Run) -> None:
    """Compare heartbeats of which each opens a connection."""
    with ExitStack() as stack:
        started = {
            "ours": run.start_ours(stack, AGENTS),
            "naive": run.start_naive(stack, AGENTS),
            "bare": run.start_bare(stack),
        }
        close = "connection: close\r\n"
        requests = fleet.heartbeats(fleet.ids(AGENTS), headers=close)
        subjects = {
            name: Subject(Load(process.address, requests, reconnect=True), process)
            for name, process in started.items()
        }
        run.alternate(NEW, subjects, _SECONDS)
    run.compare("new_naive", NEW, "ours", "naive")


def with_references(run: Run, stack: ExitStack) -> dict[str, Subject]:
    """Start ours, naive and bare."""
    return {
        "bare": beating(run.start_bare(stack)),
        "naive": beating(run.start_naive(stack, AGENTS)),
        "ours": beating(run.start_ours(stack, AGENTS)),
    }


def compare_with_references(run: Run) -> None:
    """Measure ours against naive and bare."""
    run.compare("beat_bare", ONE_BY_ONE, "ours", "bare")
    run.compare("cpu_bare", ONE_BY_ONE, "ours", "bare", "cpu_us_per_request")
    run.compare("beat_naive", ONE_BY_ONE, "ours", "naive")


def beating(process: Process, agents: int = AGENTS, *, mixed: bool = False) -> Subject:
    """Return a server as a subject whose agents beat periodically.

    They do so in the order in which they registered, which is not that of their ids: as
    a fleet does whose agents all beat equally often. Or `mixed`: the row of each then
    stands in a page of its own, away from those of the same batch.
    """
    agent_ids = fleet.ids(agents)
    if mixed:
        random.Random(agents + 1).shuffle(agent_ids)  # noqa: S311 - no secret
    return Subject(Load(process.address, fleet.heartbeats(agent_ids)), process)
