"""What is compared: ours, the naive registry and the bare server, as processes."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.processes import Process, free_port, running

_ROOT = Path(__file__).parent.parent.parent
#: The installed daemon, in the environment that runs the benchmark.
_COMMAND = str(Path(sys.executable).with_name("agent-registryd"))
#: The name of the database in each server's folder.
DATABASE = "agent-registry.db"


@contextmanager
def serve_ours(folder: Path, **environ: object) -> Iterator[Process]:
    """Run `agent-registryd` as shipped, but for `SECTION__KEY=value`."""
    port = free_port()
    keys = {"SERVER__PORT": port} | environ
    variables = {f"AGENT_REGISTRY_{key}": str(value) for key, value in keys.items()}
    with running([_COMMAND], folder, port=port, environ=variables) as process:
        yield process


@contextmanager
def serve_naive(
    folder: Path, synchronous: str = "normal", *, options: Sequence[str] = ()
) -> Iterator[Process]:
    """Run the naive registry; see its usage for the options."""
    arguments = [str(folder / DATABASE), synchronous, *options]
    with _module("naive", folder, arguments) as process:
        yield process


@contextmanager
def serve_bare(folder: Path) -> Iterator[Process]:
    """Run the bare server."""
    with _module("bare", folder, []) as process:
        yield process


@contextmanager
def _module(name: str, folder: Path, arguments: list[str]) -> Iterator[Process]:
    port = free_port()
    command = [sys.executable, "-m", f"bench.servers.{name}", str(port), *arguments]
    environ = {"PYTHONPATH": str(_ROOT)}
    with running(command, folder, port=port, environ=environ) as process:
        yield process
