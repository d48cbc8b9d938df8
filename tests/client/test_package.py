"""The package: what an import of it costs, and errors that leave a process."""

import pickle
import subprocess
import sys

from agent_registry_client import AgentNotFound


def test_an_import_is_quick_and_brings_nothing() -> None:
    """No package but our own, no asyncio, and less than 150 ms of a processor."""
    program = (
        "import sys, time; before = set(sys.modules); began_at = time.process_time();"
        "import agent_registry_client; print(time.process_time() - began_at);"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}"
        " - sys.stdlib_module_names), 'asyncio' in sys.modules)"
    )

    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(3)
    ]

    assert {run[1] for run in runs} == {"['agent_registry_client'] False"}
    assert min(float(run[0]) for run in runs) < 0.15


def test_an_error_survives_a_pool_of_processes() -> None:
    """One that cannot be pickled would hang it."""
    error = AgentNotFound(404, "agent_not_found", "Gone.", [], 1.5, {"code": "x"})

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (type(copy), str(copy), copy.document) == (
        AgentNotFound,
        str(error),
        {"code": "x"},
    )
