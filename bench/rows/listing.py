"""Lists: the whole fleet at once, and page by page."""

import asyncio
import statistics
import time
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI

from api import AgentRegistryServer
from bench import fleet
from bench.load import Load
from bench.run import Run, Subject
from store import create_storage_backend

_AGENTS = 10_000
_LARGE = 100_000
_LARGEST = 1_000_000
_PAGE = 100
_SECONDS = 1.5
#: Calls of each round; their median counts.
_CALLS = 5
_WHOLE = "GET /agents, 10,000 rows, over HTTP"


def whole(run: Run) -> None:
    """Compare a whole call, without socket, with the least its body can cost."""
    what = "GET /agents, 10,000 rows"
    with ExitStack() as stack:
        path = run.fleets.ours(_AGENTS, run.new_folder(stack))
        ratios = []
        for _ in run.each_round(what):
            call_ms, dumps_ms = run.server_side.submit(_whole_call, path).result()
            run.note(what, "ours", {"call_ms": call_ms, "dumps_ms": dumps_ms})
            ratios.append(call_ms / dumps_ms)
    run.measure("list_orjson", ratios)
    with ExitStack() as stack:
        started = {
            "ours": run.start_ours(stack, _AGENTS),
            "naive": run.start_naive(stack, _AGENTS),
        }
        requests = [fleet.request("GET", "/agents")]
        subjects = {
            name: Subject(Load(process.address, requests, connections=1), process)
            for name, process in started.items()
        }
        run.alternate(_WHOLE, subjects, _SECONDS)


def page_of_100k(run: Run) -> None:
    """Time pages from anywhere among 100,000 agents."""
    _page(run, "page_100k", _LARGE)


def page_of_1m(run: Run) -> None:
    """Time pages from anywhere among a million agents."""
    _page(run, "page_1m", _LARGEST)


def _page(run: Run, key: str, agents: int) -> None:
    what = f"a page of {_PAGE} from {agents:,} rows"
    with ExitStack() as stack:
        ours = run.start_ours(stack, agents)
        requests = [
            fleet.request("GET", f"/agents?limit={_PAGE}&cursor={agent_id}")
            for agent_id in fleet.ids(agents)[:_AGENTS]
        ]
        subject = Subject(Load(ours.address, requests, connections=1), ours)
        run.alternate(what, {"ours": subject}, _SECONDS)
    latencies = run.seen(what, "ours", "latency_ms")
    run.measure(key, [latency["p50"] for latency in latencies])


def _whole_call(database: Path) -> tuple[float, float]:
    """Return the milliseconds of a list, and of orjson.dumps of what it carries."""
    agents, opened = create_storage_backend(f"sqlite:///{database}")
    app = AgentRegistryServer("", agents).create_app()
    with asyncio.Runner() as runner:
        body = bytearray()
        runner.run(_get(app, "/agents", body))
        call_ms = _median_ms(lambda: runner.run(_get(app, "/agents", bytearray())))
    opened.close()
    ready = orjson.loads(body)
    return call_ms, _median_ms(lambda: orjson.dumps(ready))


def _median_ms(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(_CALLS):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


async def _get(app: FastAPI, path: str, body: bytearray) -> None:
    """Fill `body` with the answer to a GET, given by the application itself.

    It is not returned: asyncio.Runner takes the repr() of a task with its result,
    and that of 3.6 MB takes as long as the call.
    """
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:  # nothing follows: the client waits for its answer
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        body.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"x")],
    }
    await app(scope, receive, send)
