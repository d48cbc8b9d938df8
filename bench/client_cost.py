"""What the client costs the program it lives in: `python -m bench.client_cost`.

Prints the table of client/README.md. A registry of its own is started for it.
"""

import contextlib
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent_registry_client import AgentRegistryClient
from agent_registry_client.testing import RegistryProcess

_DESCRIBED = {"agent_name": "Summariser", "host": "10.0.0.7", "port": 8001}
_AGENTS = 1000
_BEATS = 2000


def main() -> None:
    """Measure, and print."""
    print(f"import                      {_import_milliseconds():8.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        registry = RegistryProcess(Path(folder))
        try:
            _measure(registry.url)
        finally:
            registry.kill()


def _measure(url: str) -> None:
    client = AgentRegistryClient(url)
    before = _resident_bytes()
    with contextlib.ExitStack() as kept:
        kept.enter_context(client.registered("first", **_DESCRIBED))  # type: ignore[arg-type]
        first = _resident_bytes()
        print(f"memory, first agent         {(first - before) / 1024:8.0f} kB")
        ids = [f"agent-{number}" for number in range(_AGENTS)]
        for agent_id in ids:
            client.registered(agent_id, **_DESCRIBED).start()  # type: ignore[arg-type]
        more = (_resident_bytes() - first) / _AGENTS
        print(f"memory, each further agent  {more / 1024:8.1f} kB")
        beat = _cpu_microseconds(lambda: client.heartbeat("first"), _BEATS)
        print(f"CPU, one beat               {beat:8.0f} µs")
        bulk = _cpu_microseconds(lambda: client.heartbeat_all(ids), 50) / _AGENTS
        print(f"CPU, one of 1,000 in bulk   {bulk:8.2f} µs")
        with _counted(url) as (counted_url, counts):
            through = AgentRegistryClient(counted_url)
            through.heartbeat("first")
            for what, share, call in (
                ("one beat", 1, lambda: through.heartbeat("first")),
                ("1,000 in bulk", _AGENTS, lambda: through.heartbeat_all(ids)),
            ):
                counts[:] = [0, 0]
                call()
                sent, received = (count / share for count in counts)
                print(f"wire, {what:13} {sent:9.1f} B sent, {received:.1f} B received")
            through.close()
        client.close()


def _import_milliseconds() -> float:
    program = (
        "import time; t = time.perf_counter(); import agent_registry_client;"
        "print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", program]
    runs = [float(subprocess.check_output(command)) for _ in range(7)]
    return sorted(runs)[3] * 1000


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _cpu_microseconds(call: Callable[[], object], times: int) -> float:
    before = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - before) / times * 1e6


@contextlib.contextmanager
def _counted(url: str) -> Iterator[tuple[str, list[int]]]:
    """Stand before the registry, and count the bytes of one connection each way."""
    counts = [0, 0]
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pump(source: socket.socket, sink: socket.socket, way: int) -> None:
            while data := source.recv(1 << 20):
                counts[way] += len(data)
                sink.sendall(data)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        def serve() -> None:
            ours, _ = listening.accept()
            theirs = socket.create_connection((host, int(port)))
            with ours, theirs:
                back = threading.Thread(target=pump, args=(theirs, ours, 1))
                back.start()
                pump(ours, theirs, 0)
                back.join()

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", counts
        serving.join()


if __name__ == "__main__":
    main()
